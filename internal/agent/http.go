package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	maxAnswer   = 6 << 20 // bytes of an answer's JSON; all of a stream's lines together may have more
	maxLine     = 1 << 20 // bytes of one line of a stream
	maxRequests = 3       // within one attempt
	firstPause  = 500 * time.Millisecond
	ndjson      = "application/x-ndjson"
)

// HTTP posts each turn to a URL as a Standard Webhook: webhook-id is the delivery's key, and there is a signature if there is
// a secret. The answer is JSON as Decode reads it, or a stream of lines as DecodeLine reads them.
//
// After status 408, 425, 429 or 5xx, or a network error, HTTP makes up to two more requests in the same attempt. It waits for
// the Retry-After, or half a second and then a second. If the last status is 429, the error is ErrUnavailable; any other 4xx
// is ErrRefused at once. Any other status but 200 and 204, or an answer that cannot be read, is a failed attempt.
// Errors do not show the URL, which may hold a credential.
type HTTP struct {
	url    string
	signer *standardwebhooks.Webhook // nil: unsigned
	client *http.Client
}

// NewHTTP returns the agent behind url. The secret is base64 after whsec_. netDial opens connections, nil means the network;
// they are kept for the next turn. No redirect is followed: a turn goes to the configured host and to no other.
func NewHTTP(url string, secret relay.Secret, netDial relay.DialFunc) (*HTTP, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if netDial != nil {
		transport.DialContext = netDial
	}
	transport.MaxIdleConnsPerHost = 64
	transport.DisableCompression = true // compression would hold back lines of a stream
	h := &HTTP{url: url, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if secret.Usable() {
		signer, err := standardwebhooks.NewWebhook(strings.TrimSpace(secret.Reveal()))
		if err != nil {
			return nil, errors.New("agent: the signing secret cannot be read; want whsec_ and base64") // the cause quotes it
		}
		h.signer = signer
	}
	return h, nil
}

// Answer posts the turn and reads the answer. Of a streamed answer it reads nothing yet.
func (h *HTTP) Answer(ctx context.Context, t Turn) (Answer, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
	}
	for n, pause := 1, firstPause; ; n, pause = n+1, 2*pause {
		res, err := h.post(ctx, t.Delivery.Key, body)
		again := err != nil && ctx.Err() == nil
		if err == nil {
			if res.StatusCode == http.StatusOK {
				return readAnswer(ctx, res)
			}
			again, err = statusError(res.StatusCode)
			if after, ok := retryAfter(res); ok {
				pause = after
			}
			io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection is kept
			res.Body.Close()
		}
		deadline, limited := ctx.Deadline()
		if !again || n == maxRequests || limited && time.Until(deadline) < pause {
			return Answer{}, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
}

func (h *HTTP) post(ctx context.Context, key string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: DORMOUSE_AGENT is no usable URL", ErrUnavailable)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, "+ndjson)
	req.Header.Set("User-Agent", "dormouse")
	req.Header.Set(standardwebhooks.HeaderWebhookID, key)
	if h.signer != nil {
		now := time.Now()
		signature, err := h.signer.Sign(key, now, body)
		if err != nil {
			return nil, errors.New("agent: the turn cannot be signed")
		}
		req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
		req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("agent: posting the turn: %w", noAnswer(ctx, err))
	}
	return res, nil
}

// statusError says what a status other than 200 means. again is true if another request may get another status.
func statusError(status int) (again bool, err error) {
	switch {
	case status == http.StatusNoContent:
		return false, nil
	case status == http.StatusTooManyRequests:
		return true, fmt.Errorf("agent: answered HTTP %d: %w", status, ErrUnavailable)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return true, fmt.Errorf("agent: answered HTTP %d", status)
	case status >= 400:
		return false, fmt.Errorf("agent: answered HTTP %d: %w", status, ErrRefused)
	case status >= 300:
		return false, fmt.Errorf("agent: answered HTTP %d; no redirect is followed, want DORMOUSE_AGENT to be where it leads", status)
	}
	return false, fmt.Errorf("agent: answered HTTP %d, want 200 or 204", status)
}

// retryAfter returns how long the Retry-After header says to wait, in seconds or as a date.
func retryAfter(res *http.Response) (time.Duration, bool) {
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0), true
	}
	return 0, false
}

// readAnswer reads the answer of a status 200. A stream is read, and its body closed, by whoever ranges over it.
func readAnswer(ctx context.Context, res *http.Response) (Answer, error) {
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == ndjson {
		return Answer{Stream: lines(ctx, res.Body)}, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("agent: reading the answer: %w", noAnswer(ctx, err))
	case len(body) > maxAnswer:
		return Answer{}, fmt.Errorf("agent: answer is over %d bytes", maxAnswer)
	}
	return Decode(body)
}

// lines reads a stream. An agent may send blank lines to show that it is still there.
func lines(ctx context.Context, body io.ReadCloser) iter.Seq2[relay.Action, error] {
	return func(yield func(relay.Action, error) bool) {
		defer body.Close()
		in := bufio.NewScanner(body)
		in.Buffer(nil, maxLine)
		for n := 1; in.Scan(); n++ {
			line := bytes.TrimSpace(in.Bytes())
			if len(line) == 0 {
				continue
			}
			a, err := DecodeLine(line)
			if err != nil && in.Err() != nil {
				break // the line was cut with the connection
			}
			if err != nil {
				yield(nil, fmt.Errorf("agent: line %d of the answer %w", n, err))
				return
			}
			if !yield(a, nil) {
				return
			}
		}
		if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(nil, fmt.Errorf("agent: a line of the answer is over %d bytes", maxLine))
		} else if err != nil {
			yield(nil, fmt.Errorf("agent: reading the answer: %w", noAnswer(ctx, err)))
		}
	}
}
