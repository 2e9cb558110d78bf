package action

import "maps"

// AsDraft is a send as a state of a draft (contract 11), the last one if it is final.
func (o Outgoing) AsDraft(id int, final bool) Outgoing {
	metadata, _ := o.Action["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]any{}
	}
	if to := o.text("reply_to"); to != "" {
		metadata["message_id"] = to
	}
	if !final {
		delete(metadata, "notify")
	}
	o.Action = map[string]any{
		"op": "draft", "chat_id": o.Action["chat_id"], "draft_id": id, "content": o.Action["content"], "final": final, "metadata": metadata,
	}
	return o
}

// IsFinalDraft reports whether an action makes a draft a message.
func (o Outgoing) IsFinalDraft() bool { return o.Op() == "draft" && o.Action["final"] == true }

// DraftID is the id of a draft, also one that a journal had; 0: it has none.
func (o Outgoing) DraftID() int {
	switch id := o.Action["draft_id"].(type) {
	case int:
		return id
	case float64:
		return int(id)
	}
	return 0
}

// Undrafted is the text of a draft as a plain send.
func (o Outgoing) Undrafted() Outgoing {
	metadata, _ := o.Action["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	var reply any
	if to, ok := metadata["message_id"]; ok {
		reply = to
		delete(metadata, "message_id")
	}
	o.Action = map[string]any{
		"op": "send", "chat_id": o.Action["chat_id"], "content": o.Action["content"], "reply_to": reply, "metadata": metadata,
	}
	return o
}
