// Package logs names what the functions log: each event's text, and the keys beside it. What logs say is an interface.
// Metric filters, the demonstration's timeline, the chaos runs and tests read it, so an event keeps its text.
//
// Each file holds the events of one package or command, and says of each when it is logged and with which keys. Every line
// also has what package slog adds: time, level and msg.
package logs

// Keys that many events share.
const (
	KeyError    = "error"    // an error's text; no other key holds one
	KeyDelivery = "delivery" // the key of a delivery
	KeySession  = "session"  // the session key of a delivery
	KeyReason   = "reason"   // why a run was started, or why something is as the event says
	KeyVersion  = "version"  // which Dormouse logs: package version; in each line of the functions
	KeyMS       = "ms"       // how long it took, in milliseconds
)
