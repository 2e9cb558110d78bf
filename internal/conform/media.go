package conform

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const largestFile = 25 << 20 // bytes

var mediaChecks = []Check{
	{
		ID: "media-upload", Suite: Media, Section: 15, Level: Must,
		Sentence: "an upload is answered by an id that is a text",
		Quote:    "The answer is `{id, size}`",
		needs:    needs{secret: true},
		run:      func(t *trial) error { _, _, err := t.uploaded([]byte("conform"), "conform.txt"); return err },
	},
	{
		ID: "media-size", Suite: Media, Section: 15, Level: Should,
		Sentence: "that answer has the size in bytes",
		Quote:    "The answer is `{id, size}`",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			_, r, err := t.uploaded([]byte("conform"), "conform.txt")
			if err == nil && r.object["size"] != 7.0 {
				err = fmt.Errorf("size %v of 7 bytes", r.object["size"])
			}
			return err
		},
	},
	{
		ID: "media-download", Suite: Media, Section: 15, Level: Must,
		Sentence: "what was uploaded is at /relay/media/ and its id, with the Content-Type of the upload",
		Quote:    "the file's URL is base + `/relay/media/{id}`",
		needs:    needs{secret: true},
		run:      checkDownload,
	},
	{
		ID: "media-filename", Suite: Media, Section: 15, Level: Must,
		Sentence: "a file name of 255 characters is taken",
		Quote:    "`X-Media-Filename` (255 characters, ASCII: servers read it as Latin-1)",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			_, _, err := t.uploaded([]byte("conform"), strings.Repeat("n", 251)+".txt")
			return err
		},
	},
	{
		ID: "media-token", Suite: Media, Section: 15, Level: Must,
		Sentence: "neither upload nor download is possible without an upgrade token",
		Quote:    "and the upgrade token as bearer",
		needs:    needs{secret: true},
		run:      checkMediaToken,
	},
	{
		ID: "media-empty", Suite: Media, Section: 15, Level: Should,
		Sentence: "an empty file is refused",
		Quote:    "an empty one is refused",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			r, err := t.upload(t.bearer(), nil, "empty.txt")
			if err == nil && r.status/100 != 4 {
				err = fmt.Errorf("%v", r)
			}
			return err
		},
	},
	{
		ID: "media-largest", Suite: Media, Section: 15, Level: Must,
		Sentence: "a file of 25 MiB is taken",
		Quote:    "A file may have 25 MiB in either direction",
		needs:    needs{secret: true, slow: true},
		run: func(t *trial) error {
			if err := t.hasMedia(); err != nil {
				return err
			}
			_, _, err := t.uploaded(bytes.Repeat([]byte("x"), largestFile), "largest.bin")
			return err
		},
	},
	{
		ID: "media-limit", Suite: Media, Section: 15, Level: Should,
		Sentence: "a file of 25 MiB and a byte is refused",
		Quote:    "A file may have 25 MiB in either direction",
		needs:    needs{secret: true, slow: true},
		run: func(t *trial) error {
			if err := t.hasMedia(); err != nil {
				return err
			}
			r, err := t.upload(t.bearer(), bytes.Repeat([]byte("x"), largestFile+1), "larger.bin")
			if err == nil && r.ok() {
				return fmt.Errorf("%v", r)
			}
			return t.ctx.Err() // it ended the connection while the file came: that is a refusal, too
		},
	},
	{
		ID: "media-unknown", Suite: Media, Section: 15, Level: Must,
		Sentence: "an id that nobody uploaded is answered 404",
		Quote:    "If fetching it fails, the reference drops that attachment",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			if _, _, err := t.uploaded([]byte("conform"), "conform.txt"); err != nil {
				return err
			}
			r, err := t.ask(request{method: http.MethodGet, path: "/media/conform-no-such-file", bearer: t.bearer()})
			if err == nil && r.status != http.StatusNotFound {
				err = fmt.Errorf("%v", r)
			}
			return err
		},
	},
	{
		ID: "media-stranger", Suite: Media, Section: 19, Level: Must,
		Sentence: "a file is not given to a gateway of another tenant",
		Quote:    "404 for other tenants' ids",
		needs:    needs{secret: true, stranger: true},
		run:      checkMediaStranger,
	},
}

// hasMedia sends a small file: where there is no /relay/media, a large one may end with its connection before the answer is read.
func (t *trial) hasMedia() error {
	_, _, err := t.uploaded([]byte("conform"), "conform.txt")
	return err
}

// upload sends a file.
func (t *trial) upload(bearer relay.Secret, data []byte, name string) (reply, error) {
	r, err := t.ask(request{
		method: http.MethodPost, path: "/media", bearer: bearer, body: data, patience: 6 * t.cfg.Wait, // section 15: 30 s
		headers: map[string]string{"Content-Type": "text/x-conform", "X-Media-Filename": name},
	})
	if err == nil {
		t.facts.note("media", !r.missing())
		if r.missing() {
			err = &skipped{"there is no /relay/media"}
		}
	}
	return r, err
}

// uploaded sends a file that has to be taken, and returns its id.
func (t *trial) uploaded(data []byte, name string) (id string, r reply, err error) {
	r, err = t.upload(t.bearer(), data, name)
	switch {
	case err != nil:
	case !r.ok():
		err = fmt.Errorf("%v", r)
	case textOf(r.object, "id") == "":
		err = fmt.Errorf("the answer's id is %v", r.object["id"])
	default:
		_, sized := r.object["size"]
		t.facts.note("media-size", sized)
	}
	return textOf(r.object, "id"), r, err
}

func checkDownload(t *trial) error {
	data := []byte("conform \x00\xff")
	id, _, err := t.uploaded(data, "conform.bin")
	if err != nil {
		return err
	}
	r, err := t.ask(request{method: http.MethodGet, path: "/media/" + id, bearer: t.bearer()})
	switch {
	case err != nil:
		return err
	case r.status != http.StatusOK:
		return fmt.Errorf("%v", r)
	case !bytes.Equal(r.body, data):
		return fmt.Errorf("%d other bytes than the %d that were uploaded", len(r.body), len(data))
	case !strings.HasPrefix(r.kind, "text/x-conform"):
		return fmt.Errorf("Content-Type %q", r.kind)
	}
	return nil
}

func checkMediaToken(t *trial) error {
	id, _, err := t.uploaded([]byte("conform"), "conform.txt")
	if err != nil {
		return err
	}
	r, err := t.ask(request{method: http.MethodGet, path: "/media/" + id})
	if err != nil || r.status/100 != 4 {
		return orSaid(err, "download: %v", r)
	}
	r, err = t.upload(relay.Secret{}, []byte("conform"), "conform.txt")
	if err != nil || r.status/100 != 4 {
		return orSaid(err, "upload: %v", r)
	}
	return nil
}

func checkMediaStranger(t *trial) error {
	id, _, err := t.uploaded([]byte("conform"), "conform.txt")
	if err != nil {
		return err
	}
	other, err := t.fresh(t.cfg.Stranger, nil)
	if err != nil {
		return err
	}
	r, err := t.ask(request{method: http.MethodGet, path: "/media/" + id, bearer: other.token()})
	if err != nil || r.ok() {
		return orSaid(err, "%v", r)
	}
	return nil
}

// orSaid is err, or what was observed instead.
func orSaid(err error, format string, observed ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, observed...)
}
