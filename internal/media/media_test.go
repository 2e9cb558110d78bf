package media_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/media"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "secret-canary"

// seen is what a server was asked for.
type seen struct {
	mu       sync.Mutex
	requests []*http.Request
}

func (s *seen) last(t *testing.T) *http.Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		t.Fatal("no request came")
	}
	return s.requests[len(s.requests)-1]
}

// serve starts a server over real HTTP.
func serve(t *testing.T, h http.HandlerFunc) (*seen, string) {
	s := &seen{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// connector starts a development connector with the gateways gw, sibling (of the same tenant) and stranger.
func connector(t *testing.T) (*devconnector.Connector, *seen, string) {
	keys := []relay.Secret{relay.NewSecret(secret)}
	c := devconnector.New(devconnector.Config{Gateways: []devconnector.Gateway{
		{ID: "gw", Tenant: "t", Secrets: keys}, {ID: "sibling", Tenant: "t", Secrets: keys}, {ID: "stranger", Tenant: "o", Secrets: keys},
	}})
	t.Cleanup(func() { c.Close(context.Background()) })
	s, url := serve(t, c.ServeHTTP)
	return c, s, url
}

func client(t *testing.T, url, gateway string) *media.Client {
	c := media.New(media.Config{URL: relay.NewBaseURL(url), Token: func() relay.Secret {
		return relay.UpgradeToken(gateway, relay.NewSecret(secret), time.Now(), time.Minute)
	}})
	t.Cleanup(c.Close)
	return c
}

func TestAFileGoesUpAndComesDown(t *testing.T) {
	is := is.New(t)
	_, seen, base := connector(t)
	ws := strings.Replace(base, "http", "ws", 1) + "/relay" // as it may be configured
	gw := client(t, ws, "gw")
	link, err := gw.Upload(t.Context(), []byte("\x89PNG"), "image/png", "ü\r\n"+strings.Repeat("n", 300))
	is.NoErr(err)
	is.True(strings.HasPrefix(link, base+"/relay/media/"))
	is.True(gw.Hosts(link))
	is.Equal(seen.last(t).Header.Get("X-Media-Filename"), "ue"+strings.Repeat("n", 253))
	is.True(strings.HasPrefix(seen.last(t).Header.Get("User-Agent"), "dormouse (")) // a library's default gets 403 from some

	data, kind, err := client(t, base, "sibling").Fetch(t.Context(), link, 4)
	is.NoErr(err)
	is.Equal(string(data), "\x89PNG")
	is.Equal(kind, "image/png")
	is.True(strings.HasPrefix(seen.last(t).Header.Get("User-Agent"), "dormouse ("))

	_, _, err = client(t, base, "stranger").Fetch(t.Context(), link, 4)
	is.True(err != nil && strings.Contains(err.Error(), "HTTP 404")) // another tenant's
	without := media.New(media.Config{URL: relay.NewBaseURL(base)})
	defer without.Close()
	_, _, err = without.Fetch(t.Context(), link, 4)
	is.True(err != nil && strings.Contains(err.Error(), "HTTP 401"))
	is.Equal(seen.last(t).Header["Authorization"], nil)
}

func TestLimits(t *testing.T) {
	is := is.New(t)
	c, seen, base := connector(t)
	gw := client(t, base, "gw")
	whole := bytes.Repeat([]byte("x"), media.Limit)
	link, err := gw.Upload(t.Context(), whole, "text/plain", "")
	is.NoErr(err)
	got, _, err := gw.Fetch(t.Context(), link, 1<<40)
	is.NoErr(err)
	is.Equal(len(got), media.Limit)
	_, _, err = gw.Fetch(t.Context(), link, media.Limit-1)
	is.True(err != nil && strings.Contains(err.Error(), "room for"))
	id, err := c.AddMedia("gw", "text/plain", "", append(whole, 'x'))
	is.NoErr(err)
	_, _, err = gw.Fetch(t.Context(), base+"/relay/media/"+id, 1<<40)
	is.True(err != nil && strings.Contains(err.Error(), "room for"))

	before := len(seen.requests)
	_, err = gw.Upload(t.Context(), append(whole, 'x'), "text/plain", "")
	is.True(err != nil)
	_, err = gw.Upload(t.Context(), nil, "text/plain", "")
	is.True(err != nil && strings.Contains(err.Error(), "empty"))
	is.Equal(len(seen.requests), before) // neither is tried

	id, err = c.AddMedia("gw", "text/plain", "", nil)
	is.NoErr(err)
	_, _, err = gw.Fetch(t.Context(), base+"/relay/media/"+id, 10)
	is.True(err != nil && strings.Contains(err.Error(), "empty"))

	_, endless := serve(t, func(w http.ResponseWriter, r *http.Request) { // without a Content-Length
		for r.Context().Err() == nil {
			if _, err := w.Write(whole[:1<<16]); err != nil {
				return
			}
		}
	})
	_, _, err = gw.Fetch(t.Context(), endless, 1<<20)
	is.True(err != nil && strings.Contains(err.Error(), "room for"))
}

func TestOnlyItsOwnFilesGetTheBearer(t *testing.T) {
	tests := map[string]struct {
		base, link string
		want       bool
	}{
		"own":                    {"https://connector.example", "https://connector.example/relay/media/a", true},
		"own, in capitals":       {"https://connector.example", "HTTPS://Connector.EXAMPLE/relay/media/a", true},
		"the port written out":   {"https://connector.example", "https://connector.example:443/relay/media/a", true},
		"of a socket's URL":      {"wss://connector.example:8443/relay", "https://connector.example:8443/relay/media/a", true},
		"below a path":           {"https://connector.example/eu", "https://connector.example/eu/relay/media/a", true},
		"another port":           {"https://connector.example", "https://connector.example:8443/relay/media/a", false},
		"another host":           {"https://connector.example", "https://connector.example.evil.example/relay/media/a", false},
		"a host below":           {"https://connector.example", "https://cdn.connector.example/relay/media/a", false},
		"a user in front":        {"https://connector.example", "https://u:p@connector.example/relay/media/a", false},
		"a host that looks same": {"https://connector.example", "https://connector.example@evil.example/relay/media/a", false},
		"another path":           {"https://connector.example", "https://connector.example/manage/link", false},
		"a path that leads out":  {"https://connector.example", "https://connector.example/relay/media/../../manage/link", false},
		"the same, escaped":      {"https://connector.example", "https://connector.example/relay/media/%2e%2e/policy", false},
		"no id":                  {"https://connector.example", "https://connector.example/relay/media/", false},
		"in the clear":           {"https://connector.example", "http://connector.example:443/relay/media/a", false},
		"another scheme":         {"https://connector.example", "ftp://connector.example/relay/media/a", false},
		"no URL":                 {"https://connector.example", "://", false},
		"no connector":           {"", "/relay/media/a", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(media.New(media.Config{URL: relay.NewBaseURL(tt.base)}).Hosts(tt.link), tt.want)
		})
	}
}

func TestTheBearerStaysAtTheConnector(t *testing.T) {
	is := is.New(t)
	var to string
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "file") }
	elsewhere, other := serve(t, ok)
	own, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/relay/media/moved" || r.Method == http.MethodPost {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		ok(w, r)
	})
	gw := client(t, base, "gw")
	bearer := func(s *seen) string { return s.last(t).Header.Get("Authorization") }
	fetch := func(link string) {
		t.Helper()
		got, _, err := gw.Fetch(t.Context(), link, 10)
		is.NoErr(err)
		is.Equal(string(got), "file")
	}
	fetch(other + "/relay/media/a")
	is.Equal(bearer(elsewhere), "")
	fetch(base + "/other/a")
	is.Equal(bearer(own), "")
	fetch(base + "/relay/media/a")
	is.True(bearer(own) != "")

	to = other + "/relay/media/a" // the same host name, another port
	fetch(base + "/relay/media/moved")
	is.Equal(bearer(elsewhere), "")
	is.Equal(elsewhere.last(t).Header.Get("Referer"), "")
	to = base + "/other/a"
	fetch(base + "/relay/media/moved")
	is.Equal(bearer(own), "")
	to = base + "/relay/media/b"
	fetch(base + "/relay/media/moved")
	is.True(bearer(own) != "")

	before := len(elsewhere.requests)
	to = other
	_, err := gw.Upload(t.Context(), []byte("x"), "text/plain", "a")
	is.True(err != nil && strings.Contains(err.Error(), "HTTP 307")) // an upload follows nowhere
	is.Equal(len(elsewhere.requests), before)
	for _, bad := range []string{"file:///etc/passwd", base + "/relay/media/moved"} {
		to = bad
		_, _, err = gw.Fetch(t.Context(), base+"/relay/media/moved", 10)
		is.True(err != nil) // another scheme, round in circles
	}
	for _, link := range []string{"file:///etc/passwd", "ftp://connector.example/a", "data:,x", "", "https:///relay/media/a"} {
		_, _, err = gw.Fetch(t.Context(), link, 10)
		is.True(err != nil && strings.Contains(err.Error(), "want an http or https URL"))
	}
}

func TestOddAnswersToAnUpload(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string // of the error; empty: none
	}{
		"without a size":     {200, `{"id":"a/b"}`, ""},
		"created":            {201, `{"id":"a","size":1}`, ""},
		"no id":              {200, `{}`, "no \"id\""},
		"no JSON":            {200, `<html>`, "no \"id\""},
		"takes no files":     {404, `{}`, "takes no files"},
		"too large for them": {413, `{}`, "HTTP 413"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			link, err := client(t, base, "gw").Upload(t.Context(), []byte("x"), "text/plain", "")
			if tt.want == "" {
				is.NoErr(err)
				is.True(strings.HasPrefix(link, base+"/relay/media/a"))
				is.True(!strings.Contains(strings.TrimPrefix(link, base+"/relay/media/"), "/"))
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
			is.True(!strings.Contains(err.Error(), base))
		})
	}
}

func TestASilentServerIsGivenUpAfter30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		gw := media.New(media.Config{URL: "http://connector", NetDial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			return ours, nil
		}})
		defer gw.Close()
		start := time.Now()
		_, _, err := gw.Fetch(t.Context(), "http://connector/relay/media/a", 10)
		is.True(err != nil && strings.Contains(err.Error(), "30s"))
		is.Equal(time.Since(start), 30*time.Second)
		_, err = gw.Upload(t.Context(), []byte("x"), "text/plain", "")
		is.True(err != nil && strings.Contains(err.Error(), "30s"))
		is.Equal(time.Since(start), time.Minute)
	})
}

func TestAHeaderWithoutAnEndIsReadToItsLimit(t *testing.T) {
	is := is.New(t)
	var sent atomic.Int64
	c := media.New(media.Config{URL: relay.NewBaseURL("http://connector"), NetDial: pipenet.EndlessHeader(&sent)})
	defer c.Close()
	_, _, err := c.Fetch(t.Context(), "http://connector/relay/media/1", 1<<20)
	is.True(err != nil)
	is.True(sent.Load() < 100<<10)
}

// So is an answer to an upload.
func TestAnUploadsAnswerWithoutAnEndIsReadToItsLimit(t *testing.T) {
	is := is.New(t)
	const most = 64 << 20
	var sent atomic.Int64
	ended := make(chan struct{})
	_, base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		io.Copy(io.Discard, r.Body)
		for blanks := bytes.Repeat([]byte(" "), 64<<10); sent.Load() < most; {
			n, err := w.Write(blanks)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	_, err := client(t, base, "gw").Upload(t.Context(), []byte("x"), "text/plain", "")
	is.True(err != nil)
	<-ended
	is.True(sent.Load() < most/2) // the network holds some of it
}
