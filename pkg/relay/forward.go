package relay

import (
	"encoding/base64"
	"errors"
)

// Forward is a raw request of a platform (section 9). It marshals to the wire form. Nothing in it has been verified.
type Forward struct {
	Platform string      `json:"platform"`
	BotID    string      `json:"botId"`
	Method   string      `json:"method"`
	Path     string      `json:"path"`
	Headers  [][2]string `json:"headers,omitempty"`
	Body     []byte      `json:"bodyB64,omitempty"` // decoded
	Profile  string      `json:"profile,omitempty"`
}

// UnmarshalJSON fails only if raw is not a JSON object. Values of other types become strings where they can. Header
// entries that are no pairs are dropped. In the body, characters outside the base64 alphabet are skipped; a body that
// still does not decode is empty.
func (f *Forward) UnmarshalJSON(raw []byte) error {
	v, ok := parse(raw)
	if !ok || !v.isObject() {
		return errForwardNotObject
	}
	*f = decodeForward(v)
	return nil
}

var errForwardNotObject = errors.New("relay: forward is not a JSON object; set it aside")

func decodeForward(v value) Forward {
	var f Forward
	for name, v := range v.members() {
		switch string(name) {
		case "platform":
			f.Platform = v.text()
		case "botId":
			f.BotID = v.text()
		case "method":
			f.Method = v.text()
		case "path":
			f.Path = v.text()
		case "headers":
			f.Headers = decodeHeaders(v)
		case "bodyB64":
			f.Body = decodeBase64(v.text())
		case "profile":
			f.Profile = v.text()
		}
	}
	return f
}

func decodeHeaders(v value) [][2]string {
	var list [][2]string
	for v := range v.elements() {
		var pair []string
		for v := range v.elements() {
			if len(pair) < 3 {
				pair = append(pair, v.printed())
			}
		}
		if len(pair) == 2 && len(list) < mostFields {
			list = append(list, [2]string(pair))
		}
	}
	return list
}

// decodeBase64 is as lenient as the reference: it skips foreign characters, and stops at the padding, which must be there.
func decodeBase64(s string) []byte {
	var kept []byte
	padded := false
	for i := 0; i < len(s) && !padded; i++ {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
			kept = append(kept, c)
		case c == '=':
			padded = len(kept)%4 >= 2
		}
	}
	body, err := base64.RawStdEncoding.AppendDecode(nil, kept)
	if err != nil || len(body) == 0 {
		return nil
	}
	return body
}

// printed is text for any scalar, null, true and false in the words that agents of the reference are used to.
func (v value) printed() string {
	switch {
	case v.isNull():
		return "None"
	case string(v) == "true":
		return "True"
	case string(v) == "false":
		return "False"
	}
	return v.text()
}
