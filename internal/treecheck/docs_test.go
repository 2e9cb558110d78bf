package treecheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// The documents that code cites: "section 5" is the contract's, "design 5" the design's.
const (
	contractDoc = "docs/contract.md"
	designDoc   = "docs/design.md"
)

var (
	heading  = regexp.MustCompile(`(?m)^## ([0-9]+)\. `)
	citation = regexp.MustCompile(`\b(?:(design|RFC [0-9]+)(?:'s)?,? )?(?:sections? )?\b([0-9]+(?:(?:, | and |, and )[0-9]+)*)\b`)
	number   = regexp.MustCompile(`[0-9]+`)
)

func TestSectionsThatAreCitedExist(t *testing.T) {
	sections := map[string][]string{}
	for _, doc := range []string{contractDoc, designDoc} {
		for _, match := range heading.FindAllStringSubmatch(readDoc(t, doc), -1) {
			sections[doc] = append(sections[doc], match[1])
		}
	}
	cited := map[string]int{}
	walkGo(t, func(path string, file *ast.File) {
		for _, c := range citations(file) {
			cited[c.doc]++
			if !slices.Contains(sections[c.doc], c.section) {
				t.Errorf("%s cites section %s of %s, which has none", path, c.section, c.doc)
			}
		}
	})
	for _, doc := range []string{contractDoc, designDoc} {
		if cited[doc] == 0 {
			t.Errorf("no Go file cites %s: the test does not see what it is to check", doc)
		}
	}
}

type cited struct{ doc, section string }

// citations are the sections that a file's comments name.
func citations(file *ast.File) (found []cited) {
	for _, group := range file.Comments {
		text := strings.Join(strings.Fields(group.Text()), " ")
		for _, match := range citation.FindAllStringSubmatch(text, -1) {
			doc := contractDoc
			switch {
			case strings.HasPrefix(match[1], "RFC"):
				continue
			case match[1] == "design":
				doc = designDoc
			case !strings.Contains(match[0], "section"):
				continue // some other number
			}
			for _, section := range number.FindAllString(match[2], -1) {
				found = append(found, cited{doc, section})
			}
		}
	}
	return found
}

func TestContractHasTheFrames(t *testing.T) {
	out, in := contractTable(t, 5, "type", 0), contractTable(t, 5, "type", 1)
	pkg := parsePackage(t, "pkg/relay")

	same(t, "frame types of pkg/relay", typeConstants(pkg), contractDoc, slices.Concat(out.here("type"), in.here("type")))
	var sent []string
	for _, frame := range structs(pkg) {
		if tags := jsonTags(frame); slices.Contains(tags, "type") {
			sent = append(sent, tags...)
		}
	}
	same(t, "fields of frames that pkg/relay sends", sent, contractDoc, append(out.words("fields"), "type"))
	for _, name := range out.words("not sent here") {
		if slices.Contains(sent, name) {
			t.Errorf("pkg/relay sends %s, which %s has as not sent", name, contractDoc)
		}
	}
	var read []string
	for _, row := range in.rows {
		if row["here"] == "yes" {
			read = append(read, words(row["fields"])...)
		}
	}
	same(t, "fields of frames that pkg/relay reads", cases(t, pkg, "decodeFrame"), contractDoc, append(read, "type"))
}

func TestContractHasTheFields(t *testing.T) {
	pkg := parsePackage(t, "pkg/relay")
	event, source := contractTable(t, 6, "field", 0), contractTable(t, 6, "field", 1)
	descriptor, forward, result := contractTable(t, 7, "field", 0), contractTable(t, 9, "field", 0), contractTable(t, 11, "field", 0)

	eventFields := slices.DeleteFunc(fields(reflect.TypeFor[relay.Event](), ""), func(name string) bool {
		return strings.HasPrefix(name, "source.") // has a table of its own
	})
	same(t, "fields of relay.Event", eventFields, contractDoc, event.here("field"))
	same(t, "fields that decodeEvent reads", cases(t, pkg, "decodeEvent"), contractDoc, without(event.here("field"), "."))
	within(t, "fields of relay.Source", fields(reflect.TypeFor[relay.Source](), ""), contractDoc, source.here("field"))
	same(t, "fields that decodeSource reads", cases(t, pkg, "decodeSource"), contractDoc, source.here("field"))
	same(t, "fields of relay.Descriptor", fields(reflect.TypeFor[relay.Descriptor](), ""), contractDoc, descriptor.here("field"))
	same(t, "fields that decodeDescriptor reads", cases(t, pkg, "decodeDescriptor"), contractDoc, descriptor.here("field"))
	same(t, "fields of relay.Forward", fields(reflect.TypeFor[relay.Forward](), ""), contractDoc, forward.here("field"))
	same(t, "fields of relay.Result", fields(reflect.TypeFor[relay.Result](), ""), contractDoc, result.here("field"))
	same(t, "fields that decodeResult reads", cases(t, pkg, "decodeResult"), contractDoc, result.here("field"))

	other := parsePackage(t, "internal/devconnector")
	within(t, "fields of devconnector's descriptor", mapKeys(other, "contract_version"), contractDoc, descriptor.here("field"))
}

func TestContractHasTheOps(t *testing.T) {
	ops := contractTable(t, 11, "op", 0)
	var forAgents []string
	for _, row := range ops.rows {
		if row["agents"] == "yes" {
			forAgents = append(forAgents, words(row["op"])...)
		}
	}
	same(t, "ops of agents", mapKeys(parsePackage(t, opsPackage), "thread_create"), contractDoc, forAgents)

	required := mapOfLists(parsePackage(t, "internal/devconnector"), "thread_create")
	same(t, "ops of devconnector", slices.Collect(maps.Keys(required)), contractDoc, ops.words("op"))
	for _, row := range ops.rows {
		op := words(row["op"])[0]
		documented := words(row["fields the reference sends"])
		if strings.HasPrefix(row["fields the reference sends"], "as `task_card`") {
			documented = []string{"chat_id", "card_id"}
		}
		within(t, "fields that devconnector demands of "+op, required[op], contractDoc, documented)
	}
	for _, name := range devconnector.PresetNames() {
		preset, err := devconnector.PresetNamed(name)
		is.New(t).NoErr(err)
		if preset.SupportedOps == nil {
			continue // the legacy set
		}
		within(t, "ops that the preset "+name+" offers", preset.SupportedOps, contractDoc, ops.words("op"))
	}
}

// opsPackage has the table of what agents may use.
const opsPackage = "internal/action"

func TestContractHasTheCloseCodes(t *testing.T) {
	codes := contractTable(t, 13, "code", 0)
	var documented []string
	for _, row := range codes.rows {
		documented = append(documented, row["code"])
		code, err := strconv.Atoi(row["code"])
		is.New(t).NoErr(err)
		reason := "another reason"
		if given := words(row["reason"]); len(given) > 0 {
			reason = strings.Trim(row["reason"], "`")
		}
		if kind := (&relay.CloseError{Code: code, Reason: reason}).Kind().String(); kind != row["kind"] {
			t.Errorf("%s has close %d %q as %s, the code as %s", contractDoc, code, reason, row["kind"], kind)
		}
	}
	within(t, "close codes of pkg/relay", closeCodes(parsePackage(t, "pkg/relay")), contractDoc, documented)
	within(t, "close codes of devconnector", closeCodes(parsePackage(t, "internal/devconnector")), contractDoc, documented)
}

func TestDesignHasStatusesAndKeys(t *testing.T) {
	statuses, keys := docTable(t, designDoc, 4, "status", 0), docTable(t, designDoc, 4, "key", 0)
	same(t, "statuses of internal/drain", constants(parsePackage(t, "internal/drain"), "Status"), designDoc, statuses.words("status"))

	prefix := regexp.MustCompile(`^[a-z]#$`)
	var used []string
	for _, text := range literals(parsePackage(t, "internal/ledger/dynamo")) {
		if prefix.MatchString(text) || text == "state" {
			used = append(used, text)
		}
	}
	same(t, "keys of internal/ledger/dynamo", used, designDoc, keys.words("key"))
}

// What is decided and not built has its text in a section of its own. Whoever builds it moves the text.
func TestWhatIsNotBuiltIsNotInTheCode(t *testing.T) {
	if strings.Contains(readDoc(t, designDoc), "\nNothing is on it now.\n") {
		t.Skip("everything is built")
	}
	names := docTable(t, designDoc, 8, "name", 0)
	built := slices.Concat(config.DrainVariables(), config.WakeVariables())
	for name := range documented(t) {
		built = append(built, name)
	}
	for name := range readTemplate(t).Resources["DrainFunction"].variables() {
		built = append(built, name)
	}
	for _, row := range names.rows {
		name, where := words(row["name"])[0], words(row["where"])[0]
		found := false
		walkGoIn(t, where, func(_ string, file *ast.File) {
			texts := tags([]*ast.File{file})
			if row["kind"] != "report" { // a report is a struct; the word may be in a log line, too
				texts = append(texts, literals([]*ast.File{file})...)
			}
			found = found || slices.Contains(texts, name)
		})
		if found || row["kind"] == "setting" && slices.Contains(built, name) {
			t.Errorf("%s is in the code: move its text from section 8 of %s to section %s, and take it off the list there",
				name, designDoc, row["section"])
		}
	}
}

func TestContributorsFindEveryPackage(t *testing.T) {
	listed := words(readDoc(t, "CONTRIBUTING.md"))
	for _, path := range goList(t, "./...") {
		found := false
		for at := ours(path); at != "." && !found; at = filepath.ToSlash(filepath.Dir(at)) {
			found = slices.Contains(listed, at)
		}
		if !found {
			t.Errorf("the map in CONTRIBUTING.md lacks %s", ours(path))
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	is := is.New(t)
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "build", ".aws-sam"}, entry.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range link.FindAllStringSubmatch(string(content), -1) {
			to, anchor := match[1], match[2]
			if strings.Contains(to, "://") {
				continue
			}
			seen++
			target := path
			if to != "" {
				target = filepath.Join(filepath.Dir(path), filepath.FromSlash(to))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", path, to)
			} else if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s links to #%s of %s, which has no such heading", path, anchor, target)
			}
		}
		return nil
	})
	is.NoErr(err)
	is.True(seen > 20)
}

// anchors are what GitHub makes of a page's headings.
func anchors(t *testing.T, path string) (names []string) {
	t.Helper()
	content, err := os.ReadFile(path)
	is.New(t).NoErr(err)
	other := regexp.MustCompile(`[^a-z0-9 _-]`)
	for line := range strings.Lines(string(content)) {
		if title := strings.TrimLeft(line, "#"); title != line {
			names = append(names, strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-"))
		}
	}
	return names
}

// The model's page names the method that each step of the model stands for.
func TestModelNamesTheCode(t *testing.T) {
	_, page, ok := strings.Cut(readDoc(t, "docs/model/README.md"), "\n| model | code |\n")
	is.New(t).True(ok)
	page, _, _ = strings.Cut(page, "\n\n")
	var members []string
	for _, dir := range []string{"internal/drain", "internal/turn", "internal/ledger"} {
		members = append(members, membersOf(parsePackage(t, dir))...)
	}
	named := regexp.MustCompile(`^[A-Za-z]+\.[A-Za-z]+$`)
	found := 0
	for row := range strings.Lines(page) {
		for _, name := range words(cells(strings.TrimSpace(row))[1]) {
			if !named.MatchString(name) {
				continue // a directory, or a file
			}
			if found++; !slices.Contains(members, name) {
				t.Errorf("docs/model/README.md names %s, which is not in the code", name)
			}
		}
	}
	is.New(t).True(found > 10)
}

// membersOf are the methods and fields of a package's types, as Type.member.
func membersOf(files []*ast.File) (names []string) {
	inspect(files, func(fn *ast.FuncDecl) {
		if fn.Recv == nil {
			return
		}
		of := fn.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if name, ok := of.(*ast.Ident); ok {
			names = append(names, name.Name+"."+fn.Name.Name)
		}
	})
	inspect(files, func(spec *ast.TypeSpec) {
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					names = append(names, spec.Name.Name+"."+name.Name)
				}
			}
		}
	})
	return names
}

// table is one of a document: its rows, each by column.
type table struct{ rows []map[string]string }

// here are the names in a column of the rows that say yes under "here".
func (tb table) here(column string) (names []string) {
	for _, row := range tb.rows {
		if row["here"] == "yes" {
			names = append(names, words(row[column])...)
		}
	}
	return names
}

func (tb table) words(column string) (names []string) {
	for _, row := range tb.rows {
		names = append(names, words(row[column])...)
	}
	return names
}

var quoted = regexp.MustCompile("`([^`]+)`")

// words are the names that a cell has between backticks.
func words(cell string) (names []string) {
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		names = append(names, match[1])
	}
	return names
}

func contractTable(t *testing.T, section int, first string, n int) table {
	t.Helper()
	return docTable(t, contractDoc, section, first, n)
}

// docTable is the table number n of a section among those whose first column has that name.
func docTable(t *testing.T, doc string, section int, first string, n int) table {
	t.Helper()
	text := readDoc(t, doc)
	_, text, ok := strings.Cut(text, "\n## "+strconv.Itoa(section)+". ")
	if !ok {
		t.Fatalf("%s has no section %d", doc, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var head []string
	var tables []table
	for line := range strings.Lines(text) {
		row := strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(row, "| "):
			head = nil
		case head == nil:
			head = cells(row)
			if head[0] == first {
				tables = append(tables, table{})
			}
		case head[0] != first || strings.HasPrefix(row, "| ---"):
		default:
			byColumn := map[string]string{}
			for i, cell := range cells(row) {
				byColumn[head[i]] = cell
			}
			last := &tables[len(tables)-1]
			last.rows = append(last.rows, byColumn)
		}
	}
	if n >= len(tables) || len(tables[n].rows) == 0 {
		t.Fatalf("section %d of %s has no table number %d whose first column is %q", section, doc, n+1, first)
	}
	return tables[n]
}

func cells(row string) []string {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(row, "|"), "|"), "|")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return parts
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	is.New(t).NoErr(err)
	return string(content)
}

// same demands that what the code has and what the document has are the same names.
func same(t *testing.T, what string, code []string, doc string, documented []string) {
	t.Helper()
	within(t, what, code, doc, documented)
	for _, name := range documented {
		if !slices.Contains(code, name) {
			t.Errorf("%s has %q, which is not among the %s", doc, name, what)
		}
	}
}

// within demands that the document has what the code has.
func within(t *testing.T, what string, code []string, doc string, documented []string) {
	t.Helper()
	if len(code) == 0 {
		t.Errorf("no %s are found: the test looks in the wrong place", what)
	}
	for _, name := range code {
		if !slices.Contains(documented, name) {
			t.Errorf("%s lacks %q, one of the %s", doc, name, what)
		}
	}
}

// without leaves out the names that contain part.
func without(names []string, part string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.Contains(name, part) })
}

// fields are the JSON names of a struct and of the structs in it, those with the outer name and a dot in front.
func fields(of reflect.Type, before string) (names []string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		names = append(names, before+name)
		names = append(names, fields(field.Type, before+name+".")...)
	}
	return names
}

// walkGo calls do with each Go file of the tree, tests included.
func walkGo(t *testing.T, do func(path string, file *ast.File)) {
	t.Helper()
	walk(t, ".", true, do)
}

// walkGoIn is for the files below a directory, without tests.
func walkGoIn(t *testing.T, dir string, do func(path string, file *ast.File)) {
	t.Helper()
	walk(t, dir, false, do)
}

func walk(t *testing.T, dir string, tests bool, do func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(dir)), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || !tests && strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			do(strings.TrimPrefix(path, root+string(filepath.Separator)), file)
		}
		return err
	})
	is.New(t).NoErr(err)
}

// parsePackage parses the files of one package, without tests.
func parsePackage(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	walkGoIn(t, dir, func(path string, file *ast.File) {
		if filepath.ToSlash(filepath.Dir(path)) == dir {
			files = append(files, file)
		}
	})
	if len(files) == 0 {
		t.Fatalf("%s has no Go files", dir)
	}
	return files
}

func inspect[N ast.Node](files []*ast.File, use func(N)) {
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			if n, ok := node.(N); ok {
				use(n)
			}
			return true
		})
	}
}

func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		value, _ := strconv.Unquote(lit.Value)
		return value
	}
	return ""
}

func literals(files []*ast.File) (texts []string) {
	inspect(files, func(lit *ast.BasicLit) {
		if value := text(lit); value != "" {
			texts = append(texts, value)
		}
	})
	return texts
}

func structs(files []*ast.File) (found []*ast.StructType) {
	inspect(files, func(s *ast.StructType) { found = append(found, s) })
	return found
}

func jsonTags(s *ast.StructType) (names []string) { return tagsOf(s, "json") }

func tagsOf(s *ast.StructType, key string) (names []string) {
	for _, field := range s.Fields.List {
		if field.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(field.Tag.Value)
		if name, _, _ := strings.Cut(reflect.StructTag(tag).Get(key), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// tags are the names in the json and env tags of all structs.
func tags(files []*ast.File) (names []string) {
	for _, s := range structs(files) {
		names = slices.Concat(names, tagsOf(s, "json"), tagsOf(s, "env"))
	}
	return names
}

// typeConstants are the values of the constants whose names begin with Type.
func typeConstants(files []*ast.File) (values []string) {
	inspect(files, func(spec *ast.ValueSpec) {
		for i, name := range spec.Names {
			if strings.HasPrefix(name.Name, "Type") && i < len(spec.Values) {
				values = append(values, text(spec.Values[i]))
			}
		}
	})
	return values
}

// constants are the values of the constants of a named string type.
func constants(files []*ast.File, of string) (values []string) {
	inspect(files, func(spec *ast.ValueSpec) {
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == of {
			for _, value := range spec.Values {
				values = append(values, text(value))
			}
		}
	})
	return values
}

// cases are what the switch on an object's member names has in the function of that name.
func cases(t *testing.T, files []*ast.File, function string) (names []string) {
	t.Helper()
	inspect(files, func(fn *ast.FuncDecl) {
		if fn.Name.Name != function || fn.Body == nil {
			return
		}
		ast.Inspect(fn.Body, func(node ast.Node) bool {
			s, ok := node.(*ast.SwitchStmt)
			if !ok {
				return true
			}
			call, ok := s.Tag.(*ast.CallExpr) // switch string(name)
			if !ok || len(call.Args) != 1 {
				return true
			}
			if arg, ok := call.Args[0].(*ast.Ident); !ok || arg.Name != "name" {
				return true
			}
			for _, clause := range s.Body.List {
				for _, e := range clause.(*ast.CaseClause).List {
					names = append(names, text(e))
				}
			}
			return false
		})
	})
	return names
}

// mapKeys are the keys of the first map literal that has a certain one.
func mapKeys(files []*ast.File, with string) (keys []string) {
	inspect(files, func(lit *ast.CompositeLit) {
		if found := literalKeys(lit); keys == nil && slices.Contains(found, with) {
			keys = found
		}
	})
	return keys
}

func literalKeys(lit *ast.CompositeLit) (keys []string) {
	for _, e := range lit.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			keys = append(keys, text(pair.Key))
		}
	}
	return keys
}

// mapOfLists is the first map literal from names to lists of names that has a certain key.
func mapOfLists(files []*ast.File, with string) map[string][]string {
	found := map[string][]string{}
	inspect(files, func(lit *ast.CompositeLit) {
		if len(found) > 0 || !slices.Contains(literalKeys(lit), with) {
			return
		}
		for _, e := range lit.Elts {
			pair := e.(*ast.KeyValueExpr)
			list, ok := pair.Value.(*ast.CompositeLit)
			if !ok {
				return
			}
			names := []string{}
			for _, e := range list.Elts {
				names = append(names, text(e))
			}
			found[text(pair.Key)] = names
		}
	})
	return found
}

// gorilla's names of close codes.
var closeNames = map[string]int{
	"CloseNormalClosure":     websocket.CloseNormalClosure,
	"CloseGoingAway":         websocket.CloseGoingAway,
	"CloseAbnormalClosure":   websocket.CloseAbnormalClosure,
	"ClosePolicyViolation":   websocket.ClosePolicyViolation,
	"CloseMessageTooBig":     websocket.CloseMessageTooBig,
	"CloseInternalServerErr": websocket.CloseInternalServerErr,
	"CloseTryAgainLater":     websocket.CloseTryAgainLater,
}

// closeCodes are the numbers that can be close codes, and gorilla's names of such.
func closeCodes(files []*ast.File) (codes []string) {
	inspect(files, func(lit *ast.BasicLit) {
		n, err := strconv.Atoi(lit.Value)
		if lit.Kind == token.INT && err == nil && (n >= 1000 && n <= 1015 && n != 1000 || n >= 4400 && n < 4600) {
			codes = append(codes, lit.Value)
		}
	})
	inspect(files, func(s *ast.SelectorExpr) {
		if code, ok := closeNames[s.Sel.Name]; ok {
			codes = append(codes, strconv.Itoa(code))
		}
	})
	return codes
}
