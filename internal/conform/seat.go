package conform

import (
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// unseated says whether the check's newest socket was refused because the seat was taken, and the check is about something else.
func (t *trial) unseated() bool {
	if strings.HasPrefix(t.check.ID, "seat-") || len(t.peers) == 0 {
		return false
	}
	last := t.peers[len(t.peers)-1]
	return !last.open() && takesSeat(last.end)
}

// takesSeat says whether a close says that another socket has the seat (section 13).
func takesSeat(e ending) bool {
	kind := (&relay.CloseError{Code: e.code, Reason: e.reason}).Kind()
	return slices.Contains([]string{"replaced", "duplicate"}, kind.String())
}
