package page

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

//go:embed assets
var embedded embed.FS

// Assets are what a browser gets: HTML, CSS and modules of JavaScript.
func Assets() fs.FS {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic("page: " + err.Error())
	}
	return assets
}

// Act is something that a page can have done. Its error is for the person who asked.
type Act func(ctx context.Context, body json.RawMessage) (any, error)

// File is one of a chat.
type File struct {
	ContentType, Name string
	Data              []byte
}

// Files are those of chats.
type Files interface {
	File(id string) (File, bool)
	AddFile(f File) (id string, err error)
}

// Config is what New needs. Model is required.
type Config struct {
	Model *Model
	Acts  map[string]Act // what may be done; Model.About names them
	Files Files          // nil: there are none
	Token string         // who has it may read and act; default: a random one
	Hosts []string       // names that the page is asked for by, beside those of loopback
}

// Server shows a Model to browsers.
type Server struct {
	cfg     Config
	cookie  string // its name
	epoch   string // tells the revisions of this Model from those of another
	handler http.Handler

	closing context.Context
	close   context.CancelFunc
	streams sync.WaitGroup
}

// New returns a Server. Close it.
func New(cfg Config) *Server {
	if cfg.Token == "" {
		cfg.Token = rand.Text()
	}
	sum := sha256.Sum256([]byte(cfg.Token))
	s := &Server{cfg: cfg, cookie: "dormouse-" + hex.EncodeToString(sum[:4]), epoch: rand.Text()[:8]} // a browser sends cookies to every port
	s.closing, s.close = context.WithCancel(context.Background())
	api := http.NewServeMux()
	api.HandleFunc("GET /api/events", s.serveEvents)
	api.HandleFunc("GET /api/way/{id}", s.serveWay)
	api.HandleFunc("GET /api/case/{id}", s.serveCase)
	api.HandleFunc("GET /api/drain/{id}/lines", s.serveLines)
	api.HandleFunc("GET /api/file/{id}", s.serveFile)
	api.HandleFunc("POST /api/file", s.serveUpload)
	api.HandleFunc("POST /api/do/{act}", s.serveAct)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.serveIndex)
	mux.HandleFunc("GET /assets/{name}", s.serveAsset)
	mux.Handle("/api/", s.known(api))
	s.handler = loopback.Guard(guarded(mux), cfg.Hosts...)
	return s
}

// URL is the address to open, with the token, of a server at base.
func (s *Server) URL(base string) string {
	return strings.TrimSuffix(base, "/") + "/?token=" + s.cfg.Token
}

// Close ends the streams.
func (s *Server) Close() {
	s.close()
	s.streams.Wait()
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// policy lets a page run and load nothing but what its own server has.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guarded says to browsers what a page may do.
func guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// knows says whether a request has the token: as a cookie, or as a bearer.
func (s *Server) knows(r *http.Request) bool {
	given := ""
	if cookie, err := r.Cookie(s.cookie); err == nil {
		given = cookie.Value
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		given = token
	}
	return s.isToken(given)
}

func (s *Server) isToken(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.cfg.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

const wantsToken = "the token is missing or wrong: open the URL that the command printed, with its token"

func (s *Server) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.knows(r) {
			failed(w, http.StatusUnauthorized, wantsToken)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// serveIndex takes the token out of the address, where it would stay in the history, and into a cookie.
func (s *Server) serveIndex(w http.ResponseWriter, r *http.Request) {
	if given := r.URL.Query().Get("token"); s.isToken(given) {
		http.SetCookie(w, &http.Cookie{Name: s.cookie, Value: given, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if !s.knows(r) {
		http.Error(w, wantsToken, http.StatusUnauthorized)
		return
	}
	s.asset(w, "index.html")
}

func (s *Server) serveAsset(w http.ResponseWriter, r *http.Request) { s.asset(w, r.PathValue("name")) }

func (s *Server) asset(w http.ResponseWriter, name string) {
	content, err := fs.ReadFile(Assets(), name)
	if err != nil {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Write(content)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	raw, err := json.Marshal(body)
	if err != nil {
		failed(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Write(raw)
}

func failed(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	raw, _ := json.Marshal(map[string]string{"error": why})
	w.Write(raw)
}

func (s *Server) serveWay(w http.ResponseWriter, r *http.Request) {
	p, ok := s.cfg.Model.Way(r.PathValue("id"))
	if !ok {
		failed(w, http.StatusNotFound, "no such delivery is known here")
		return
	}
	answer(w, p)
}

func (s *Server) serveCase(w http.ResponseWriter, r *http.Request) {
	p, ok := s.cfg.Model.Way(r.PathValue("id"))
	if !ok {
		failed(w, http.StatusNotFound, "no such delivery is known here")
		return
	}
	c, err := p.Case()
	if err != nil {
		failed(w, http.StatusConflict, err.Error())
		return
	}
	answer(w, c)
}

func (s *Server) serveLines(w http.ResponseWriter, r *http.Request) {
	lines, ok := s.cfg.Model.DrainLines(r.PathValue("id"))
	if !ok {
		failed(w, http.StatusNotFound, "no such drain is known here")
		return
	}
	answer(w, lines)
}

const (
	mostBody = 8 << 20  // bytes of an act
	mostFile = 25 << 20 // bytes of a file (contract section 15)
)

func (s *Server) serveAct(w http.ResponseWriter, r *http.Request) {
	act := s.cfg.Acts[r.PathValue("act")]
	if act == nil {
		failed(w, http.StatusForbidden, "this page does not do that: it only shows, unless it was started with --act")
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		failed(w, http.StatusUnsupportedMediaType, "want application/json")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil || !json.Valid(body) {
		failed(w, http.StatusBadRequest, "the body is no JSON, or larger than 8 MiB")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	result, err := act(ctx, body)
	if err != nil {
		failed(w, http.StatusConflict, err.Error())
		return
	}
	if result == nil {
		result = struct{}{}
	}
	answer(w, result)
}

// shown are the types that a browser shows as pictures. What else there is, it only saves.
var shown = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	var f File
	ok := false
	if s.cfg.Files != nil {
		f, ok = s.cfg.Files.File(r.PathValue("id"))
	}
	if !ok {
		failed(w, http.StatusNotFound, "there is no such file, or its time is over")
		return
	}
	kind, _, _ := mime.ParseMediaType(f.ContentType)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if shown[kind] {
		w.Header().Set("Content-Type", kind)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
	}
	w.Write(f.Data)
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Files == nil {
		failed(w, http.StatusForbidden, "this page takes no files")
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostFile))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		failed(w, http.StatusRequestEntityTooLarge, "a file is at most 25 MiB")
		return
	case err != nil || len(data) == 0:
		failed(w, http.StatusBadRequest, "the file is empty, or did not come whole")
		return
	}
	name := shorten(path.Base(strings.ReplaceAll(r.URL.Query().Get("name"), `\`, "/")), 200)
	f := File{ContentType: r.Header.Get("Content-Type"), Name: name, Data: data}
	id, err := s.cfg.Files.AddFile(f)
	if err != nil {
		failed(w, http.StatusConflict, fmt.Sprintf("the connector does not take the file: %v", err))
		return
	}
	answer(w, Attachment{File: id, Name: f.Name, MIME: f.ContentType, Size: len(data)})
}
