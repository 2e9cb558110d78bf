package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	maxAnswer = 6 << 20  // bytes of an answer's JSON, unpacked; all of a stream's lines together may have more
	maxHeader = 64 << 10 // bytes of an answer's header, which takes twenty times as much in memory
	ndjson    = "application/x-ndjson"
)

// HTTP posts each turn to a URL, once, as a Standard Webhook: webhook-id is the delivery's key, and there is a signature if
// there is a secret. Any 2xx is an answer: JSON as Decode reads it, or a stream of records as DecodeLine reads them, as its
// content type says.
//
// Errors name the agent's host and the first words of what it said. They do not show the URL, which may hold a credential,
// nor anything of a 2xx, which is a user's text. ClassOf says what they mean for the message.
type HTTP struct {
	url    string
	host   string
	hide   []string                  // parts of the URL that no error shows
	signer *standardwebhooks.Webhook // nil: unsigned
	client *http.Client
}

// NewHTTP returns the agent behind address. The secret is base64 after whsec_. netDial opens connections, nil means the
// network; they are kept for the next turn. No redirect is followed: a turn goes to the configured host and to no other.
func NewHTTP(address string, secret relay.Secret, netDial relay.DialFunc) (*HTTP, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if netDial != nil {
		transport.DialContext = netDial
	}
	transport.MaxIdleConnsPerHost = 64
	transport.MaxResponseHeaderBytes = maxHeader
	transport.DisableCompression = true // compression would hold back lines of a stream
	h := &HTTP{url: address, host: "the agent", client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if u, err := url.Parse(address); err == nil {
		h.host, h.hide = u.Host, secrets(u)
	}
	if secret.Usable() {
		signer, err := standardwebhooks.NewWebhook(strings.TrimSpace(secret.Reveal()))
		if err != nil {
			return nil, errors.New("agent: the signing secret cannot be read; want whsec_ and base64") // the cause quotes it
		}
		h.signer = signer
		h.hide = append(h.hide, strings.TrimPrefix(strings.TrimSpace(secret.Reveal()), "whsec_"))
	}
	return h, nil
}

// Answer posts the turn and reads the answer. Of a streamed answer it reads nothing yet.
func (h *HTTP) Answer(ctx context.Context, t Turn) (Answer, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
	}
	res, err := h.post(ctx, t, body)
	if err != nil {
		return Answer{}, err
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return Answer{}, h.refusal(res)
	}
	answer, err := readAnswer(ctx, res)
	if said := answer.Stream; said != nil {
		answer.Stream = func(yield func(relay.Action, error) bool) {
			for a, err := range said {
				if !yield(a, h.name(ctx, err)) {
					return
				}
			}
		}
	}
	return answer, h.name(ctx, err)
}

// name puts the host into an error about an answer.
func (h *HTTP) name(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w (from %s)", err, h.host)
}

func (h *HTTP) post(ctx context.Context, t Turn, body []byte) (*http.Response, error) {
	var c contact
	req, err := http.NewRequestWithContext(c.watch(ctx), http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, awayf("agent: DORMOUSE_AGENT is no usable URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, "+ndjson)
	req.Header.Set("User-Agent", "dormouse")
	req.Header.Set(standardwebhooks.HeaderWebhookID, t.Delivery.Key)
	if t.Traceparent != "" {
		req.Header.Set("Traceparent", t.Traceparent)
	}
	// A kept connection that the agent closes just as the turn leaves is no failure: net/http takes another one. It does
	// so for what it may send again, and this header, which does not leave, says so.
	req.Header["Idempotency-Key"] = nil
	if h.signer != nil {
		now := time.Now()
		signature, err := h.signer.Sign(t.Delivery.Key, now, body)
		if err != nil {
			return nil, errors.New("agent: the turn cannot be signed")
		}
		req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
		req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, c.fault(ctx, h.host, err)
	}
	return res, nil
}

// refusal is the error of an answer that is no 2xx.
func (h *HTTP) refusal(res *http.Response) error {
	e := &Error{Class: classOf(res.StatusCode), RetryAfter: retryAfter(res)}
	why := ""
	if res.StatusCode/100 == 3 {
		why = "; no redirect is followed, want DORMOUSE_AGENT to be where it leads"
	}
	words := ""
	if body, err := unpack(res); err == nil {
		words = said(body, h.hide)
	}
	io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection is kept
	e.err = fmt.Errorf("agent: %s answered HTTP %d%s%s", h.host, res.StatusCode, why, words)
	return e
}

// retryAfter returns how long the Retry-After header says to wait, in seconds or as a date; 0 if there is none.
func retryAfter(res *http.Response) time.Duration {
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// readAnswer reads a 2xx. A stream is read, and its body closed, by whoever ranges over it.
func readAnswer(ctx context.Context, res *http.Response) (Answer, error) {
	body, err := unpack(res)
	if err != nil {
		res.Body.Close()
		return Answer{}, err
	}
	if f := framingOf(res.Header.Get("Content-Type")); f != nil {
		return Answer{Stream: stream(ctx, body, f)}, nil
	}
	defer body.Close()
	return readWhole(ctx, body)
}

// readWhole reads an answer that is no stream.
func readWhole(ctx context.Context, body io.Reader) (Answer, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, broken(ctx, err)
	case len(raw) > maxAnswer:
		return Answer{}, fmt.Errorf("agent: answer is over %d bytes", maxAnswer)
	}
	answer, err := Decode(raw)
	if err != nil && !errors.Is(err, errLater) && asTooMuch(err) == nil {
		if said := streamedAs(ctx, raw); said != nil {
			return Answer{Actions: said}, nil
		}
	}
	return answer, err
}

// streamedAs reads an answer that is a stream whose content type does not say so; nil if it is none, or not all of it can be read.
func streamedAs(ctx context.Context, raw []byte) (actions []relay.Action) {
	for a, err := range stream(ctx, io.NopCloser(bytes.NewReader(raw)), lines{}) {
		if err != nil {
			return nil
		}
		actions = append(actions, a)
	}
	return actions
}
