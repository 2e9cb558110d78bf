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

// unpacked reads the body of an answer. A proxy on the way may have packed it with gzip although nobody asked for it, and may
// even forget to say so, or say so of what is not packed. The first bytes tell.
type unpacked struct {
	io.Closer
	raw *bufio.Reader
	in  io.Reader // nil before the first Read
}

// unpack returns the body of res as its author wrote it, or an error if it is packed in a way that is not known here. It
// reads nothing yet.
func unpack(res *http.Response) (io.ReadCloser, error) {
	for encoding := range strings.SplitSeq(strings.Join(res.Header.Values("Content-Encoding"), ","), ",") {
		switch encoding = strings.ToLower(strings.TrimSpace(encoding)); encoding {
		case "", "identity", "none", "utf-8", "utf8", "gzip", "x-gzip": // some give the character set
		default:
			return nil, fmt.Errorf("agent: the answer has Content-Encoding %.40q, want none or gzip", encoding)
		}
	}
	return &unpacked{Closer: res.Body, raw: bufio.NewReader(res.Body)}, nil
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.in == nil {
		start, _ := u.raw.Peek(2) // an error comes again as it is read
		if string(start) != "\x1f\x8b" {
			u.in = u.raw
		} else if packed, err := gzip.NewReader(u.raw); err != nil {
			return 0, err
		} else {
			u.in = packed
		}
	}
	return u.in.Read(p)
}

const maxSaid = 200 // bytes of an agent's own words that an error keeps

// said is how an error goes on that keeps what an agent said: its first words on one line, without control characters.
// hide is taken out of them.
func said(body io.Reader, hide []string) string {
	raw, _ := io.ReadAll(io.LimitReader(body, 4<<10)) // what came before an error may be of use
	text := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf):
			return -1
		}
		return r
	}, string(raw))
	text = strings.Join(strings.Fields(text), " ")
	for _, secret := range hide {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
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
