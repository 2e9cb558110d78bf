package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What mutants showed that no test demanded (docs/mutants.md).

func TestAFrameOfAnUnknownTypeKeepsItsTypeIfItIsShort(t *testing.T) {
	for name, want := range map[string]string{
		"error": "error", strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): "",
	} {
		is := is.New(t)
		var d relay.Decoder
		frames := d.Feed(fmt.Appendf(nil, "{%q:%q}\n", "type", name))
		is.Equal(len(frames), 1)
		is.Equal(frames[0].Type, want)
	}
}
