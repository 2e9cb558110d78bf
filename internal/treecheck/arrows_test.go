// Package treecheck holds tests of the tree as a whole: which package imports which, whether template, documentation and
// events say what the code reads, and what may not be checked in.
package treecheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"
)

const (
	root   = "../.."
	module = "github.com/dormouse-relay/dormouse/"
)

// layers hold the packages, upper ones first. A package with its sub-packages imports only from the layers below its own.
var layers = [][]string{
	{"functions/wake", "functions/drain", "cmd", "bench", "chaos", "examples", "internal/cases", "internal/treecheck"},
	{"internal/demo", "internal/conform", "internal/page"},
	{"internal/devstage"},
	{"internal/wiring", "internal/rig"},
	{"internal/wake", "internal/drain", "internal/devconnector", "internal/devissuer", "internal/locallambda", "internal/devtable"},
	{"internal/turn", "internal/identity"},
	{"internal/say"},
	{"internal/secretstore", "internal/action", "internal/agent", "internal/ledger", "internal/config", "internal/awsconf", "internal/media", "internal/metrics", "pkg/provision"},
	{"pkg/relay", "internal/logs", "internal/roots", "internal/extension", "internal/pipenet", "internal/terminal", "internal/loopback", "internal/lines", "internal/texts", "internal/version", "internal/prices"},
}

// only says more than the layers do: these packages take nothing of ours but what is named here.
var only = map[string][]string{
	"pkg/relay":             nil,
	"pkg/provision":         {"pkg/relay"},
	"internal/devconnector": {"pkg/relay", "internal/loopback"},
	"internal/locallambda":  {"internal/loopback", "internal/lines"},
	"internal/devtable":     {"internal/loopback"},
	"internal/devissuer":    {"internal/loopback"},
	"internal/loopback":     nil,
	"internal/lines":        nil,
	"internal/awsconf":      nil,
	"internal/logs":         nil,
	"internal/metrics":      {"internal/logs"},
	"internal/terminal":     nil,
	"internal/texts":        nil,
	"internal/version":      nil,
	"internal/roots":        nil,
	"internal/extension":    nil,
	"internal/secretstore":  {"pkg/relay"},
	"internal/media":        {"pkg/relay"},
	"internal/action":       {"pkg/relay", "internal/texts"},
	"internal/say":          {"pkg/relay"},
}

func TestImportsPointDownwards(t *testing.T) {
	for _, line := range goList(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...") {
		path, imports, _ := strings.Cut(line, " ")
		from, fromLayer := place(ours(path))
		if fromLayer < 0 {
			t.Errorf("%s has no place in layers: give it one", path)
			continue
		}
		allowed, restricted := only[from]
		for imported := range strings.FieldsSeq(imports) {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			to, toLayer := place(ours(imported))
			switch {
			case to == from: // a package and its sub-packages
			case toLayer <= fromLayer:
				t.Errorf("%s imports %s, which is not below it", ours(path), ours(imported))
			case restricted && !slices.Contains(allowed, to):
				t.Errorf("%s imports %s, but may take only %q of ours", ours(path), ours(imported), allowed)
			case strings.HasPrefix(from, "pkg/") && strings.HasPrefix(to, "internal/"):
				t.Errorf("%s imports %s: pkg takes nothing from internal", ours(path), ours(imported))
			}
		}
	}
}

// The SDK's config module costs more than half of the start-up time; the others are for development.
func TestFunctionsCarryNothingThatTheyDoNotNeed(t *testing.T) {
	is := is.New(t)
	for _, function := range []string{"wake", "drain"} {
		deps := goList(t, "-deps", "./functions/"+function)
		is.True(slices.Contains(deps, module+"internal/"+function)) // each function is its internal package's main
		for _, dep := range deps {
			for _, unwanted := range []string{
				module + "internal/devconnector", module + "internal/devissuer", module + "internal/locallambda", module + "internal/devtable", module + "cmd",
				"go.etcd.io/bbolt",
				"github.com/aws/aws-sdk-go-v2/config", "github.com/urfave/cli", "testing",
			} {
				if dep == unwanted || strings.HasPrefix(dep, unwanted+"/") {
					t.Errorf("functions/%s is built with %s", function, dep)
				}
			}
		}
	}
}

// Settings come from internal/config alone, to which main passes the environment.
func TestConfigAloneReadsTheEnvironment(t *testing.T) {
	is := is.New(t)
	reads := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}
	seen := 0
	for _, dir := range []string{"internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") ||
				strings.HasPrefix(path, filepath.Join(root, "internal", "config")+string(filepath.Separator)) {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			seen++
			ast.Inspect(file, func(node ast.Node) bool {
				if call, ok := node.(*ast.SelectorExpr); ok && slices.Contains(reads, call.Sel.Name) {
					if pkg, ok := call.X.(*ast.Ident); ok && (pkg.Name == "os" || pkg.Name == "syscall") {
						t.Errorf("%s calls %s.%s", path, pkg.Name, call.Sel.Name)
					}
				}
				return true
			})
			return nil
		})
		is.NoErr(err)
	}
	is.True(seen > 0)
}

// place finds the entry of layers that a package belongs to, and its layer, or -1.
func place(path string) (string, int) {
	for i, layer := range layers {
		for _, entry := range layer {
			if path == entry || strings.HasPrefix(path, entry+"/") {
				return entry, i
			}
		}
	}
	return path, -1
}

func ours(path string) string { return strings.TrimPrefix(path, module) }

// goList runs go list at the root of the tree and returns its lines.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e"}, args...)...)
	cmd.Dir = root
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	is.New(t).NoErr(err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
