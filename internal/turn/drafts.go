package turn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
)

// Where a platform has drafts (contract 11), streamed text goes as one: each state of it under the same draft_id, the last one as
// final. Only that one is kept, as the message: whatever becomes of it, it may be sent once more.

// drafter is how a stream uses drafts; nil: its platform has none.
type drafter struct {
	fits func(text string) bool // it is one message
	id   func(number int) int   // of the draft whose message is kept under that number
	show func(context.Context, action.Outgoing) (refused bool, err error)

	open  *action.Outgoing // the text so far, as a send; nil: no draft is open
	dirty bool             // the chat has not seen it
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
	s.drafts.open, s.drafts.dirty = &o, true
	if time.Now().Before(s.chats.nextEdit(o.Chat())) {
		return nil // as soon as it may be, the newest state is shown
	}
	return s.showDraft(ctx)
}

// showDraft shows the open draft as it is. Once a platform has refused one, there are no further ones.
func (s *stream) showDraft(ctx context.Context) error {
	f := s.drafts
	f.dirty = false
	refused, err := f.show(ctx, f.open.AsDraft(f.id(s.kept()), false))
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
	s.drafts.open = nil
	return s.do(o)
}

// draftID is the id of a delivery's draft, the same at every attempt.
func draftID(key string, number int) int {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/draft/%d", key, number))
	return int(binary.BigEndian.Uint32(sum[:4]) >> 1)
}

// drafterOf is how the stream of a turn uses drafts.
func (a *attempts) drafterOf(key string, shaper action.Shaper, show func(context.Context, action.Outgoing) (bool, error)) *drafter {
	if !shaper.Descriptor.Supports("draft") {
		return nil
	}
	most := shaper.Descriptor.MaxMessageLength
	return &drafter{
		fits: func(text string) bool { return most <= 0 || shaper.Descriptor.Len(text) <= most },
		id:   func(number int) int { return draftID(key, number) }, show: show,
	}
}
