package turn

import "context"

// holding is what a turn has of the run's scarce things: a slot, and room for files. It has no lock: it is one turn's.
type holding struct {
	gate  *gate  // nil: it needs no slot
	files func() // lets the room for files go; nil: there is none
	free  func() // lets the slot go; nil: there is none
}

// slot waits for a slot, unless the turn has one.
func (h *holding) slot(ctx context.Context) error {
	if h.gate == nil || h.free != nil {
		return nil
	}
	free, err := h.gate.enter(ctx)
	if err == nil {
		h.free = free
	}
	return err
}

// pass lets the next turn have the slot, as the agent has answered and the answer is to be kept and sent. If as many turns
// as there are slots are at that already, the turn goes on with its slot: so no more than twice as many answers wait for a
// write or for the connector.
func (h *holding) pass() {
	if h.free == nil {
		return
	}
	select {
	case h.gate.answered <- struct{}{}:
		h.free()
		h.free = func() { <-h.gate.answered }
	default:
	}
}

func (h *holding) letFilesGo() {
	if h.files != nil {
		h.files()
		h.files = nil
	}
}

// letGo lets everything go.
func (h *holding) letGo() {
	h.letFilesGo()
	if h.free != nil {
		h.free()
		h.free = nil
	}
}
