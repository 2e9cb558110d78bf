package treecheck

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// carried are the types that a message is on its way: the frame, the delivery, the record of it, and what is sent.
var carried = []string{"pkg/relay.Frame", "pkg/relay.Delivery", "internal/turn.delivery", "pkg/relay.Outbound"}

// aside are functions that are given such a thing and are no part of the way: typing and other marks, whose fate matters
// to nobody.
var aside = []string{"Post"}

// A message passes the files that the design lists, in that order. The test follows the call graph: a function that is given
// the message gets it from its callers, one that returns it gives it to them. Each such step must lead to the same file or to
// a later one on the list, and no file that is not there may have a part in it.
func TestAMessagePassesTheFilesOfTheDesign(t *testing.T) {
	list := docTable(t, designDoc, 3, "file", 0).words("file")
	steps, files := messageSteps(t, "pkg/relay", "internal/drain", "internal/turn")
	for _, file := range files {
		if !slices.Contains(list, file) {
			t.Errorf("%s is given messages, and %s does not list it", file, designDoc)
		}
	}
	reached := []string{list[0]}
	for _, step := range steps {
		from, to := slices.Index(list, step.from), slices.Index(list, step.to)
		switch {
		case from < 0 || to < 0:
			t.Errorf("a message goes from %s to %s (%s), and %s does not list both", step.from, step.to, step.by, designDoc)
		case to < from:
			t.Errorf("a message goes back from %s to %s (%s)", step.from, step.to, step.by)
		case to > from:
			reached = append(reached, step.to)
		}
	}
	for _, file := range list {
		if !slices.Contains(reached, file) && !slices.Contains(beginnings, file) {
			t.Errorf("%s lists %s, which no message comes to", designDoc, file)
		}
	}
}

// beginnings are where a message begins that no socket brings: one that an earlier run left, one that nobody sent.
var beginnings = []string{"internal/turn/recover.go", "internal/turn/says.go"}

// step is a message's way from one file to another, or inside of one.
type step struct{ from, to, by string }

// carrier is a function that is given a message or returns one.
type carrier struct {
	file         string
	in, out      bool
	name, method string
}

// messageSteps are the steps between the files of some packages, and the files that have a function which is given a
// message.
func messageSteps(t *testing.T, packages ...string) (steps []step, files []string) {
	t.Helper()
	exports := exportData(t, packages)
	carriers := map[string]carrier{} // by full name
	var checked []checkedPackage
	for _, dir := range packages {
		pkg := checkPackage(t, dir, exports)
		checked = append(checked, pkg)
		for name, c := range pkg.carriers() {
			carriers[name] = c
			if !slices.Contains(files, c.file) {
				files = append(files, c.file)
			}
		}
	}
	for _, pkg := range checked {
		steps = append(steps, pkg.steps(carriers)...)
	}
	return steps, files
}

type checkedPackage struct {
	dir   string
	set   *token.FileSet
	files []*ast.File
	info  *types.Info
}

func (p checkedPackage) file(pos token.Pos) string {
	return path.Join(p.dir, filepath.Base(p.set.Position(pos).Filename))
}

func (p checkedPackage) carriers() map[string]carrier {
	found := map[string]carrier{}
	inspect(p.files, func(decl *ast.FuncDecl) {
		fn := p.info.Defs[decl.Name].(*types.Func)
		sig := fn.Signature()
		c := carrier{file: p.file(decl.Pos()), name: fn.FullName(), method: fn.Name()}
		for v := range sig.Params().Variables() {
			c.in = c.in || carries(v.Type(), false)
			c.out = c.out || carries(v.Type(), true) // a function that is given the message
		}
		for v := range sig.Results().Variables() {
			c.out = c.out || carries(v.Type(), false)
		}
		if (c.in || c.out) && !slices.Contains(aside, c.method) {
			found[c.name] = c
		}
	})
	return found
}

// steps are those that calls in this package make.
func (p checkedPackage) steps(carriers map[string]carrier) (found []step) {
	inspect(p.files, func(id *ast.Ident) {
		fn, ok := p.info.Uses[id].(*types.Func)
		if !ok {
			return
		}
		here := p.file(id.Pos())
		for _, c := range resolve(fn, carriers) {
			if c.in {
				found = append(found, step{here, c.file, c.name})
			}
			if c.out {
				found = append(found, step{c.file, here, c.name})
			}
		}
	})
	return found
}

// resolve finds the carrier that is called; a method of an interface stands for every carrier that has its name in another
// package.
func resolve(fn *types.Func, carriers map[string]carrier) (found []carrier) {
	if c, ok := carriers[fn.FullName()]; ok {
		return []carrier{c}
	}
	recv := fn.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) || fn.Pkg() == nil || !strings.HasPrefix(fn.Pkg().Path(), module) {
		return nil
	}
	for _, c := range carriers {
		if c.method == fn.Name() && strings.Contains(c.name, module) && path.Dir(c.file) != ours(fn.Pkg().Path()) && !strings.HasPrefix(c.file, "pkg/") {
			found = append(found, c)
		}
	}
	return found
}

// carries reports whether a type is a message, or a pointer to one, a list of some or, asked so, a function that is given one.
func carries(of types.Type, byFunction bool) bool {
	switch of := types.Unalias(of).(type) {
	case *types.Pointer:
		return carries(of.Elem(), byFunction)
	case *types.Slice:
		return carries(of.Elem(), byFunction)
	case *types.Named:
		if obj := of.Obj(); !byFunction && obj.Pkg() != nil {
			return slices.Contains(carried, ours(obj.Pkg().Path())+"."+obj.Name())
		}
	case *types.Signature:
		if byFunction {
			for v := range of.Params().Variables() {
				if carries(v.Type(), false) {
					return true
				}
			}
		}
	}
	return false
}

// exportData is where the compiler has put what the packages, and what they import, export.
func exportData(t *testing.T, packages []string) map[string]string {
	t.Helper()
	args := []string{"-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for _, dir := range packages {
		args = append(args, "./"+dir)
	}
	exports := map[string]string{}
	for _, line := range goList(t, args...) {
		name, file, _ := strings.Cut(line, " ")
		exports[name] = file
	}
	return exports
}

func checkPackage(t *testing.T, dir string, exports map[string]string) checkedPackage {
	t.Helper()
	is := is.New(t)
	pkg := checkedPackage{dir: dir, set: token.NewFileSet(), info: &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}}
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	is.NoErr(err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(pkg.set, name, nil, parser.SkipObjectResolution)
		is.NoErr(err)
		pkg.files = append(pkg.files, file)
	}
	lookup := func(name string) (io.ReadCloser, error) {
		file := exports[name]
		if file == "" {
			return nil, fmt.Errorf("no export data of %s", name)
		}
		return os.Open(file)
	}
	cfg := types.Config{Importer: importer.ForCompiler(pkg.set, "gc", lookup)}
	_, err = cfg.Check(module+dir, pkg.set, pkg.files, pkg.info)
	is.NoErr(err)
	return pkg
}
