// Wake is the function behind the wake URL: a poke starts the drain function.
package main

import (
	_ "github.com/dormouse-relay/dormouse/internal/roots/ahead" // first of all
	"github.com/dormouse-relay/dormouse/internal/wiring/wirewake"
)

func main() { wirewake.Main() }
