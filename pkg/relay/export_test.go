package relay

// What tests of the package as its users see it need besides.
var (
	TextLen = textLen
)

// SetQueue makes the queue of deliveries smaller.
func (cfg *Config) SetQueue(entries, bytes int) { cfg.queueEntries, cfg.queueBytes = entries, bytes }
