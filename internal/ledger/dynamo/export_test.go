package dynamo

// Waiting is how many writes wait for the next transaction.
func (l *Ledger) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
