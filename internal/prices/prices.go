// Package prices has list prices in us-east-1, in dollars, as docs/costs.md has them, and computes from them what a gateway
// costs. Other regions differ by some percent. The free tier is left out.
package prices

// Prices of what a gateway uses.
const (
	PerGBSecond   = 0.0000133334 // of a function on arm64
	PerRequest    = 0.20 / 1e6   // of a function
	PerAPIRequest = 1.00 / 1e6   // of the HTTP API
	PerWrite      = 0.625 / 1e6  // write unit of a table on demand
	PerRead       = 0.125 / 1e6  // read unit, likewise
	PerLogGB      = 0.50         // that goes into a log
)

// Memory of the functions in the template, in MB. Drain's is the default of a parameter.
const (
	WakeMemory  = 128
	DrainMemory = 128
)

// Use is what was used.
type Use struct {
	GBSeconds   float64 // of functions
	Requests    float64 // to functions
	APIRequests float64
	Writes      float64 // units of the table
	Reads       float64 // likewise
	LogGB       float64
}

// GBSeconds is what a function of memory MB uses in a number of seconds.
func GBSeconds(seconds, memory float64) float64 { return seconds * memory / 1024 }

// Dollars is what u costs.
func (u Use) Dollars() float64 {
	return u.GBSeconds*PerGBSecond + u.Requests*PerRequest + u.APIRequests*PerAPIRequest +
		u.Writes*PerWrite + u.Reads*PerRead + u.LogGB*PerLogGB
}

// And is u and v together.
func (u Use) And(v Use) Use {
	return Use{
		u.GBSeconds + v.GBSeconds, u.Requests + v.Requests, u.APIRequests + v.APIRequests,
		u.Writes + v.Writes, u.Reads + v.Reads, u.LogGB + v.LogGB,
	}
}

// Times is u, n times.
func (u Use) Times(n float64) Use {
	return Use{u.GBSeconds * n, u.Requests * n, u.APIRequests * n, u.Writes * n, u.Reads * n, u.LogGB * n}
}
