package turn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Media moves files between the connector and turns (section 15).
type Media interface {
	// Hosts says whether a URL is a file that the connector has re-hosted.
	Hosts(url string) bool
	// Fetch returns a file of at most so many bytes, and its media type if that is told.
	Fetch(ctx context.Context, url string, most int64) (data []byte, mediaType string, err error)
	// Upload gives a file to the connector and returns the URL that a send_media names it by.
	Upload(ctx context.Context, data []byte, mediaType, filename string) (url string, err error)
}

const (
	filesPerTurn = 3 << 20          // bytes: as base64 they leave room for the rest in the 6 MB that Lambda takes
	fetchingTime = 30 * time.Second // for all files of a turn
)

var errNoTime = fmt.Errorf("not fetched: no time left after %v", fetchingTime)

// files fetches the attachments of messages and uploads the files of answers. It knows events and actions, no delivery.
//
// It has no lock. filled has one token for each turn that has files in memory, so that as many turns have files as there
// are slots.
type files struct {
	media  Media // nil: nothing is fetched or uploaded
	gate   *gate
	filled chan struct{}
}

// attachments are an event's: media_urls has them, media what is known of each (section 6).
func attachments(e *relay.Event) (list []agent.Media) {
	known := map[string]relay.Media{}
	for _, m := range e.Media {
		known[m.URL] = m
	}
	for _, url := range e.MediaURLs {
		if url == "" {
			continue
		}
		m := known[url]
		m.URL = url
		list = append(list, agent.Media{Media: m})
	}
	return list
}

// attach returns the attachments of a message. It fetches those that the connector has re-hosted, as far as they fit into
// a turn; of the others the agent gets what is known. A turn fetches before it has its slot, so that a slow download holds
// up no other session, unless as many as there are slots have files. release is for the end of the turn.
func (f *files) attach(
	ctx context.Context, log *slog.Logger, e *relay.Event, typing *typingMark,
) (list []agent.Media, release func(), err error) {
	list = attachments(e)
	f.mark(log, list)
	if f.media == nil || !slices.ContainsFunc(list, func(m agent.Media) bool { return f.media.Hosts(m.URL) }) {
		return list, func() {}, nil
	}
	release, err = f.gate.acquire(ctx, f.filled)
	if err != nil {
		return nil, nil, err
	}
	fetching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f.fetch(fetching, stop, log, list, typing)
	if fetching.Err() != nil {
		release()
		return nil, nil, context.Cause(fetching)
	}
	return list, release, nil
}

// fetches reports whether something of an event's attachments is fetched.
func (f *files) fetches(e *relay.Event) bool {
	return f.media != nil && slices.ContainsFunc(e.MediaURLs, f.media.Hosts)
}

// mark says of each attachment that can be had from nobody why not: a link to a file of another connector is no public one.
func (f *files) mark(log *slog.Logger, list []agent.Media) {
	tell := notFetched{log: log}
	defer tell.rest()
	for i := range list {
		if f.media != nil && !f.media.Hosts(list[i].URL) && hosted(list[i].URL) {
			list[i].Error = errElsewhere.Error()
			tell.of(i, errElsewhere)
		}
	}
}

// notFetched logs attachments that are not fetched: the first ones one by one, of the others how many there are.
type notFetched struct {
	log *slog.Logger
	n   int
}

const mostNotFetched = 20

func (t *notFetched) of(i int, err error) {
	if t.n++; t.n <= mostNotFetched {
		t.log.Warn(logs.AttachmentNotFetched, logs.KeyNumber, i, logs.KeyError, err)
	}
}

func (t *notFetched) rest() {
	if more := t.n - mostNotFetched; more > 0 {
		t.log.Warn(logs.AttachmentsNotFetched, logs.KeyMessages, more)
	}
}

var errElsewhere = errors.New("not fetched: the link is to a connector's file, and not on the host of this connector; " +
	"GATEWAY_RELAY_URL names it")

// hosted says whether a link is to a file of some connector (section 15).
func hosted(link string) bool {
	u, err := url.Parse(link)
	return err == nil && strings.Contains(path.Clean(u.Path)+"/", "/relay/media/")
}

// fetch fills list with the files that it can have, while the chat shows typing. It calls stop, which ends ctx, once no
// turn starts any more.
func (f *files) fetch(
	ctx context.Context, stop context.CancelCauseFunc, log *slog.Logger, list []agent.Media, typing *typingMark,
) {
	limited, cancel := context.WithTimeoutCause(ctx, fetchingTime, errNoTime)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { typing.keepShowing(limited) })
	beside.Go(func() {
		select {
		case <-f.gate.closing:
			stop(errDeferred)
		case <-limited.Done():
		}
	})
	tell := notFetched{log: log}
	defer tell.rest()
	room := int64(filesPerTurn)
	for i := range list {
		m := &list[i]
		if !f.media.Hosts(m.URL) {
			continue
		}
		if room == 0 || m.Size > room {
			m.Error = fmt.Sprintf("not fetched: a turn carries %d bytes of files, %d are left", filesPerTurn, room)
			continue
		}
		err := context.Cause(limited)
		if err == nil {
			var mediaType string
			m.Data, mediaType, err = f.media.Fetch(limited, m.URL, room)
			m.MIME = cmp.Or(m.MIME, mediaType)
		}
		if err != nil {
			m.Data, m.Error = nil, err.Error()
			tell.of(i, err)
			continue
		}
		m.Size = int64(len(m.Data))
		room -= m.Size
	}
}

// upload gives the files in actions to the connector, so that what is kept has links only. For a file that cannot be
// uploaded it puts in a text. It fails only if ctx ends for another reason than the agent's time.
func (f *files) upload(
	ctx context.Context, log *slog.Logger, shaper action.Shaper, actions []action.Outgoing,
) ([]action.Outgoing, error) {
	var out []action.Outgoing
	for _, o := range actions {
		if o.File == nil {
			out = append(out, o)
			continue
		}
		link, err := f.uploadOne(ctx, *o.File)
		if cause := context.Cause(ctx); cause != nil && cause != errTimeout {
			return nil, cause
		}
		if err != nil {
			log.Warn(logs.FileNotUploaded, logs.KeyBytes, len(o.File.Data), logs.KeyError, err)
			out = append(out, shaper.TextInstead(o, "")...)
			continue
		}
		out = append(out, o.Uploaded(link))
	}
	return out, nil
}

func (f *files) uploadOne(ctx context.Context, file action.File) (link string, err error) {
	if f.media == nil {
		return "", fmt.Errorf("turn: no way to upload %d bytes; use source_url", len(file.Data))
	}
	return f.media.Upload(ctx, file.Data, file.MIME, file.Name)
}

// publicLink is the link of a send_media that anybody can follow, or "": a file that the connector has is for it alone.
func (f *files) publicLink(o action.Outgoing) string {
	link, _ := o.Action["source_url"].(string)
	if f.media != nil && (f.media.Hosts(link) || hosted(link)) {
		return ""
	}
	return link
}
