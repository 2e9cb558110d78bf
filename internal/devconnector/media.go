package devconnector

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	mediaLimit    = 25 << 20 // bytes (section 15)
	filenameLimit = 255
)

type medium struct {
	tenant, contentType, filename string
	data                          []byte
	until                         time.Time
}

// AddMedia stores a file as if the connector had re-hosted it for that gateway. It returns the file's id: the path is
// /relay/media/{id} (section 15).
func (c *Connector) AddMedia(gateway, contentType, filename string, data []byte) (id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	inst, err := c.find(gateway)
	if err != nil {
		return "", err
	}
	return c.keep(medium{tenant: inst.tenant, contentType: contentType, filename: filename, data: data}), nil
}

// File is a file that the connector keeps.
type File struct {
	ContentType, Filename string
	Data                  []byte // do not change it
}

// File returns a file by its id, whoever it belongs to. ok is false if there is none, or its time is over.
func (c *Connector) File(id string) (f File, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.media[id]
	if !ok || !time.Now().Before(m.until) {
		return File{}, false
	}
	return File{m.contentType, m.filename, m.data}, true
}

// MediaURL is the URL that an event names a file by, for a gateway that reaches the connector at base: http or https, without
// a path. Some connectors write another host into it.
func (c *Connector) MediaURL(base, id string) string {
	return cmp.Or(c.preset().MediaBase, base) + "/relay/media/" + id
}

// keep stores a file. Call with c.mu held.
func (c *Connector) keep(m medium) (id string) {
	id = randomHex(16)
	m.until = time.Now().Add(c.preset().MediaLife)
	c.media[id] = m
	return id
}

func (c *Connector) serveUpload(w http.ResponseWriter, r *http.Request) {
	gateway, tenant, ok := c.authorized(w, r)
	if !ok {
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mediaLimit))
	filename := r.Header.Get("X-Media-Filename")
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "a file is at most 25 MiB")
		return
	case err != nil:
		fail(w, http.StatusBadRequest, "the upload ended early")
		return
	case len(data) == 0:
		fail(w, http.StatusBadRequest, "the file is empty")
		return
	case len([]rune(filename)) > filenameLimit:
		fail(w, http.StatusBadRequest, "X-Media-Filename is at most 255 characters")
		return
	}
	c.mu.Lock()
	id := c.keep(medium{tenant: tenant, contentType: r.Header.Get("Content-Type"), filename: filename, data: data})
	c.observe(Observation{What: ObsUpload, Gateway: gateway, Size: len(data)})
	c.mu.Unlock()
	body := map[string]any{"id": id}
	if c.preset().MediaSize {
		body["size"] = len(data)
	}
	answer(w, http.StatusOK, body)
}

func (c *Connector) serveDownload(w http.ResponseWriter, r *http.Request, id string) {
	gateway, tenant, ok := c.authorized(w, r)
	if !ok {
		c.mu.Lock()
		c.download(r, "", http.StatusUnauthorized)
		c.mu.Unlock()
		return
	}
	c.mu.Lock()
	m, ok := c.media[id]
	if ok && !time.Now().Before(m.until) {
		delete(c.media, id)
		ok = false
	}
	status := http.StatusOK
	if ok = ok && m.tenant == tenant; !ok {
		status = http.StatusNotFound
	}
	c.download(r, gateway, status)
	c.mu.Unlock()
	if !ok {
		fail(w, status, "no such file")
		return
	}
	if m.contentType != "" {
		w.Header().Set("Content-Type", m.contentType)
	}
	if m.filename != "" {
		w.Header().Set("X-Media-Filename", m.filename)
	}
	w.Write(m.data)
}
