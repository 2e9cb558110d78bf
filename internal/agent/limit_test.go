package agent_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// An answer that has no end costs no more than what is read of it: the limit holds while it is read, not only afterwards.
func TestAnAnswerWithoutAnEndIsReadToItsLimit(t *testing.T) {
	tests := map[string]struct {
		status int
		most   int64 // bytes that may leave the server: what is read, and what sockets hold
		want   string
	}{
		"an answer": {http.StatusOK, 32 << 20, "over"},
		"an error":  {http.StatusBadGateway, 8 << 20, "HTTP 502"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var sent atomic.Int64
			over := make(chan struct{})
			a := serve(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(over)
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(tt.status)
				chunk := bytes.Repeat([]byte(" "), 64<<10)
				for sent.Load() < 256<<20 { // by then the limit has not held
					n, err := w.Write(chunk)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			_, err := a.Answer(t.Context(), turn("x"))
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
			<-over
			is.True(sent.Load() <= tt.most)
		})
	}
}

func TestAHeaderWithoutAnEndIsReadToItsLimit(t *testing.T) {
	is := is.New(t)
	var sent atomic.Int64
	a, err := agent.NewHTTP("http://agent/hook", relay.Secret{}, pipenet.EndlessHeader(&sent))
	is.NoErr(err)
	_, err = a.Answer(t.Context(), turn("x"))
	is.True(err != nil)
	is.True(sent.Load() < 100<<10)
}
