package action

import (
	"errors"
	"maps"
	"math"
	"strconv"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// ErrNoThread means that an action is for the thread of an action that creates none before it.
var ErrNoThread = errors.New("chat_id.of: want the number of an earlier thread_create of the answer, from 0")

// inThread is what an action's InThread is whose chat_id is {"of": N}: the thread of the answer's action number N.
func inThread(a relay.Action) (thread string, err error) {
	of, is := a["chat_id"].(map[string]any)
	if !is {
		return "", nil
	}
	n, ok := of["of"].(float64)
	switch {
	case !ok, len(of) != 1, n != math.Trunc(n), n < 0, n > 1<<20:
		return "", errors.New(`chat_id: want a text, or {"of": N} with the number of an earlier thread_create of the answer`)
	case a.Op() == "thread_create", a.Op() == "follow_up":
		return "", errors.New("chat_id: want a text: that op cannot be used in a thread of the answer")
	}
	return strconv.Itoa(int(n)), nil
}

// Aimed reports whether an action is for a thread that an action of its answer creates.
func (o Outgoing) Aimed() bool { return o.InThread != "" && o.Op() != "thread_create" }

// At returns an action for the thread of that id. On Discord a thread is a chat, elsewhere it is in its parent's chat.
func (o Outgoing) At(thread, platform string) Outgoing {
	o = o.Clone()
	metadata, _ := o.Action["metadata"].(map[string]any)
	if metadata = maps.Clone(metadata); metadata == nil {
		metadata = map[string]any{}
	}
	metadata["thread_id"] = thread
	o.Action["metadata"] = metadata
	if platform == "discord" {
		o.Action["chat_id"] = thread
	}
	return o
}
