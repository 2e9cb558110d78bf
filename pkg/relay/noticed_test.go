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

// Each level of a form or a command is read again within the one around it: so few levels are read. Discord has three.
func TestWhatIsNestedDeepInAnInteractionIsNotRead(t *testing.T) {
	const levels, read = 20, 9
	nested := func(open, end string) string { return strings.Repeat(open, levels) + strings.Repeat(end, levels) }
	for name, list := range map[string]string{
		"lists":  nested(`{"custom_id":"a","value":"v","components":[`, `]}`),
		"single": strings.ReplaceAll(nested(`{"custom_id":"a","value":"v","component":`, `}`), ":}", ":{}}"),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e, err := interaction(`{"type":5,"data":` + list + `}`).Interaction()
			is.NoErr(err)
			is.Equal(e.Text, strings.TrimSuffix(strings.Repeat("a=v\n", read), "\n"))
		})
	}
	t.Run("sub-commands", func(t *testing.T) {
		is := is.New(t)
		e, err := interaction(`{"type":2,"data":{"name":"x","options":[` + nested(`{"type":1,"name":"s","options":[`, `]}`) + `]}}`).Interaction()
		is.NoErr(err)
		is.Equal(e.Text, "/x"+strings.Repeat(" s", read))
	})
}
