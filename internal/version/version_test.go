package version

import (
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestAProgramSaysWhetherItIsStamped(t *testing.T) {
	is := is.New(t)
	is.Equal(String(), Number+"+unstamped") // go test stamps nothing
	stamped = Number + "+3f9c2a7be410"
	defer func() { stamped = "" }()
	is.Equal(String(), stamped)
	is.True(!strings.ContainsAny(String(), " \t\"'")) // it goes into a linker's flag
}
