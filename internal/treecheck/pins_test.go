package treecheck

import (
	"path"
	"testing"
)

// A package named schemas is the SDK's serialisation by schema: its init builds every type of a service's API at each cold
// start. go.mod says which modules are pinned because of it.
func TestNoFunctionLinksSchemas(t *testing.T) {
	for _, function := range []string{"wake", "drain"} {
		deps := goList(t, "-deps", "./functions/"+function)
		if len(deps) < 100 {
			t.Fatalf("go list names only %d packages of functions/%s", len(deps), function)
		}
		for _, dep := range deps {
			if path.Base(dep) == "schemas" {
				t.Errorf("functions/%s links %s: pin its module to the last version without it, see go.mod", function, dep)
			}
		}
	}
}
