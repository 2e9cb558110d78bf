package loopback_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

func TestGuard(t *testing.T) {
	guarded := loopback.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }), "tunnel.example", "")
	tests := []struct {
		host   string
		header []string // name and value
		want   int
	}{
		{"127.0.0.1:8787", nil, 200},
		{"127.3.2.1", nil, 200},
		{"localhost:1", nil, 200},
		{"LOCALHOST.", nil, 200},
		{"connector.localhost:80", nil, 200},
		{"[::1]:80", nil, 200},
		{"[::1]", nil, 200},
		{"tunnel.example:443", nil, 200},
		{"127.0.0.1:1", []string{"Origin", "http://127.0.0.1:1"}, 200},
		{"LocalHost:80", nil, 200},
		{"127.0.0.1.:80", nil, 200},
		{"[0:0:0:0:0:0:0:1]:80", nil, 200},
		{"[::ffff:127.0.0.1]:80", nil, 200},
		{"[::1]:80", []string{"Origin", "http://[::1]:80"}, 200},
		{"", nil, 403},
		{".", nil, 403},
		{"localhost..", nil, 403},
		{"localhost:80:80", nil, 403},
		{"localhost@evil.example", nil, 403},
		{"evil.example.localhost.evil.example", nil, 403},
		{"[::2]:80", nil, 403},
		{"[::ffff:10.0.0.1]:80", nil, 403},
		{"128.0.0.1", nil, 403},
		{"2130706433", nil, 403},
		{"localhost.evil.com:80", nil, 403},
		{"127.0.0.1.evil.com", nil, 403},
		{"evil.example", nil, 403},
		{"127.0.0.1.evil.example:80", nil, 403},
		{"localhost.evil.example", nil, 403},
		{"notlocalhost", nil, 403},
		{"10.0.0.1:8787", nil, 403},
		{"0.0.0.0:8787", nil, 403},
		{"127.0.0.1:1", []string{"Origin", "https://evil.example"}, 403},
		{"127.0.0.1:1", []string{"Origin", "null"}, 403},
		{"127.0.0.1:1", []string{"Origin", "http://127.0.0.1:2"}, 403},
		{"127.0.0.1:1", []string{"Origin", "http://localhost:1"}, 403},
		{"127.0.0.1:1", []string{"Origin", "http://127.0.0.1:1@evil.example"}, 403},
		{"127.0.0.1:1", []string{"Origin", "http://127.0.0.1:1.evil.example"}, 403},
		{"127.0.0.1:1", []string{"Origin", ""}, 403},
		{"127.0.0.1:1", []string{"Origin", "127.0.0.1:1"}, 403},
		{"localhost", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", "/", nil)
		r.Host = tt.host
		for i := 0; i < len(tt.header); i += 2 {
			r.Header.Set(tt.header[i], tt.header[i+1])
		}
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("Host %q, %v: %d, want %d", tt.host, tt.header, w.Code, tt.want)
		}
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.Host = "127.0.0.1:1"
	r.Header["Origin"] = []string{"http://127.0.0.1:1", "https://evil.example"}
	w := httptest.NewRecorder()
	guarded.ServeHTTP(w, r)
	is.New(t).Equal(w.Code, 403) // one of two is foreign
	is.New(t).True(loopback.Named("::ffff:127.0.0.1"))
}
