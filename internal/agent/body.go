package agent

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unpacked reads the body of an answer. A proxy on the way may have packed it with gzip although nobody asked for it, and
// may even forget to say so.
type unpacked struct {
	io.Closer
	raw    *bufio.Reader
	packed bool      // the header says so
	in     io.Reader // nil before the first Read
}

// unpack returns the body of res as its author wrote it, or an error if it is packed in a way that is not known here. It
// reads nothing yet.
func unpack(res *http.Response) (io.ReadCloser, error) {
	u := &unpacked{Closer: res.Body, raw: bufio.NewReader(res.Body)}
	switch encoding := strings.ToLower(strings.TrimSpace(res.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		u.packed = true
	default:
		return nil, fmt.Errorf("agent: the answer has Content-Encoding %.40q, want none or gzip", encoding)
	}
	return u, nil
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.in == nil {
		u.in = u.raw
		start, err := u.raw.Peek(2)
		if string(start) == "\x1f\x8b" {
			if u.in, err = gzip.NewReader(u.raw); err != nil {
				u.in = nil
				return 0, err
			}
		} else if u.packed && len(start) > 0 {
			u.packed = false // the header is wrong, or the client has unpacked it
		}
	}
	return u.in.Read(p)
}

const maxSaid = 200 // bytes of an agent's own words that an error keeps

// said is how an answer that is none goes on in an error: the first words of its body on one line. hide is left out.
func said(body io.Reader, hide []string) string {
	raw, _ := io.ReadAll(io.LimitReader(body, 4<<10)) // what came before an error may be of use
	text := string(raw)
	for _, secret := range hide {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf):
			return -1
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "")
	}
	if text == "" {
		return ""
	}
	return ": " + text
}

// secrets are the parts of an agent's URL that may hold a credential. A server's error page likes to repeat them.
func secrets(u *url.URL) (list []string) {
	list = []string{u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery}
	if password, ok := u.User.Password(); ok {
		list = append(list, password)
	}
	list = append(list, u.User.Username())
	for _, values := range u.Query() {
		list = append(list, values...)
	}
	for _, segment := range strings.Split(u.Path, "/") {
		if len(segment) >= 8 { // shorter ones are words
			list = append(list, segment)
		}
	}
	list = slices.DeleteFunc(list, func(s string) bool { return len(s) < 4 })
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) }) // the longest first: it may hold the others
	return slices.Compact(list)
}
