package action

// actionsLimit is how many actions of an answer are sent (design 6, "an answer is too much").
const actionsLimit = 100

// Ration lets through as much of an answer as is sent at most. It holds back the last action that may be sent until it is
// known whether others follow it: then that one says how many are left out. Edits and typing do not count, as they add
// nothing to a chat: a reply may grow by any number of edits. The zero Ration is for a new answer; it is used up by it.
type Ration struct {
	said int
	left int
	cut  bool
	held []Outgoing
}

// Take is given what Shape has made of the answer's next action, and returns what may be sent of it by now.
func (r *Ration) Take(s Shaper, parts []Outgoing) []Outgoing {
	if len(parts) == 0 {
		return nil
	}
	r.cut = r.cut || parts[len(parts)-1].cut
	switch parts[0].Op() {
	case "typing":
		return parts
	case "edit", "delete":
		if r.said < actionsLimit || parts[0].Action["message_id"] != nil {
			return parts
		}
		if r.left == 0 { // of the message that is held back
			r.changeHeld(s, parts[0])
		}
		return nil
	}
	r.said++
	switch {
	case r.said < actionsLimit:
		return parts
	case r.said == actionsLimit:
		r.held = parts
	default:
		r.left++
	}
	return nil
}

// changeHeld makes an edit of the message that is held back, or its delete.
func (r *Ration) changeHeld(s Shaper, change Outgoing) {
	switch {
	case len(r.held) == 0 || r.held[0].Op() != "send" || r.held[0].Chat() != change.Chat():
	case change.Op() == "delete":
		r.held = nil
	default:
		o := r.held[0].Clone()
		o.Action["content"] = change.text("content")
		r.held = s.at(o.Chat()).split(o)
	}
}

// LeftOut says that the answer had so many more actions.
func (r *Ration) LeftOut(n int) { r.left += n }

// Rest returns what was held back, at the end of the answer.
func (r *Ration) Rest(s Shaper) []Outgoing {
	rest := r.held
	r.held = nil
	if r.left == 0 {
		return rest
	}
	r.cut = true
	line := func(int) string { return s.Texts.MoreMessages(r.left) }
	if len(rest) > 0 {
		last := &rest[len(rest)-1]
		if text, ok := last.Action["content"].(string); ok {
			last.Action["content"] = s.at(last.Chat()).endWith(text, line)
			return rest
		}
	}
	note, err := s.Shape(0, map[string]any{"op": "send", "content": line(0)})
	if err != nil {
		return rest // an event without a chat
	}
	return append(rest, note...)
}

// Cut says whether the answer was more than is sent.
func (r *Ration) Cut() bool { return r.cut }
