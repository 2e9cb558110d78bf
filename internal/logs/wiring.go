package logs

// Events of a function's start.
const (
	// SettingsUnusable is an error: the settings have faults, all of them under KeyError, and the process ends with code 1.
	SettingsUnusable = "settings are not usable"

	// NoTable says at drain's start that the ledger is in memory.
	NoTable = "no table is configured: what is journalled dies with this process, so a buffered message is acked when its turn is done"
)
