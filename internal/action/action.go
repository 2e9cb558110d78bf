// Package action makes what an agent says fit for the wire (section 11): it checks each action, fills in what an agent may
// leave out, addresses the action to a chat and splits a long text.
//
// Everything here is pure: no goroutine, no input or output, no lock, and nothing is remembered from call to call. The one
// thing that differs from call to call is a prompt's id, which is random. All functions may be called from any goroutine.
package action

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Outgoing is one action that is fit for the wire, with what the gateway must know of it besides.
type Outgoing struct {
	Action   relay.Action // the action as it goes on the wire
	Platform string       // of the action's chat, if it is not the platform of the turn's chat
	Ref      string       // of a prompt: the agent's own word for it, which comes back with the prompt's answer
	Result   string       // the agent's name for its result, which comes back in a turn of its own; empty: none
	File     *File        // to upload before the action is kept; nil: none

	// Of is set by a Board. Of an edit or delete it names the part of a message that it is for, of a send the message that
	// it goes on with: "#" and the number of a kept action, or "=" and an id.
	Of string

	// InThread is the agent's number of the thread_create whose thread the action is for, of a thread_create its own; empty: none.
	InThread string

	goesOn  bool   // it is a further part of the action before
	cut     bool   // of the last part of a text: more parts than are sent at most are left out
	over    bool   // of an edit: its part is over
	instead string // the Of of the part whose place a send takes
}

// File is a file that an agent has put into its answer.
type File struct {
	Data []byte
	MIME string // media type, with parameters if any
	Name string // may be empty
}

// Names under which the journal has an Outgoing's Platform and Ref, beside the members of the action. Neither is ever on
// the wire. Only a prompt has a Ref, and only another action an Of: both have the same name, so that the version before does
// not send what it does not know.
const (
	journalPlatform = "_platform"
	journalRef      = "ref"
	journalThread   = "_thread"
	journalResult   = "_result" // the version before sends it on; nobody reads it
)

// Op is the action's op.
func (o Outgoing) Op() string { return o.Action.Op() }

// Chat is the id of the chat that the action goes to; empty for a follow_up.
func (o Outgoing) Chat() string { return o.text("chat_id") }

// text is the member of that name, or "" if it is no string.
func (o Outgoing) text(name string) string {
	text, _ := o.Action[name].(string)
	return text
}

// Repeatable says whether the action may be sent twice without anybody noticing. Such an action needs no confirmation.
func (o Outgoing) Repeatable() bool {
	switch o.Op() {
	case "typing", "edit", "react", "delete":
		return true
	case "draft":
		return !o.IsFinalDraft() // of which once more changes nothing either, but it has to be known whether it came
	}
	return false
}

// Clone returns a copy whose action can be changed at its top level.
func (o Outgoing) Clone() Outgoing {
	o.Action = maps.Clone(o.Action)
	return o
}

// FramePlatform is the platform that the action's frame names (section 11): that of the action's chat, that of a
// follow-up's kind, and none for a question about a chat. turnPlatform is the platform of the turn's chat.
func (o Outgoing) FramePlatform(turnPlatform string) string {
	platform := turnPlatform
	if o.Platform != "" {
		platform = o.Platform
	}
	if platform == "relay" { // what an event has whose platform is not known
		platform = ""
	}
	switch o.Op() {
	case "get_chat_info":
		return ""
	case "follow_up":
		if prefix, _, _ := strings.Cut(o.text("kind"), "."); prefix != platform {
			return "" // we may not front that platform
		}
	}
	return platform
}

// MarshalJSON returns what the journal keeps: the members of the action, and beside them Platform and Ref if there are
// any. It fails while there is a File: a file is uploaded before its action is kept.
func (o Outgoing) MarshalJSON() ([]byte, error) {
	if o.File != nil {
		return nil, errors.New("action: the file of an action must be uploaded before the action is kept")
	}
	ref := o.Of
	if o.Op() == "prompt" {
		ref = o.Ref
	}
	if o.Platform == "" && ref == "" && o.Result == "" && o.InThread == "" {
		return json.Marshal(o.Action)
	}
	members := relay.Action{}
	maps.Copy(members, o.Action)
	if o.Platform != "" {
		members[journalPlatform] = o.Platform
	}
	if ref != "" {
		members[journalRef] = ref
	}
	if o.Result != "" {
		members[journalResult] = o.Result
	}
	if o.InThread != "" {
		members[journalThread] = o.InThread
	}
	return json.Marshal(members)
}

// MayHaveResult is false for an action, as MarshalJSON wrote it, that has no Result. It is quicker than reading it.
func MayHaveResult(raw []byte) bool { return bytes.Contains(raw, []byte(`"`+journalResult+`"`)) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Outgoing) UnmarshalJSON(raw []byte) error {
	var members relay.Action
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	*o = Outgoing{Action: members}
	o.Platform, o.Result, o.InThread = o.text(journalPlatform), o.text(journalResult), o.text(journalThread)
	if ref := o.text(journalRef); o.Op() == "prompt" {
		o.Ref = ref
	} else {
		o.Of = ref
	}
	delete(members, journalPlatform)
	delete(members, journalRef)
	delete(members, journalResult)
	delete(members, journalThread)
	return nil
}

// Encode returns each of list as the journal keeps it.
func Encode(list []Outgoing) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, o := range list {
		raw, err := o.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("agent: an action cannot be encoded: %w", err)
		}
		out = append(out, raw)
	}
	return out, nil
}
