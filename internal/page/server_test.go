package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type files map[string]page.File

func (f files) File(id string) (page.File, bool) { file, ok := f[id]; return file, ok }
func (f files) AddFile(file page.File) (string, error) {
	if file.Name == "refused.bin" {
		return "", errors.New("the connector keeps no files")
	}
	f["new"] = file
	return "new", nil
}

// serve serves a page on loopback.
func serve(t *testing.T, cfg page.Config) (*page.Server, string) {
	t.Helper()
	cfg.Token = token
	if cfg.Model == nil {
		cfg.Model = page.NewModel(page.About{Title: "a page"})
	}
	s := page.New(cfg)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, web.URL
}

// ask makes a request; headers are names and values.
func ask(t *testing.T, method, url, body string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw), resp.Header
}

var bearer = []string{"Authorization", "Bearer " + token}

func TestThePageAsksForItsToken(t *testing.T) {
	is := is.New(t)
	s, base := serve(t, page.Config{})
	for _, path := range []string{"/api/events", "/api/way/x", "/api/case/x", "/api/file/x", "/api/drain/x/lines", "/", "/?token=wrong"} {
		status, _, _ := ask(t, http.MethodGet, base+path, "")
		is.Equal(status, http.StatusUnauthorized) // path
	}
	status, _, _ := ask(t, http.MethodPost, base+"/api/do/say", "{}", "Content-Type", "application/json", "Authorization", "Bearer wrong")
	is.Equal(status, http.StatusUnauthorized)

	status, _, header := ask(t, http.MethodGet, s.URL(base), "") // as it is printed
	is.Equal(status, http.StatusSeeOther)
	is.Equal(header.Get("Location"), "/") // the token does not stay in the address
	cookie := header.Get("Set-Cookie")
	is.True(strings.Contains(cookie, "HttpOnly") && strings.Contains(cookie, "SameSite=Strict") && strings.Contains(cookie, "Path=/"))
	name, _, _ := strings.Cut(cookie, ";")
	status, body, _ := ask(t, http.MethodGet, base+"/", "", "Cookie", name)
	is.Equal(status, http.StatusOK)
	is.True(strings.Contains(body, `<main id="main"`))
	is.True(!strings.Contains(body, token))
}

func TestAPageOfAnotherOriginGetsNothing(t *testing.T) {
	is := is.New(t)
	_, base := serve(t, page.Config{Hosts: []string{"dev.example"}})
	for _, headers := range [][]string{
		{"Host", "evil.example"}, {"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"},
	} {
		status, _, _ := ask(t, http.MethodGet, base+"/api/way/x", "", append(headers, bearer...)...)
		is.Equal(status, http.StatusForbidden) // headers
	}
	status, _, _ := ask(t, http.MethodGet, base+"/api/way/x", "", append([]string{"Host", "dev.example"}, bearer...)...)
	is.Equal(status, http.StatusNotFound) // it was let in
}

func TestAPageRunsAndLoadsNothingFromElsewhere(t *testing.T) {
	is := is.New(t)
	_, base := serve(t, page.Config{})
	for _, path := range []string{"/", "/assets/app.js", "/api/way/x"} {
		_, _, header := ask(t, http.MethodGet, base+path, "", bearer...)
		policy := header.Get("Content-Security-Policy")
		is.True(strings.HasPrefix(policy, "default-src 'none'; script-src 'self';"))
		is.True(!strings.Contains(policy, "unsafe"))
		is.True(strings.Contains(policy, "frame-ancestors 'none'"))
		is.Equal(header.Get("X-Content-Type-Options"), "nosniff")
		is.Equal(header.Get("Cache-Control"), "no-store")
	}
	inline := regexp.MustCompile(`(?i)<script(?:>| [^>]*>[^<])|\son\w+=|style=|javascript:`)
	elsewhere := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|@import|url\(\s*['"]?(?:https?:)?//`)
	html := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment`)
	total := 0
	err := fs.WalkDir(page.Assets(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(page.Assets(), path)
		is.NoErr(err)
		total += len(content)
		if strings.HasSuffix(path, ".html") {
			is.Equal(inline.FindString(string(content)), "") // path
		}
		is.Equal(elsewhere.FindString(string(content)), "")
		is.Equal(html.FindString(string(content)), "") // what a chat says never becomes HTML
		return nil
	})
	is.NoErr(err)
	t.Logf("all assets together: %d bytes", total)
	is.True(total > 0 && total < 150_000)
}

func TestAPageDoesOnlyWhatItsOwnerAllows(t *testing.T) {
	is := is.New(t)
	_, base := serve(t, page.Config{Acts: map[string]page.Act{
		"say": func(_ context.Context, body json.RawMessage) (any, error) { return map[string]any{"heard": body}, nil },
		"not": func(context.Context, json.RawMessage) (any, error) {
			return nil, errors.New("it cannot be done")
		},
	}})
	do := func(act, kind, body string) (int, string) {
		status, answer, _ := ask(t, http.MethodPost, base+"/api/do/"+act, body, append([]string{"Content-Type", kind}, bearer...)...)
		return status, answer
	}
	status, body := do("say", "application/json", `{"a":1}`)
	is.Equal(status, http.StatusOK)
	is.Equal(body, `{"heard":{"a":1}}`)
	status, body = do("not", "application/json", `{}`)
	is.Equal(status, http.StatusConflict)
	is.Equal(body, `{"error":"it cannot be done"}`)
	status, body = do("drop", "application/json", `{}`)
	is.Equal(status, http.StatusForbidden)
	is.True(strings.Contains(body, "--act"))
	status, _ = do("say", "text/plain", `{}`) // what a form of another page could send
	is.Equal(status, http.StatusUnsupportedMediaType)
	status, _ = do("say", "application/json", `{`)
	is.Equal(status, http.StatusBadRequest)
	status, _, _ = ask(t, http.MethodGet, base+"/api/do/say", "", bearer...)
	is.Equal(status, http.StatusMethodNotAllowed)
}

func TestAFileOfAChatIsShownOrSavedAndNeverRun(t *testing.T) {
	is := is.New(t)
	kept := files{
		"png":  {ContentType: "image/png", Name: "a.png", Data: []byte("png")},
		"html": {ContentType: "text/html", Name: "evil \".html", Data: []byte("<script>alert(1)</script>")},
		"svg":  {ContentType: "image/svg+xml", Name: "a.svg", Data: []byte("<svg onload=alert(1)>")},
	}
	_, base := serve(t, page.Config{Files: kept})
	_, _, header := ask(t, http.MethodGet, base+"/api/file/png", "", bearer...)
	is.Equal(header.Get("Content-Type"), "image/png")
	for _, id := range []string{"html", "svg"} {
		_, _, header = ask(t, http.MethodGet, base+"/api/file/"+id, "", bearer...)
		is.Equal(header.Get("Content-Type"), "application/octet-stream")
		is.True(strings.HasPrefix(header.Get("Content-Disposition"), "attachment"))
		is.Equal(header.Get("Content-Security-Policy"), "default-src 'none'; sandbox")
	}
	status, _, _ := ask(t, http.MethodGet, base+"/api/file/none", "", bearer...)
	is.Equal(status, http.StatusNotFound)

	status, body, _ := ask(t, http.MethodPost, base+"/api/file?name=..%2F..%2Fa.txt", "words", append([]string{"Content-Type", "text/plain"}, bearer...)...)
	is.Equal(status, http.StatusOK)
	is.Equal(body, `{"file":"new","name":"a.txt","mime":"text/plain","size":5}`)
	status, _, _ = ask(t, http.MethodPost, base+"/api/file?name=a.txt", "", bearer...)
	is.Equal(status, http.StatusBadRequest)
	status, body, _ = ask(t, http.MethodPost, base+"/api/file?name=refused.bin", "x", bearer...)
	is.Equal(status, http.StatusConflict)
	is.True(strings.Contains(body, "keeps no files"))
}

func TestAStreamThatWasCutGoesOnWhereItWas(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	_, base := serve(t, page.Config{Model: m})
	m.AddChat(page.Chat{Platform: "slack", Chat: "a", Name: "first"})
	one := follow(t, base, "")
	is.Equal(one.next().name, "reset")
	start := one.next()
	is.True(start.entries[page.KindChat]["slack/a"] != nil)

	m.AddChat(page.Chat{Platform: "slack", Chat: "b", Name: "second"})
	next := one.next()
	is.Equal(len(next.entries[page.KindChat]), 1) // what is new, and nothing else
	is.True(next.entries[page.KindChat]["slack/b"] != nil)

	cut := follow(t, base, start.id) // another connection, with Last-Event-ID
	resumed := cut.next()
	is.Equal(resumed.name, "")
	is.Equal(len(resumed.entries[page.KindChat]), 1)
	is.True(resumed.entries[page.KindChat]["slack/b"] != nil)

	second := follow(t, base, "") // a second tab
	is.Equal(second.next().name, "reset")
	is.Equal(len(second.next().entries[page.KindChat]), 2)

	is.Equal(follow(t, base, "other-7").next().name, "reset") // of another process: the browser has to forget
	is.Equal(follow(t, base, "nonsense").next().name, "reset")
}

func TestTheOldestMessagesMakeRoom(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	const kept = 20_000
	for n := range kept + 3 {
		m.AddMessage(page.Message{Chat: "slack/a", MID: string(rune('a'+n%26)) + "-" + string(rune(n)), Text: "x"})
	}
	is.Equal(len(tell(t, m)[page.KindMessage]), kept)
}

func TestStreamsEndWithTheServer(t *testing.T) {
	is := is.New(t)
	s, base := serve(t, page.Config{})
	open := follow(t, base, "")
	open.next()
	open.next()
	s.Close()
	is.True(!open.lines.Scan())
	status, _, _ := ask(t, http.MethodGet, base+"/api/events", "", bearer...)
	is.Equal(status, http.StatusServiceUnavailable)
}
