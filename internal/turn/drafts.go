package turn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Where a platform has drafts (contract 11), streamed text goes as one: each state of it under the same draft_id, the last one as
// final. Only that one is kept, as the message: whatever becomes of it, it may be sent once more.

// drafter is how a stream uses drafts; nil: its platform has none.
type drafter struct {
	fits func(text string) bool // it is one message
	id   func(number int) int   // of the draft whose message is kept under that number
	show func(context.Context, action.Outgoing) (seen, refused bool, err error)
	shut func(action.Outgoing) // makes a message of a draft that the stream does not go on with

	open  *action.Outgoing // the text so far, as a send; nil: no draft is open
	dirty bool             // the chat has not seen it
	shown *action.Outgoing // what the chat has seen of a draft that is no message yet, as its last one; nil: nothing
}

// isNew says whether the chat has not seen all of the open draft.
func (f *drafter) isNew() bool { return f != nil && f.open != nil && f.dirty }

// mayDraft says whether a send may begin as a draft: it is one message to the turn's chat.
func (f *drafter) mayDraft(parts []action.Outgoing) bool {
	if f == nil || len(parts) != 1 || parts[0].Op() != "send" {
		return false
	}
	o := parts[0]
	return o.Platform == "" && o.InThread == "" && o.Of == "" && o.Result == ""
}

// grows says whether an edit is one of the open draft, and takes its text.
func (f *drafter) grows(edit action.Outgoing) bool {
	if f == nil || f.open == nil || edit.Op() != "edit" || edit.Action["message_id"] != nil || edit.Chat() != f.open.Chat() {
		return false
	}
	text, _ := edit.Action["content"].(string)
	if !f.fits(text) {
		return false
	}
	next := f.open.Clone()
	next.Action["content"] = text
	f.open, f.dirty = &next, true
	return true
}

// beginDraft opens a draft.
func (s *stream) beginDraft(ctx context.Context, o action.Outgoing) error {
	f := s.drafts
	if f.shown != nil && f.shown.Action["draft_id"] != f.id(s.kept()) { // of an attempt before
		f.shut(*f.shown)
		f.shown = nil
	}
	f.open, f.dirty = &o, true
	if time.Now().Before(s.chats.nextEdit(o.Chat())) {
		return nil // as soon as it may be, the newest state is shown
	}
	return s.showDraft(ctx)
}

// showDraft shows the open draft as it is. Once a platform has refused one, there are no further ones.
func (s *stream) showDraft(ctx context.Context) error {
	f := s.drafts
	f.dirty = false
	id := f.id(s.kept())
	last := f.open.AsDraft(id, true)
	seen, refused, err := f.show(ctx, f.open.AsDraft(id, false))
	if seen {
		f.shown = &last
	}
	if err != nil || !refused {
		return err
	}
	o := *f.open
	s.drafts = nil
	return s.do(o)
}

// sealDraft ends the open draft, which is a message then.
func (s *stream) sealDraft() error {
	if s.drafts == nil || s.drafts.open == nil {
		return nil
	}
	o := s.drafts.open.AsDraft(s.drafts.id(s.kept()), true)
	s.drafts.open, s.drafts.shown = nil, nil
	return s.do(o)
}

// shownDraft is what the chat has seen of a draft that is open; nil: none is.
func (s *stream) shownDraft() *action.Outgoing {
	if s.drafts == nil {
		return nil
	}
	return s.drafts.shown
}

// postDraft posts a state of a draft: nobody waits for it.
func (a *attempts) postDraft(o action.Outgoing, platform string) {
	a.cfg.Link.Post(relay.Outbound{Platform: o.FramePlatform(platform), Action: o.Action})
}

// draftID is the id of a delivery's draft, the same at every attempt.
func draftID(key string, number int) int {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/draft/%d", key, number))
	return max(1, int(binary.BigEndian.Uint32(sum[:4])>>1)) // Telegram takes no 0
}

// newDrafter is how the stream of a turn uses drafts. shown is of an attempt before.
func newDrafter(key string, shaper action.Shaper, shown *action.Outgoing) *drafter {
	if !shaper.Descriptor.Supports("draft") {
		return nil
	}
	most := shaper.Descriptor.MaxMessageLength
	return &drafter{
		fits:  func(text string) bool { return most <= 0 || shaper.Descriptor.Len(text) <= most },
		id:    func(number int) int { return draftID(key, number) },
		shown: shown,
	}
}
