// Drain is the function that dials the connector, answers what was buffered, and goes idle again.
package main

import (
	_ "github.com/dormouse-relay/dormouse/internal/roots/ahead" // first of all
	"github.com/dormouse-relay/dormouse/internal/wiring/wiredrain"
)

func main() { wiredrain.Main() }
