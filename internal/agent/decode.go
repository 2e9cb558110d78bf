package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// leniency is what an answer is not void for: half a surrogate pair, or bytes that are no UTF-8, become U+FFFD, of a member
// that is there twice the last one counts, and an id that is written as a number is read as its digits.
var leniency = jsonv2.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	jsontext.AllowDuplicateNames(true),
	jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(idAsText)),
)

// idAsText reads a number as text if the member that it stands for is an id: chat_id, message_id, an option's id. As a
// float a long one would lose its last digits, and Slack's, which have a fraction, the noughts at their end.
func idAsText(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' || !isID(d.StackPointer().LastToken()) {
		return errors.ErrUnsupported
	}
	number, err := d.ReadValue()
	if err != nil {
		return err
	}
	if bytes.ContainsAny(number, "eE") { // whose digits are not all there
		return jsonv2.Unmarshal(number, v)
	}
	*v = string(number)
	return nil
}

func isID(member string) bool {
	return member == "id" || member == "reply_to" || strings.HasSuffix(member, "_id")
}

// unmarked returns JSON without what may stand before it: blanks, and the byte order marks that a reader may skip (RFC 8259
// section 8.1). Whoever puts one there may have read one already.
func unmarked(json []byte) []byte { return bytes.TrimLeft(json, "\ufeff \t\r\n") }

// fromUTF16 returns JSON that some write as UTF-16, with its byte order mark, as UTF-8.
func fromUTF16(body []byte) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return body
	}
	units := make([]uint16, len(body)/2)
	for i := range units {
		units[i] = order.Uint16(body[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// Decode reads an answer: {"actions":[{"op":...},...]}, {"text":"..."}, or nothing, which is an empty body, {}, null or a
// blank text. Any other object is an error, because its author meant to say something. An element of actions that is no
// action, beside others that are, is one without an op: whoever carries them out says so.
func Decode(body []byte) (Answer, error) {
	body = unmarked(fromUTF16(body))
	if len(body) == 0 {
		return Answer{}, nil
	}
	if deep := bulkOf(body).depth; deep > mostDepth {
		return Answer{}, tooMuchError{fmt.Errorf("agent: answer %w", bulk{depth: deep}.fault())}
	}
	answer, err := decode(body)
	if asTooMuch(err) != nil {
		return Answer{}, err
	}
	if err != nil && !errors.Is(err, errLater) {
		if some, usable := decodeSome(body); usable {
			return some, nil
		}
	}
	return answer, err
}

// decodeSome reads the actions of an answer of which some are none; usable is false if all are, or if it is no answer.
func decodeSome(body []byte) (answer Answer, usable bool) {
	var in struct {
		Actions mixed   `json:"actions"`
		Text    *string `json:"text"`
	}
	if err := jsonv2.Unmarshal(body, &in, leniency); err != nil || in.Text != nil && !blank(*in.Text) {
		return Answer{}, false
	}
	for i, a := range in.Actions.list {
		if a.Op() == "" {
			in.Actions.list[i] = relay.Action{}
		}
		usable = usable || a.Op() != ""
	}
	return Answer{Actions: in.Actions.list, More: in.Actions.more}, usable
}

// isPage reports whether an answer is HTML.
func isPage(body []byte) bool {
	head := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 200)]))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html"))
}

func decode(body []byte) (Answer, error) {
	var in struct {
		Actions actions        `json:"actions"`
		Text    *string        `json:"text"`
		Later   *string        `json:"later"`
		More    jsontext.Value `json:",embed"`
	}
	if err := jsonv2.Unmarshal(body, &in, leniency); err != nil {
		return Answer{}, noAnswer(body, err)
	}
	said := in.Text != nil && !blank(*in.Text)
	if len(in.Actions.list) > 0 && said {
		return Answer{}, errors.New("agent: answer has both actions and text, want one of them")
	}
	if in.Later != nil && !blank(*in.Later) {
		return later(*in.Later, said || len(in.Actions.list) > 0)
	}
	if in.Actions.list == nil && in.Text == nil && len(in.More) > 0 && !namesNothing(body) {
		return Answer{}, errors.New("agent: answer has neither actions nor text, want one of them, or {} to say nothing")
	}
	if said {
		return Answer{Actions: []relay.Action{say(*in.Text)}}, nil
	}
	if i := slices.IndexFunc(in.Actions.list, func(a relay.Action) bool { return a.Op() == "" }); i >= 0 {
		return Answer{}, fmt.Errorf("agent: actions[%d] has no op", i)
	}
	return Answer{Actions: in.Actions.list, More: in.Actions.more}, nil
}

// noAnswer is the error of a body that cannot be read as an answer.
func noAnswer(body []byte, err error) error {
	if e := asTooMuch(err); e != nil {
		return e
	}
	if isPage(body) {
		return fmt.Errorf("agent: answer is not JSON but a page (HTML): is DORMOUSE_AGENT the agent itself, and not a login or a "+
			"proxy before it? (%w)", jsonFault(err))
	}
	return fmt.Errorf(`agent: answer is not {"actions":[...]}, {"text":"..."} or empty: %w`, jsonFault(err))
}

// namesNothing reports whether an answer has a null for its text or its actions: a typed client writes every member.
func namesNothing(body []byte) bool {
	var in struct {
		Text    jsontext.Value `json:"text"`
		Actions jsontext.Value `json:"actions"`
	}
	if err := jsonv2.Unmarshal(body, &in, leniency); err != nil {
		return false
	}
	return in.Text.Kind() == 'n' || in.Actions.Kind() == 'n'
}

// mostLater is how long an answer may be announced for.
const mostLater = 24 * time.Hour

// errLater is what is wrong with an announcement.
var errLater = errors.New("agent: answer.later")

// LaterError is how a stream says what Answer.Later says of a whole answer.
type LaterError struct{ After time.Duration }

func (e *LaterError) Error() string {
	return fmt.Sprintf("agent: the answer comes later, within %s", e.After)
}

// later reads for how long an answer is announced.
func later(text string, beside bool) (Answer, error) {
	after, err := time.ParseDuration(text)
	switch {
	case err != nil || after <= 0:
		return Answer{}, fmt.Errorf(`%w: %.40q is no time; want one such as "90s" or "2h"`, errLater, text)
	case after > mostLater:
		return Answer{}, fmt.Errorf("%w: %s is too long; want at most %s", errLater, after, mostLater)
	case beside:
		return Answer{}, fmt.Errorf("%w: there are actions or a text beside it; say them as the first part of the late answer", errLater)
	}
	return Answer{Later: after}, nil
}

// noAction is JSON, but no action.
type noAction struct{ error }

// DecodeLine reads one line of a streamed answer: an action, or {"text":"..."}. A blank text, {} and null are no action, but
// no fault: they are nil.
func DecodeLine(line []byte) (relay.Action, error) {
	if err := bulkOf(line).fault(); err != nil {
		return nil, noAction{err}
	}
	var a relay.Action
	if err := jsonv2.Unmarshal(unmarked(line), &a, leniency); err != nil {
		fault := fmt.Errorf(`is not {"op":...} or {"text":"..."}: %w`, jsonFault(err))
		if _, isJSON := errors.AsType[*jsonv2.SemanticError](err); isJSON {
			return nil, noAction{fault}
		}
		return nil, fault
	}
	text, has := a["text"].(string)
	if unsaid, named := a["text"]; named && unsaid == nil {
		has = true
	}
	switch {
	case a.Op() != "":
		return a, nil
	case len(a) == 0, has && blank(text):
		return nil, nil
	case has:
		return say(text), nil
	}
	return nil, noAction{errors.New("has neither op nor text")}
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }
