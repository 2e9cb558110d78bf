package agent

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// busy is an agent that says so twice, with a Retry-After if there is one.
type busy struct {
	retryAfter string
	at         []time.Time
}

func (b *busy) RoundTrip(*http.Request) (*http.Response, error) {
	res := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), ProtoMajor: 1}
	if b.retryAfter != "" {
		res.Header.Set("Retry-After", b.retryAfter)
	}
	if b.at = append(b.at, time.Now()); len(b.at) == 3 {
		res.StatusCode = http.StatusNoContent
	}
	return res, nil
}

func TestPausesBetweenRequests(t *testing.T) {
	tests := map[string]struct {
		retryAfter    string
		first, second time.Duration
	}{
		"of our own":    {"", 500 * time.Millisecond, time.Second},
		"in seconds":    {"7", 7 * time.Second, 7 * time.Second},
		"at once":       {"0", 0, 0},
		"until a date":  {"Sat, 01 Jan 2000 00:00:05 GMT", 5 * time.Second, 0}, // a bubble's time begins at midnight
		"of some other": {"soon", 500 * time.Millisecond, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := &busy{retryAfter: tt.retryAfter}
				h, err := NewHTTP("http://127.0.0.1/", relay.Secret{}, nil)
				is.NoErr(err)
				h.client.Transport = b
				_, err = h.Answer(t.Context(), Turn{})
				is.NoErr(err)
				is.Equal(b.at[1].Sub(b.at[0]), tt.first)
				is.Equal(b.at[2].Sub(b.at[1]), tt.second)
			})
		})
	}
}
