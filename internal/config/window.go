package config

import (
	"cmp"
	"strconv"
	"strings"
)

const (
	windowName    = "DORMOUSE_WINDOW"
	leastWindow   = 64 << 10
	defaultWindow = 64 << 20 // where nothing says how much memory there is
)

// checkWindow sets the window where no variable does: a quarter of GOMEMLIMIT, else of the function's memory.
func (v *drainVariables) checkWindow(values map[string]string, faults *faultList) {
	switch {
	case values[windowName] == "":
		v.Window = cmp.Or(memoryLimit(v.MemoryLimit), v.MemorySize<<20)
		if v.Window = v.Window / 4; v.Window <= 0 {
			v.Window = defaultWindow
		}
		v.Window = max(v.Window, leastWindow)
	case v.Window < leastWindow:
		faults.add(windowName, "is %d; want a number of bytes, at least %d", v.Window, leastWindow)
	}
}

// memoryLimit is the number of bytes in a GOMEMLIMIT such as 204MiB; 0 if there is none, or off. The runtime has refused any
// other text.
func memoryLimit(limit string) int64 {
	shift := 0
	for unit, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if number, is := strings.CutSuffix(limit, unit); is {
			limit, shift = number, by
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(limit, "B"), 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0
	}
	return n << shift
}
