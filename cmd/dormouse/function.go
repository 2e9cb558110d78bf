package main

import (
	"fmt"
	"os"

	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/wiring/wiredrain"
	"github.com/dormouse-relay/dormouse/internal/wiring/wirewake"
)

// functionArgument, and a function's name behind it, make this program that function. It is no command: dormouse dev runs
// itself so, and nobody else needs it.
const functionArgument = "as-function"

// asFunction is a function, and does not return, if args say so.
func asFunction(args []string) {
	if len(args) < 2 || args[1] != functionArgument {
		return
	}
	if len(args) == 3 {
		switch args[2] {
		case rig.Wake:
			wirewake.Main()
		case rig.Drain:
			wiredrain.Main()
		}
	}
	fmt.Fprintln(os.Stderr, "dormouse: want", functionArgument, rig.Wake, "or", rig.Drain)
	os.Exit(exitMisuse)
}

// selfAs are the command lines that make this program each of the functions.
func selfAs() (wake, drain []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("finding this program, to run it as wake and as drain: %w", err)
	}
	return []string{self, functionArgument, rig.Wake}, []string{self, functionArgument, rig.Drain}, nil
}
