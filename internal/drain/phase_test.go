package drain

import (
	"testing"

	"github.com/matryer/is"
)

// The arrows of the package comment's drawing that a refusal takes.
func TestPhaseAfterARefusal(t *testing.T) {
	tests := map[string]struct {
		before phase
		known  bool // an earlier run was let in
		after  phase
	}{
		"a stranger gets new credentials":             {stranger, false, renewed},
		"a known gateway does, too":                   {stranger, true, renewed},
		"a renewed stranger stays one":                {renewed, false, renewed},
		"a renewed known gateway is refused for good": {renewed, true, revoked},
		"who is connected is put on trial":            {connected, true, onTrial},
		"on parole a refusal is for good":             {onParole, true, revoked},
		"on trial a refusal is for good":              {onTrial, true, revoked},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { is.New(t).Equal(tt.before.refused(tt.known), tt.after) })
	}
}

func TestPhasesWithADescriptor(t *testing.T) {
	is := is.New(t)
	for p, met := range map[phase]bool{stranger: false, renewed: false, connected: true, onTrial: true, onParole: true} {
		is.Equal(p.met(), met)
	}
}
