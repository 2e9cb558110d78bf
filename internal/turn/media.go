package turn

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Media moves files between the connector and turns (section 15).
type Media interface {
	// Own says whether a URL is a file that the connector has re-hosted.
	Own(url string) bool
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

// attach fetches what the connector has re-hosted of its attachments, as far as it fits into a turn; what cannot be had
// is told as what is known of it. It is done before the turn has its slot, so that a slow download holds up nobody but its
// session and, where as many as there are slots have files, others with files. release is for the end of the turn.
func (w *Worker) attach(r running) (release func(), err error) {
	it := r.item
	it.files = attachments(it.Event)
	if w.cfg.Media == nil || !slices.ContainsFunc(it.files, func(f agent.Media) bool { return w.cfg.Media.Own(f.URL) }) {
		return func() { it.files = nil }, nil
	}
	select {
	case w.filled <- struct{}{}:
	case <-w.closing:
		return nil, errLeft
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
	release = func() {
		it.files = nil
		<-w.filled
	}
	r.started()
	ctx, stop := context.WithCancelCause(r.ctx)
	defer stop(nil)
	w.fetch(ctx, stop, it)
	if ctx.Err() != nil {
		release()
		return nil, context.Cause(ctx)
	}
	return release, nil
}

// fetch fills it's files, with the chat showing typing meanwhile.
func (w *Worker) fetch(ctx context.Context, stop context.CancelCauseFunc, it *item) {
	limited, cancel := context.WithTimeoutCause(ctx, fetchingTime, errNoTime)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { w.keepTyping(limited, it) })
	beside.Go(func() {
		select {
		case <-w.closing:
			stop(errLeft)
		case <-limited.Done():
		}
	})
	log := w.cfg.Log.With("delivery", it.key, "session", it.session)
	room := int64(filesPerTurn)
	for i := range it.files {
		f := &it.files[i]
		if !w.cfg.Media.Own(f.URL) {
			continue
		}
		if room == 0 || f.Size > room {
			f.Error = fmt.Sprintf("not fetched: a turn carries %d bytes of files, %d are left", filesPerTurn, room)
			continue
		}
		err := context.Cause(limited)
		if err == nil {
			var mediaType string
			f.Data, mediaType, err = w.cfg.Media.Fetch(limited, f.URL, room)
			f.MIME = cmp.Or(f.MIME, mediaType)
		}
		if err != nil {
			f.Data, f.Error = nil, err.Error()
			log.Warn("an attachment could not be fetched: the agent gets what is known of it", "number", i, "error", err)
			continue
		}
		f.Size = int64(len(f.Data))
		room -= f.Size
	}
}

// upload gives the files in actions to the connector, so that what is kept has links only. For a file that cannot be
// uploaded a text is sent. It fails only if ctx ends otherwise than by its time.
func (w *Worker) upload(ctx context.Context, it *item, s action.Shaper, actions []action.Outgoing) ([]action.Outgoing, error) {
	var out []action.Outgoing
	for _, o := range actions {
		if o.File == nil {
			out = append(out, o)
			continue
		}
		link, err := w.give(ctx, *o.File)
		if cause := context.Cause(ctx); cause != nil && cause != errTimeout {
			return nil, cause
		}
		if err != nil {
			w.cfg.Log.Warn("a file could not be uploaded: a text is sent in its place",
				"delivery", it.key, "session", it.session, "bytes", len(o.File.Data), "error", err)
			out = append(out, s.TextInstead(o, "")...)
			continue
		}
		out = append(out, o.Uploaded(link))
	}
	return out, nil
}

func (w *Worker) give(ctx context.Context, f action.File) (link string, err error) {
	if w.cfg.Media == nil {
		return "", fmt.Errorf("turn: no way to upload %d bytes; use source_url", len(f.Data))
	}
	return w.cfg.Media.Upload(ctx, f.Data, f.MIME, f.Name)
}

// insteadOf sends the text for a send_media that the connector has refused, under ids that a successor makes as well.
func (w *Worker) insteadOf(it *item, requestID string, media action.Outgoing) (outcome string, sent bool) {
	outcome = outcomeRefused
	link, _ := media.Action["source_url"].(string)
	if w.cfg.Media != nil && w.cfg.Media.Own(link) {
		link = ""
	}
	for i, text := range w.shaper(it).TextInstead(media, link) {
		if outcome, sent = w.deliver(it, hash(requestID, fmt.Sprint(i)), text); !sent {
			return "", false
		}
	}
	return outcome, true
}
