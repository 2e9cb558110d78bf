// Package media fetches files from the connector and uploads files to it (section 15 of the contract): attachments that the
// connector has re-hosted, and files of replies.
//
// Package drain makes a Client for a run, and package turn uses it through an interface. Fetch and Upload block until the
// whole file is there or 30 seconds have passed. All methods of a Client may be called from any goroutine. A Client keeps
// idle connections until Close. It keeps no file and writes none to disk, and shows the upgrade token to the connector
// alone. Errors do not show URLs.
package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Limit is the most bytes that a file may have, either way (section 15).
const Limit = 25 << 20

const (
	timeout      = 30 * time.Second // for one file, either way
	maxRedirects = 3
	maxAnswer    = 64 << 10 // bytes of an upload's answer
	maxHeader    = 64 << 10 // bytes of an answer's header, which takes twenty times as much in memory
	maxFilename  = 255      // characters (section 15)
	hostedPath   = "/relay/media/"
	userAgent    = "dormouse (relay gateway; +https://github.com/dormouse-relay/dormouse)"
)

var errSlow = fmt.Errorf("media: not done within %v", timeout)

// Config is what New needs. Only URL is required.
type Config struct {
	URL     relay.BaseURL
	Token   func() relay.Secret // mints the upgrade token for one request (section 2); nil or blank: requests go without
	NetDial relay.DialFunc      // opens connections, with TLS where the URL asks for it; nil means the network
}

// Client talks to one connector.
type Client struct {
	cfg  Config
	base *url.URL // of uploads; nil if the setting is no URL
	http *http.Client
}

// New returns a client. It touches no network.
func New(cfg Config) *Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	c := &Client{cfg: cfg}
	if base, err := url.Parse(cfg.URL.Media()); err == nil && web(base) {
		c.base = base
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:        cfg.NetDial,
			DialTLSContext:     cfg.NetDial,
			Protocols:          &protocols,
			DisableCompression: true, // a limit is for what goes over the wire and for what it unpacks to

			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: c.redirect,
	}
	return c
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Hosts says whether link is a file of this connector: it has the connector's host and port, and a path below its media path.
// Only requests for such a link carry the bearer.
func (c *Client) Hosts(link string) bool {
	u, err := url.Parse(link)
	return err == nil && c.hosts(u)
}

func (c *Client) hosts(u *url.URL) bool {
	if c.base == nil || !web(u) || u.User != nil {
		return false
	}
	if !strings.EqualFold(u.Hostname(), c.base.Hostname()) || port(u) != port(c.base) {
		return false
	}
	if u.Scheme == "http" && c.base.Scheme == "https" {
		return false // the bearer would travel in clear text
	}
	clean := path.Clean(u.Path) // dots in it must not lead elsewhere
	return strings.HasPrefix(clean, hostedPath) || strings.HasPrefix(clean, c.base.Path+"/")
}

func web(u *url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" }

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// Fetch returns the file behind link, of at most so many bytes and never more than Limit, and its media type, "" if the
// server does not say it. It is an error if the file is larger, empty, or not read within 30 s.
func (c *Client) Fetch(ctx context.Context, link string, most int64) (data []byte, mediaType string, err error) {
	u, err := url.Parse(link)
	if err != nil || !web(u) {
		return nil, "", errors.New("media: want an http or https URL") // the cause quotes the URL
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, "", errors.New("media: want an http or https URL")
	}
	if c.hosts(u) {
		c.authorize(req)
	}
	res, err := c.do(ctx, req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	most = min(most, Limit)
	switch {
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
		return nil, "", fmt.Errorf("media: HTTP %d: the file is not there, or not any more", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("media: fetching was answered with HTTP %d", res.StatusCode)
	case res.ContentLength > most:
		return nil, "", tooLarge(most)
	}
	data, err = io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, "", fault(ctx, err)
	case int64(len(data)) > most:
		return nil, "", tooLarge(most)
	case len(data) == 0:
		return nil, "", errors.New("media: the file is empty")
	}
	mediaType, _, _ = mime.ParseMediaType(res.Header.Get("Content-Type"))
	return data, mediaType, nil
}

func tooLarge(most int64) error {
	return fmt.Errorf("media: the file is over the %d bytes that there is room for", most)
}

// Upload gives a file to the connector and returns the URL that an action names it by. The file must have 1 to Limit bytes.
// The filename may be empty; it is sent in ASCII, in 255 characters at most.
func (c *Client) Upload(ctx context.Context, data []byte, mediaType, filename string) (string, error) {
	switch {
	case c.base == nil:
		return "", errors.New("media: GATEWAY_RELAY_URL is no usable URL")
	case len(data) == 0:
		return "", errors.New("media: the file is empty")
	case len(data) > Limit:
		return "", tooLarge(Limit)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSlow)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String(), bytes.NewReader(data))
	if err != nil {
		return "", fault(ctx, err)
	}
	req.Header.Set("Content-Type", mediaType)
	if name := headerText(filename); name != "" {
		req.Header.Set("X-Media-Filename", name)
	}
	c.authorize(req)
	res, err := c.do(ctx, req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return "", errors.New("media: HTTP 404: this connector takes no files; use a public link instead")
	case res.StatusCode/100 != 2:
		return "", fmt.Errorf("media: the upload was answered with HTTP %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", fault(ctx, err)
	}
	id := idIn(body)
	if id == "" {
		return "", errors.New(`media: the upload's answer has no "id"`)
	}
	return c.base.String() + "/" + url.PathEscape(id), nil
}

// idIn is the id in an upload's answer, of which a number is read as its digits; "" if there is none.
func idIn(body []byte) string {
	var answer struct {
		ID any `json:"id"`
	}
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	d.UseNumber()
	if d.Decode(&answer) != nil {
		return ""
	}
	switch id := answer.ID.(type) {
	case string:
		return id
	case json.Number:
		return id.String()
	}
	return ""
}

func (c *Client) authorize(req *http.Request) {
	if c.cfg.Token == nil {
		return
	}
	if token := c.cfg.Token(); token.Usable() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
}

func (c *Client) do(ctx context.Context, req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fault(ctx, err)
	}
	return res, nil
}

// redirect follows redirects of downloads only. It takes the bearer off a request that is not for one of the connector's files.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	switch {
	case first.Method != http.MethodGet:
		return http.ErrUseLastResponse
	case !web(req.URL), last.URL.Scheme == "https" && req.URL.Scheme == "http":
		return errors.New("media: a redirect leads to where it is not safe to follow")
	case len(via) > maxRedirects:
		return fmt.Errorf("media: more than %d redirects", maxRedirects)
	}
	if !c.hosts(req.URL) || req.URL.Scheme != first.URL.Scheme {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer")
	return nil
}

// fault is the error of a request that got no answer, without the URL that net/http puts into its errors.
func fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("media: no answer: %w", err)
}
