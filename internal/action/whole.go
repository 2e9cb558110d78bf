package action

// PlanWhole makes the edits and deletes of a whole answer those of the messages that it consists of. Nobody sees what a
// message shows for a moment, so an edit is left out if a later one, or a delete, is for the same message.
func (s Shaper) PlanWhole(list []Outgoing) (planned []Outgoing) {
	void := s.void(list)
	var board Board
	do := func(o Outgoing) {
		board.Note(o, len(planned))
		planned = append(planned, o)
	}
	for i, whole := range list {
		if void[i] {
			continue
		}
		for _, o := range board.Plan(s, whole) {
			do(o)
		}
	}
	for _, o := range board.Counters() {
		do(o)
	}
	return planned
}

// void says which actions are edits that no reader would see.
func (s Shaper) void(list []Outgoing) []bool {
	type message struct {
		post           *post // nil: an edit for no message
		platform, chat string
	}
	var board Board
	void, edited, number := make([]bool, len(list)), map[message]int{}, 0
	for i, whole := range list {
		if op := whole.Op(); op == "edit" || op == "delete" {
			m := message{board.meant(whole), whole.Platform, whole.Chat()}
			if before, is := edited[m]; is && (op == "edit" || m.post != nil) {
				void[before] = true
			}
			if delete(edited, m); op == "edit" {
				edited[m] = i
			}
		}
		for _, o := range board.Plan(s, whole) {
			board.Note(o, number)
			number++
		}
	}
	return void
}
