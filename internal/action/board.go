package action

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Board knows the messages that an answer puts into chats, and of which parts each consists: a text that is too long for
// one message is several. So that an edit changes its message and says nothing twice, the board turns it into edits of
// those parts that change, sends of those that are new, and deletes of those that are over.
//
// The board believes what Note tells it: each action does what it is to do, until Failed says otherwise. The zero Board is
// empty. It has no lock.
type Board struct {
	// ID returns the id that the connector has told for the message of a kept action, "" if there is none; nil knows none.
	ID func(action int) string

	posts []*post
}

// post is one message as the agent sees it.
type post struct {
	platform, chat string
	thread         string // InThread
	parts          []part
}

// in says whether the message is in the chat of an action.
func (p *post) in(o Outgoing) bool {
	return p.chat == o.Chat() && p.platform == o.Platform && p.thread == o.InThread
}

// part is one message as the chat sees it.
type part struct {
	of    string   // what Outgoing.Of says of it
	was   []string // what it said before another message took its place
	text  string
	sure  bool      // text is what it shows
	vain  *Outgoing // the last edit, if it could not be made
	again bool      // it may be tried once more
	count *Outgoing // the edit that would put its counter right; nil: it is right
}

// What Outgoing.Of begins with: the number of a kept action, or a message's id.
const ofAction, ofID = "#", "="

// OfAction is the number of the kept action that an Outgoing's Of names; false if it names none.
func (o Outgoing) OfAction() (number int, ok bool) {
	digits, ok := strings.CutPrefix(o.Of, ofAction)
	number, err := strconv.Atoi(digits)
	return number, ok && err == nil && number >= 0
}

// adds says whether an action puts a message into its chat that can be edited.
func (o Outgoing) adds() bool {
	switch o.Op() {
	case "send", "send_media", "prompt", "draft":
		return true
	}
	return false
}

// Note tells the board that an action is about to be done. number is the one under which it is kept, if it is.
func (b *Board) Note(o Outgoing, number int) {
	switch {
	case o.adds():
		b.add(o, number)
	case o.Op() == "edit":
		if p := b.part(o, o.Of); p != nil {
			p.text, p.sure, p.vain, p.count = o.text("content"), true, nil, nil
		}
	case o.Op() == "delete":
		b.remove(o)
	}
}

func (b *Board) add(o Outgoing, number int) {
	added := part{of: ofAction + strconv.Itoa(number), text: o.text("content"), sure: o.Op() != "send_media"}
	if p := b.part(o, o.instead); o.instead != "" && p != nil {
		added.was = append(p.was, p.of)
		*p = added
		return
	}
	if p, _ := b.post(o, o.Of); o.Of != "" && p != nil {
		p.parts = append(p.parts, added)
		return
	}
	b.posts = append(b.posts, &post{platform: o.Platform, chat: o.Chat(), thread: o.InThread, parts: []part{added}})
}

func (b *Board) remove(o Outgoing) {
	if p, i := b.post(o, o.Of); p != nil {
		p.parts = slices.Delete(p.parts, i, i+1)
		b.posts = slices.DeleteFunc(b.posts, func(p *post) bool { return len(p.parts) == 0 })
	}
}

// Forget makes the board unsure of what its messages show, as after a death: edits are not kept.
func (b *Board) Forget() {
	for _, p := range b.posts {
		for i := range p.parts {
			p.parts[i].sure = false
		}
	}
}

// Failed takes back what Note was told of an edit: the message does not show its text. again says that it might if the edit
// was tried once more.
func (b *Board) Failed(o Outgoing, again bool) {
	if p := b.part(o, o.Of); p != nil {
		p.sure, p.vain, p.again = false, &o, again
	}
}

// InVain says whether an edit has been tried just so, and could not be made.
func (b *Board) InVain(o Outgoing) bool {
	p := b.part(o, o.Of)
	return p != nil && p.vain != nil && p.vain.text("content") == o.text("content")
}

// MayPass says whether an edit that could not be made is worth a second try.
func (b *Board) MayPass(o Outgoing) bool {
	p := b.part(o, o.Of)
	return p != nil && p.again
}

// Settle is for the start of an attempt: what earlier ones could not show is not owed any more.
func (b *Board) Settle() {
	for _, p := range b.posts {
		for i := range p.parts {
			p.parts[i].vain = nil
		}
	}
}

// post finds the message in the chat of o that a part belongs to, and the number of the part. Ids are unique in their chat
// only.
func (b *Board) post(o Outgoing, of string) (*post, int) {
	for _, p := range b.posts {
		if !p.in(o) {
			continue
		}
		if i := slices.IndexFunc(p.parts, func(p part) bool { return p.of == of || slices.Contains(p.was, of) }); i >= 0 {
			return p, i
		}
	}
	return nil, 0
}

func (b *Board) part(o Outgoing, of string) *part {
	if p, i := b.post(o, of); p != nil {
		return &p.parts[i]
	}
	return nil
}

// meant finds the message that an agent's edit or delete means: the one with the id that it gives, else the newest of its
// chat. A message that this turn has not sent is one of unknown text.
func (b *Board) meant(o Outgoing) *post {
	id := o.text("message_id")
	if id == "" {
		for _, p := range slices.Backward(b.posts) {
			if p.in(o) {
				return p
			}
		}
		return nil
	}
	for _, p := range b.posts {
		if p.in(o) && slices.ContainsFunc(p.parts, func(p part) bool { return b.known(p, id) }) {
			return p
		}
	}
	p := &post{platform: o.Platform, chat: o.Chat(), thread: o.InThread, parts: []part{{of: ofID + id}}}
	b.posts = slices.Insert(b.posts, 0, p) // the turn's own are newer
	return p
}

// known says whether a part has, or had, an id.
func (b *Board) known(p part, id string) bool {
	return slices.ContainsFunc(append([]string{p.of}, p.was...), func(of string) bool {
		number, kept := Outgoing{Of: of}.OfAction()
		return of == ofID+id || kept && b.ID != nil && b.ID(number) == id
	})
}

// Plan returns what has to be done for an action as Fit returns it. Nothing has been done by then: Note is to follow. Edits
// that would change a counter alone are not there: Counters has them.
func (b *Board) Plan(s Shaper, o Outgoing) []Outgoing {
	s = s.at(o.Chat())
	switch o.Op() {
	case "edit":
		return b.planEdit(s, o)
	case "delete":
		return b.planDelete(o)
	}
	if n := len(b.posts); o.goesOn && o.Of == "" && n > 0 {
		o.Of = b.posts[n-1].parts[0].of
	}
	return []Outgoing{o}
}

func (b *Board) planEdit(s Shaper, o Outgoing) (plan []Outgoing) {
	p := b.meant(o)
	if p == nil {
		return []Outgoing{o} // there is no message: its user knows what to do
	}
	texts, cut := s.parts(o.text("content"))
	mayDelete := s.Descriptor.Supports("delete")
	if len(texts) < len(p.parts) && !mayDelete {
		texts = s.spread(o.text("content"), len(p.parts))
	}
	for i, text := range texts {
		switch {
		case i >= len(p.parts):
			plan = append(plan, p.more(o, text))
		case p.parts[i].sure && p.parts[i].text == text:
			p.parts[i].count = nil
		case p.parts[i].sure && SameButCounter(p.parts[i].text, text):
			change := p.change(o, i, text)
			p.parts[i].count = &change
		default:
			plan = append(plan, p.change(o, i, text))
		}
	}
	for i := len(texts); i < len(p.parts); i++ {
		if mayDelete {
			plan = append(plan, p.gone(o, i))
		} else if over := p.change(o, i, s.Texts.Above()); p.parts[i].text != over.text("content") {
			over.over = true
			plan = append(plan, over)
		}
	}
	if cut && len(plan) > 0 {
		plan[len(plan)-1].cut = true
	}
	return plan
}

func (b *Board) planDelete(o Outgoing) (plan []Outgoing) {
	p := b.meant(o)
	if p == nil {
		return []Outgoing{o}
	}
	for i := range p.parts {
		plan = append(plan, p.gone(o, i))
	}
	return plan
}

// change is an edit of part number i.
func (p *post) change(o Outgoing, i int, text string) Outgoing {
	change := p.aim(o, i)
	change.Action["content"] = text
	return change
}

// gone deletes part number i.
func (p *post) gone(o Outgoing, i int) Outgoing {
	gone := p.aim(o, i)
	gone.Action["op"] = "delete"
	delete(gone.Action, "content")
	return gone
}

// aim makes an edit or delete one of part number i.
func (p *post) aim(o Outgoing, i int) Outgoing {
	o = o.Clone()
	o.Of = p.parts[i].of
	delete(o.Action, "message_id")
	if id, ok := strings.CutPrefix(o.Of, ofID); ok {
		o.Action["message_id"] = id
	}
	return o
}

// more is a further part. Any part of its message says where it belongs.
func (p *post) more(o Outgoing, text string) Outgoing {
	more := asMessage(o, text)
	more.Of = p.parts[0].of
	return more
}

// AsMessage is the text of an action as a message to its chat.
func (o Outgoing) AsMessage() Outgoing { return asMessage(o, o.text("content")) }

func asMessage(o Outgoing, text string) Outgoing {
	metadata, _ := o.Action["metadata"].(map[string]any)
	return Outgoing{Platform: o.Platform, InThread: o.InThread, Action: map[string]any{
		"op": "send", "chat_id": o.Action["chat_id"], "content": text, "reply_to": nil, "metadata": maps.Clone(metadata),
	}}
}

// spread cuts a text into n parts, or into as many as it can be cut into without cutting words for it.
func (s Shaper) spread(text string, n int) []string {
	best := s.Descriptor.Split(text)
	narrow := s.Descriptor
	for low, high := 40, s.Descriptor.MaxMessageLength-1; low <= high; {
		narrow.MaxMessageLength = (low + high) / 2
		switch parts := narrow.Split(text); {
		case len(parts) > n:
			low = narrow.MaxMessageLength + 1
		default:
			if len(parts) > len(best) {
				best = parts
			}
			high = narrow.MaxMessageLength - 1
		}
	}
	return best
}

// Has says whether the chat of an action has a message of the answer.
func (b *Board) Has(o Outgoing) bool {
	return slices.ContainsFunc(b.posts, func(p *post) bool { return p.in(o) })
}

// AsMessages is the text of an action as messages to its chat.
func (s Shaper) AsMessages(o Outgoing) []Outgoing { return s.at(o.Chat()).split(o.AsMessage()) }

// Instead is the text of an edit that cannot be made, as a message that takes the place of its part.
func (b *Board) Instead(edit Outgoing) Outgoing {
	instead := edit.AsMessage()
	instead.instead = edit.Of
	return instead
}

// Owed returns the edits that could not be made, if they were the last of their messages.
func (b *Board) Owed() (edits []Outgoing) {
	for _, p := range b.posts {
		for _, part := range p.parts {
			if part.vain != nil && !part.vain.over {
				edits = append(edits, *part.vain)
			}
		}
	}
	return edits
}
