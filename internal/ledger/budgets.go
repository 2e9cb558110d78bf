package ledger

import "time"

// SpendToken takes a token for a look at now. full is when the budget is full again, zero if it is; next is the same after
// the look. ok is false if there is no token.
func SpendToken(full, now time.Time) (next time.Time, ok bool) {
	if full.Before(now) {
		full = now
	}
	next = full.Add(Refill)
	return next, next.Sub(now) <= Tokens*Refill
}

// TakeFreshID returns taken with now added, without what is more than a day old. ok is false, and now not added, if that
// would be more than one an hour or ten a day.
func TakeFreshID(taken []time.Time, now time.Time) (next []time.Time, ok bool) {
	ok = true
	for _, at := range taken {
		if now.Sub(at) < 24*time.Hour {
			next = append(next, at)
		}
		ok = ok && now.Sub(at) >= time.Hour
	}
	if !ok || len(next) >= 10 {
		return next, false
	}
	return append(next, now), true
}
