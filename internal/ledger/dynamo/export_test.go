package dynamo

import "github.com/dormouse-relay/dormouse/internal/ledger"

// Lease is a lease of the first epoch that nobody has asked the table for.
func (l *Ledger) Lease() ledger.Lease {
	return &lease{Ledger: l, places: map[string]place{}, grant: ledger.Grant{Epoch: 1}}
}

// Waiting is how many writes wait for the next transaction.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// Places is of how many entries a lease knows the place.
func Places(g ledger.Lease) int {
	l := g.(*lease)
	l.placing.Lock()
	defer l.placing.Unlock()
	return len(l.places)
}
