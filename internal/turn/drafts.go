package turn

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Where a platform has drafts (contract 11), streamed text goes as one: each state of it under the same draft_id, the last one as
// final. Only that one is kept, as the message: whatever becomes of it, it may be sent once more.
//
// A draft has an id of its own, which the journal knows before anything of it is shown. The next text for its chat takes it: that of
// the same stream, or of a further attempt, also by a later process and of an agent that does not stream then. So no half draft
// stays beside its whole answer.

// drafter is how a stream uses drafts; nil: its platform has none.
type drafter struct {
	chat  string                 // the turn's
	fits  func(text string) bool // it is one message
	fresh func(number int) int   // the id of a draft whose message is kept under that number
	show  func(context.Context, action.Outgoing) (seen, refused bool, err error)

	id    int              // of the open draft, or of one that an attempt before has left open; 0: none
	open  *action.Outgoing // the text so far, as a send; nil: this stream has no draft open
	dirty bool             // the chat has not seen it
	shown *action.Outgoing // what the chat has seen of a draft that is no message yet, as its last one; nil: nothing
}

// isNew says whether the chat has not seen all of the open draft.
func (f *drafter) isNew() bool { return f != nil && f.open != nil && f.dirty }

// mayDraft says whether a send may begin as a draft: it is one message to the turn's chat.
func (f *drafter) mayDraft(parts []action.Outgoing) bool {
	return f != nil && len(parts) == 1 && draftable(parts[0], f.chat)
}

// draftable says whether an action is a text for the turn's chat that can be a draft.
func draftable(o action.Outgoing, chat string) bool {
	return o.Op() == "send" && o.Chat() == chat && o.Platform == "" && o.InThread == "" && o.Of == "" && o.Result == ""
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
	if f.id == 0 {
		f.id = f.fresh(s.kept())
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
	last := f.open.AsDraft(f.id, true)
	seen, refused, err := f.show(ctx, f.open.AsDraft(f.id, false))
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
	f := s.drafts
	o := f.open.AsDraft(f.id, true)
	f.id, f.open, f.shown = 0, nil, nil
	return s.do(o)
}

// intoDraft has a text take a draft that an attempt before has left open, if one is.
func (s *stream) intoDraft(o action.Outgoing) action.Outgoing {
	f := s.drafts
	if f == nil || f.open != nil || f.id == 0 || !draftable(o, f.chat) {
		return o
	}
	o = o.AsDraft(f.id, true)
	f.id, f.shown = 0, nil
	return o
}

// openDraft is what the chat has seen of a draft that is open, and that draft's id; nil and 0: none is.
func (s *stream) openDraft() (shown *action.Outgoing, id int) {
	if s.drafts == nil {
		return nil, 0
	}
	return s.drafts.shown, s.drafts.id
}

// openDraft is the id of a draft, unless that has become a message: then it is 0.
func (a *answer) openDraft(id int) int {
	for _, raw := range a.actions {
		var o action.Outgoing
		if json.Unmarshal(raw, &o) == nil && o.IsFinalDraft() && o.DraftID() == id {
			return 0
		}
	}
	return id
}

// intoDraft has the first text of an answer take the draft that is open, if one is.
func intoDraft(actions []action.Outgoing, shaper action.Shaper, chat string, id int) bool {
	i := slices.IndexFunc(actions, func(o action.Outgoing) bool { return draftable(o, chat) })
	if id == 0 || i < 0 || !shaper.Descriptor.Supports("draft") {
		return false
	}
	actions[i] = actions[i].AsDraft(id, true)
	return true
}

// postDraft posts a state of a draft: nobody waits for it.
func (a *attempts) postDraft(o action.Outgoing, requestID, platform string) {
	a.cfg.Link.Post(relay.Outbound{RequestID: requestID, Platform: o.FramePlatform(platform), Action: o.Action})
}

// freshDraft is the id of a new draft. No other text goes under it: a connector may take that for the same once more.
func freshDraft(key string, number int) int {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/draft/%d/%d", key, number, time.Now().UnixNano()))
	return max(1, int(binary.BigEndian.Uint32(sum[:4])>>1)) // Telegram takes no 0
}

// newDrafter is how the stream of a delivery's turn in a chat uses drafts. shown and id are of a draft that is open.
func newDrafter(key, chat string, shaper action.Shaper, shown *action.Outgoing, id int) *drafter {
	if !shaper.Descriptor.Supports("draft") {
		return nil
	}
	most := shaper.Descriptor.MaxMessageLength
	return &drafter{
		chat:  chat,
		fits:  func(text string) bool { return most <= 0 || shaper.Descriptor.Len(text) <= most },
		fresh: func(number int) int { return freshDraft(key, number) },
		id:    id, shown: shown,
	}
}
