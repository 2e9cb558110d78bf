// Package prices has list prices in us-east-1, in dollars, as docs/costs.md has them. Other regions differ by some percent. What
// is computed from them leaves the free tier out.
package prices

// Prices of what a gateway uses.
const (
	PerGBSecond = 0.0000133334 // of a function on arm64
	PerRequest  = 0.20 / 1e6   // of a function
	PerWrite    = 0.625 / 1e6  // write unit of a table on demand
	PerRead     = 0.125 / 1e6  // read unit, likewise
)

// Memory of the functions in the template, in MB.
const (
	WakeMemory  = 512
	DrainMemory = 256
)
