package relay

// SetQueue makes the queue of deliveries smaller.
func (cfg *Config) SetQueue(entries, bytes int) { cfg.queueEntries, cfg.queueBytes = entries, bytes }
