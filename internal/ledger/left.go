package ledger

import "time"

// Page is a part of what Recover returns.
type Page struct {
	Left []Left
	Next string // what the next page begins behind; empty: this is the last one
}

// Left is what is known of an unfinished entry that was not read.
type Left struct {
	Key     string
	Session string    // as it was received with; empty: nothing else is known, the entry has to be read
	Suspect bool      // it is Running or Alone
	Due     time.Time // as in Wait, in seconds; zero: at once
}
