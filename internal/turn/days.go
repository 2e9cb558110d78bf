package turn

import (
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// days is the instance's budget of turns: so many start on a day, in UTC. It knows places in the order of arrival, no
// delivery. Its lock is held for no call.
//
// A message that waits for its first turn has a claim. One that came later gets a turn only if the budget has more left than
// there are older claims, so that the oldest go first once there is a new day, whichever session asks first. A claim whose
// message ends without a turn may leave a turn unused: then the message that was told of the full budget waits for the next
// day all the same.
type days struct {
	most int // zero: there is no budget, and nothing is counted

	mu     sync.Mutex
	day    ledger.Day
	claims []int64 // places, in their order
	told   string  // the day that is known to be used up
}

func newDays(most int, so ledger.Day) *days { return &days{most: most, day: so} }

// counts reports whether there is a budget.
func (d *days) counts() bool { return d.most > 0 }

// claim is for a message that has been released to its session.
func (d *days) claim(place int64) {
	if !d.counts() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, found := slices.BinarySearch(d.claims, place); !found {
		d.claims = slices.Insert(d.claims, at, place)
	}
}

// drop is for a message that has ended.
func (d *days) drop(place int64) {
	if !d.counts() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(place)
}

func (d *days) dropLocked(place int64) {
	if at, found := slices.BinarySearch(d.claims, place); found {
		d.claims = slices.Delete(d.claims, at, at+1)
	}
}

// left reports whether the message of a place would get a turn now.
func (d *days) left(place int64) bool {
	if !d.counts() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leftLocked(place)
}

// more reports whether the day has a turn left for anybody.
func (d *days) more() bool {
	if !d.counts() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.day.Date != ledger.DateOf(time.Now()) || d.day.Turns < d.most
}

func (d *days) leftLocked(place int64) bool {
	if today := ledger.DateOf(time.Now()); d.day.Date != today {
		d.day = ledger.Day{Date: today}
	}
	d.day.Most = d.most
	older, _ := slices.BinarySearch(d.claims, place)
	return d.day.Turns+older < d.most
}

// take takes a turn for the message of a place. day is the count with it, which is to be written down as it starts.
func (d *days) take(place int64) (day ledger.Day, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.leftLocked(place) {
		return ledger.Day{}, false
	}
	d.day.Turns++
	d.dropLocked(place)
	return d.day, true
}

// giveBack is for a turn that was taken and has not started.
func (d *days) giveBack(day ledger.Day) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.day.Date == day.Date {
		d.day.Turns--
	}
}

// firstToday reports whether nobody has asked that today before.
func (d *days) firstToday() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	today := ledger.DateOf(time.Now())
	first := d.told != today
	d.told = today
	return first
}

// nextDay is when the next day begins.
func nextDay(now time.Time) time.Time {
	return now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
}
