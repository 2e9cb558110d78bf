// Package version says which Dormouse this is. Both functions and the command line carry it: each can be compared with the
// others, and with a checkout.
//
// sam build builds in a copy of the tree without .git, so no commit can be asked for there. Make therefore stamps a hash of
// the sources (package stamp): the same sources have the same stamp, wherever they are built.
//
// Nothing here blocks or starts a goroutine.
package version

// Number is the version that is being worked on, or was released. template.yaml has the same, a test compares them.
const Number = "0.1.0-dev"

// stamped is set by the linker: Number, a plus sign and the sources' hash.
var stamped string

// String is the version, for instance 0.1.0-dev+3f9c2a7be410. A program that was not built by make has no hash.
func String() string {
	if stamped == "" {
		return Number + "+unstamped"
	}
	return stamped
}
