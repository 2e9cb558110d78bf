package turn_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const own = "https://connector.example/relay/media/"

// shelf is a turn.Media with files by the end of their URLs.
type shelf struct {
	files  map[string][]byte
	slow   map[string]time.Duration
	refuse bool // uploads

	mu      sync.Mutex
	fetched []string
	given   map[string][]byte // by file name
}

func (s *shelf) Hosts(url string) bool { return strings.HasPrefix(url, own) }

func (s *shelf) Fetch(ctx context.Context, url string, most int64) ([]byte, string, error) {
	id := strings.TrimPrefix(url, own)
	s.mu.Lock()
	s.fetched = append(s.fetched, id)
	s.mu.Unlock()
	select {
	case <-time.After(s.slow[id]):
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	}
	data, ok := s.files[id]
	if !ok {
		return nil, "", errors.New("media: HTTP 404")
	}
	if int64(len(data)) > most {
		return nil, "", errors.New("media: too large")
	}
	return data, "text/plain", nil
}

func (s *shelf) Upload(_ context.Context, data []byte, mediaType, filename string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return "", errors.New("media: HTTP 503")
	}
	if s.given == nil {
		s.given = map[string][]byte{}
	}
	s.given[filename+" "+mediaType] = data
	return own + "up", nil
}

// with has attachments of these URLs.
func with(d relay.Delivery, urls ...string) relay.Delivery {
	d.Event.MediaURLs = urls
	return d
}

// shelved is bubble with files, and the turns that the agent has been given.
func shelved(t *testing.T, files *shelf, test func(t *testing.T, b *bench, turns func() []agent.Turn)) {
	bubble(t, func(t *testing.T, b *bench) {
		var mu sync.Mutex
		var got []agent.Turn
		b.change = func(c *turn.Config) { c.Media = files }
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, tn)
			return agent.Echo{}.Answer(ctx, tn)
		})
		test(t, b, func() []agent.Turn {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		})
	})
}

func TestAttachmentsComeWithTheTurn(t *testing.T) {
	files := &shelf{files: map[string][]byte{"a": []byte("hello")}}
	shelved(t, files, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		m := with(message("c1", "m1", "x"), "https://cdn.example/b.png", "", own+"a", own+"gone")
		m.Event.Media = []relay.Media{
			{URL: own + "a", Kind: "document", Filename: "a.txt", Size: 5},
			{URL: "https://cdn.example/b.png", Kind: "image", MIME: "image/png"},
		}
		is.NoErr(w.Take(m))
		idle(w)
		is.Equal(w.Counts().Finished, 1)
		is.Equal(turns()[0].Media, []agent.Media{
			{Media: relay.Media{URL: "https://cdn.example/b.png", Kind: "image", MIME: "image/png"}}, // passed as it is
			{Media: relay.Media{URL: own + "a", Kind: "document", MIME: "text/plain", Filename: "a.txt", Size: 5}, Data: []byte("hello")},
			{Media: relay.Media{URL: own + "gone"}, Error: "media: HTTP 404"}, // and the turn is run
		})
		is.Equal(files.fetched, []string{"a", "gone"})
		raw, err := json.Marshal(turns()[0])
		is.NoErr(err)
		is.True(bytes.Contains(raw, []byte(`"data":"aGVsbG8="`)))
	})
}

func TestATurnCarriesThreeMebibytesOfFiles(t *testing.T) {
	files := &shelf{files: map[string][]byte{"a": make([]byte, 2<<20), "b": make([]byte, 2<<20), "c": make([]byte, 1<<20), "d": {1}}}
	shelved(t, files, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		m := with(message("c1", "m1", "x"), own+"big", own+"a", own+"b", own+"c", own+"d")
		m.Event.Media = []relay.Media{{URL: own + "big", Size: 3<<20 + 1}, {URL: own + "c", Size: 1 << 20}} // c is what is left
		is.NoErr(w.Take(m))
		idle(w)
		var sizes []int
		for _, f := range turns()[0].Media {
			sizes = append(sizes, len(f.Data))
			is.Equal(f.Error != "", f.Data == nil) // what is missing says why
		}
		is.Equal(sizes, []int{0, 2 << 20, 0, 1 << 20, 0})
		is.Equal(files.fetched, []string{"a", "b", "c"}) // what is known not to fit is not asked for
	})
}

func TestASlowDownloadHoldsUpItsSessionOnly(t *testing.T) {
	files := &shelf{files: map[string][]byte{"a": []byte("x")}, slow: map[string]time.Duration{"a": 20 * time.Second}}
	shelved(t, files, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		change := b.change
		b.change = func(c *turn.Config) { change(c); c.Concurrency = 1 }
		w := b.start()
		defer w.Close()
		start := time.Now()
		is.NoErr(w.Take(buffered("b1", with(message("c1", "m1", "slow"), own+"a"))))
		is.NoErr(w.Take(buffered("b2", message("c1", "m2", "behind it"))))
		is.NoErr(w.Take(buffered("b3", message("c2", "m3", "fast"))))
		synctest.Wait()
		is.True(slices.Contains(b.wire.seen(), "send c2 fast")) // with one slot only
		is.Equal(time.Since(start), time.Duration(0))
		idle(w)
		is.Equal(time.Since(start), 20*time.Second)
		is.Equal(b.wire.seen()[len(b.wire.seen())-2:], []string{"send c1 slow", "send c1 behind it"})
		typing := 0
		for _, line := range b.wire.all() {
			if line == "typing c1" {
				typing++
			}
		}
		is.True(typing >= 5) // for both, and every 5 s
	})
}

func TestFetchingHas30SecondsInAll(t *testing.T) {
	files := &shelf{slow: map[string]time.Duration{"a": time.Hour}, files: map[string][]byte{"b": []byte("x")}}
	shelved(t, files, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		start := time.Now()
		is.NoErr(w.Take(with(message("c1", "m1", "x"), own+"a", own+"b")))
		idle(w)
		is.Equal(time.Since(start), 30*time.Second)
		for _, f := range turns()[0].Media {
			is.Equal(f.Error, "not fetched: no time left after 30s")
		}
		is.Equal(b.wire.seen(), []string{"send c1 x"})
	})
}

func TestADownloadIsStoppedWithItsTurn(t *testing.T) {
	files := &shelf{slow: map[string]time.Duration{"a": 10 * time.Second}, files: map[string][]byte{"a": []byte("x")}}
	shelved(t, files, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		w := b.start()
		m := with(message("c1", "m1", "x"), own+"a")
		is.NoErr(w.Take(m))
		synctest.Wait()
		w.Interrupt(m.Event.SessionKey())
		synctest.Wait()
		is.True(!w.Busy())
		is.Equal(w.Counts().Finished, 1)

		is.NoErr(w.Take(with(message("c1", "m2", "y"), own+"a")))
		synctest.Wait()
		w.StopStarting() // the time is up: it is for the next run
		synctest.Wait()
		is.True(!w.Busy())
		w.Close()
		is.Equal(w.Counts().Left, 1)
		is.Equal(len(turns()), 0)

		next := b.start()
		defer next.Close()
		idle(next)
		is.Equal(b.wire.seen(), []string{"send c1 y"})
		is.Equal(string(turns()[0].Media[0].Data), "x") // fetched again
		is.Equal(turns()[0].Delivery.Attempt, 1)
	})
}

func sendMedia(more relay.Action) relay.Action {
	a := relay.Action{"op": "send_media", "media_kind": "image", "data": "aGVsbG8=", "mime": "image/png", "filename": "a.png"}
	maps.Copy(a, more)
	return a
}

func TestFilesOfAnAnswerAreUploadedBeforeItIsKept(t *testing.T) {
	line := func(a relay.Action) agentFunc { // the same answer as a stream
		return streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(a)
			return nil
		})
	}
	for name, answer := range map[string]func(relay.Action) agentFunc{
		"whole": func(a relay.Action) agentFunc { return says(a) }, "streamed": line,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				files := &shelf{}
				kept := &keeper{}
				b.change = func(c *turn.Config) {
					kept.Journal = c.Journal
					c.Media, c.Journal = files, kept
				}
				b.agent = answer(sendMedia(relay.Action{"content": "look"}))
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(files.given, map[string][]byte{"a.png image/png": []byte("hello")})
				is.Equal(b.wire.outs[0].Action, relay.Action{
					"op": "send_media", "chat_id": "c1", "media_kind": "image", "source_url": own + "up", "filename": "a.png",
					"content": "look", "reply_to": nil, "metadata": map[string]any{"scope_id": "g1", "user_id": "u1"},
				})
				is.Equal(len(kept.actions), 1)
				is.True(strings.Contains(string(kept.actions[0]), own+"up"))
				is.True(!strings.Contains(string(kept.actions[0]), `"data"`))

				files.refuse = true
				is.NoErr(w.Take(message("c1", "m2", "x")))
				idle(w)
				is.Equal(b.wire.seen()[1:], []string{"send c1 look\n[a.png could not be sent]"})
			})
		})
	}
}

// keeper writes down what is kept.
type keeper struct {
	ledger.Journal
	actions []json.RawMessage
}

func (k *keeper) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	k.actions = append(k.actions, actions...)
	return k.Journal.Keep(ctx, key, actions)
}

func (k *keeper) Extend(ctx context.Context, key string, action json.RawMessage) error {
	k.actions = append(k.actions, action)
	return k.Journal.Extend(ctx, key, action)
}

func TestAFileThatCannotBeUploadedBecomesAText(t *testing.T) {
	tests := map[string]struct {
		media turn.Media
		ops   []string
		say   relay.Action
		want  []string
	}{
		"with a name":     {&shelf{refuse: true}, allOps, sendMedia(nil), []string{"send c1 [a.png could not be sent]"}},
		"with a caption":  {&shelf{refuse: true}, allOps, sendMedia(relay.Action{"content": "c"}), []string{"send c1 c\n[a.png could not be sent]"}},
		"without a name":  {&shelf{refuse: true}, allOps, sendMedia(relay.Action{"filename": nil}), []string{"send c1 [image could not be sent]"}},
		"without a way":   {nil, allOps, sendMedia(nil), []string{"send c1 [a.png could not be sent]"}},
		"without a send":  {&shelf{refuse: true}, []string{"send_media"}, sendMedia(nil), nil},
		"to another chat": {&shelf{refuse: true}, allOps, sendMedia(relay.Action{"chat_id": "c2"}), []string{"send c2 [a.png could not be sent]"}},
		"bytes from Go":   {&shelf{}, allOps, sendMedia(relay.Action{"data": []byte("hello")}), []string{"send_media c1 "}},
		"a data URL":      {&shelf{}, allOps, sendMedia(relay.Action{"data": "data:image/png;base64,aGVsbG8", "mime": nil}), []string{"send_media c1 "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				var logged strings.Builder
				b.wire.ops = tt.ops
				b.change = func(c *turn.Config) { c.Media, c.Log = tt.media, slog.New(slog.NewTextHandler(&logged, nil)) }
				b.agent = says(tt.say)
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				w.Close()
				is.Equal(b.wire.seen(), tt.want)
				is.Equal(w.Counts().Finished, 1)
				is.Equal(strings.Contains(logged.String(), "could not be uploaded"), !slices.Contains(tt.want, "send_media c1 "))
			})
		})
	}
}

func TestAFileThatTheConnectorCannotSendBecomesAText(t *testing.T) {
	public := relay.Action{"data": nil, "source_url": "https://x.example/a.png", "content": "look"}
	tests := map[string]struct {
		err  error
		say  relay.Action
		want []string
	}{
		"an uploaded one": {&relay.OpError{Message: "too large for discord"}, sendMedia(relay.Action{"content": "look"}), []string{
			"send_media c1 look", "send c1 look\n[a.png could not be sent]", "send c1 after",
		}},
		"a public link": {&relay.OpError{Message: "fetch failed"}, sendMedia(public), []string{
			"send_media c1 look", "send c1 look\nhttps://x.example/a.png", "send c1 after",
		}},
		"a declined chat": {&relay.OpError{Code: "egress_declined"}, sendMedia(public), []string{"send_media c1 look"}},
		"nobody knows":    {relay.ErrOutcomeUnknown, sendMedia(public), []string{"send_media c1 look", "send c1 after"}},
	}
	for name, tt := range tests {
		for _, streamed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " streamed ", streamed), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
						if out.Action.Op() == "send_media" {
							return relay.Result{}, tt.err
						}
						return relay.Result{Success: true, MessageID: "m7"}, nil
					}
					b.change = func(c *turn.Config) { c.Media = &shelf{} }
					b.agent = says(tt.say, send("after"))
					if streamed {
						b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
							_ = say(tt.say) && say(send("after"))
							return nil
						})
					}
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					is.Equal(b.wire.seen(), tt.want)
					is.Equal(w.Counts().Finished+w.Counts().Dead, 1)
					is.Equal(w.Counts().Dead == 1, name == "a declined chat")
					ids := map[string]bool{}
					for i, out := range b.wire.outs {
						is.Equal(len(out.RequestID), 32)
						instead := i == 1 && len(tt.want) == 3 // the text has the place of the file, and its id
						is.Equal(ids[out.RequestID], instead)
						ids[out.RequestID] = true
					}
				})
			})
		}
	}
}

func TestAFileThatIsNoneNamesItsField(t *testing.T) {
	for want, more := range map[string]relay.Action{
		"data: want base64 of a file":             {"data": "***"},
		"data: want base64 of a file that is not": {"data": ""},
		"mime: want a media type":                 {"mime": nil},
		"mime: want a media type, such as":        {"mime": "png"},
		"source_url: want either that or data":    {"source_url": "https://x.example/a.png"},
		"source_url: want an http or https URL":   {"data": nil},
		"media_kind: want one of":                 {"media_kind": "film"},
		"filename: want":                          {"filename": 7},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				var logged strings.Builder
				files := &shelf{}
				b.change = func(c *turn.Config) {
					c.Media, c.MaxAttempts, c.Log = files, 1, slog.New(slog.NewTextHandler(&logged, nil))
				}
				b.agent = says(sendMedia(nil), sendMedia(more))
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				w.Close()
				is.Equal(w.Counts().Finished, 1)
				is.True(strings.Contains(logged.String(), "actions[1]."+want)) // want it in the log
				is.Equal(len(files.given), 1)                                  // the other is sent
			})
		})
	}
}

func TestAFileOfAnotherConnectorIsAnErrorOfItsAttachment(t *testing.T) {
	const public = "https://cdn.example/relay/a.png"
	links := []string{
		"https://other.example/relay/media/f1", "https://other.example/base/relay/media/f1",
		"https://other.example/x/../relay/media/f1", "https://other.example/relay//media/f1", "https://other.example/relay%2Fmedia%2Ff1",
		"https://other.example:8443/relay/media/f1?x=1", "http://other.example/relay/media/f1#a", "//other.example/relay/media/f1",
		"HTTPS://OTHER.example/relay/media/f1", "https://connector.example@other.example/relay/media/f1",
		"https://connector.example.other.example/relay/media/f1", "https://connector.example:8443/relay/media/f1",
		"http://connector.example/relay/media/f1", "http://localhost:8080/relay/media/f1", "https://[::1]/relay/media/f1",
		"https://me:secret@connector.example/relay/media/f1", public,
	}
	shelved(t, &shelf{}, func(t *testing.T, b *bench, turns func() []agent.Turn) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(with(message("c1", "m1", "x"), links...)))
		idle(w)
		media := turns()[0].Media
		is.Equal(len(media), len(links))
		for i, m := range media {
			is.Equal(len(m.Data), 0)
			is.Equal(strings.Contains(m.Error, "not on the host of this connector"), links[i] != public)
		}
	})
}

func TestManyAttachmentsThatCannotBeFetchedAreAFewLines(t *testing.T) {
	for name, link := range map[string]string{"gone": own, "of another connector": "https://other.example/relay/media/"} {
		t.Run(name, func(t *testing.T) {
			shelved(t, &shelf{}, func(t *testing.T, b *bench, turns func() []agent.Turn) {
				is := is.New(t)
				var log bytes.Buffer
				change := b.change
				b.change = func(c *turn.Config) {
					change(c)
					c.Log = slog.New(slog.NewJSONHandler(&log, nil))
				}
				w := b.start()
				defer w.Close()
				var urls []string
				for i := range 200 {
					urls = append(urls, fmt.Sprint(link, i))
				}
				is.NoErr(w.Take(with(message("c1", "m1", "x"), urls...)))
				idle(w)
				is.Equal(len(turns()[0].Media), 200)
				for _, m := range turns()[0].Media {
					is.True(m.Error != "")
				}
				is.Equal(strings.Count(log.String(), logs.AttachmentNotFetched), 20)
				is.True(strings.Contains(log.String(), `"msg":"`+logs.AttachmentsNotFetched+`"`))
				is.True(strings.Contains(log.String(), `"messages":180`))
			})
		})
	}
}
