// Wake is the function behind the wake URL: a poke starts the drain function.
package main

import "github.com/dormouse-relay/dormouse/internal/wiring/wirewake"

func main() { wirewake.Main() }
