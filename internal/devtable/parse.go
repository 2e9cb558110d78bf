package devtable

import (
	"slices"
	"strconv"
	"strings"
)

// scope is what #names and :values of a request's expressions stand for.
type scope struct {
	names  map[string]string
	values item
	used   map[string]bool
}

func newScope(names map[string]string, values item) *scope {
	return &scope{names: names, values: values, used: map[string]bool{}}
}

// unused refuses a request with names or values that no expression has, once all of them are parsed.
func (s *scope) unused() error {
	for _, kind := range []struct {
		what  string
		names []string
	}{{"ExpressionAttributeNames", sortedKeys(s.names)}, {"ExpressionAttributeValues", sortedKeys(s.values)}} {
		extra := slices.DeleteFunc(kind.names, func(name string) bool { return s.used[name] })
		if len(extra) > 0 {
			return invalid("Value provided in %s unused in expressions: keys: {%s}", kind.what, strings.Join(extra, ", "))
		}
	}
	return nil
}

// step is one part of a path: a name, or the index of a list.
type step struct {
	name  string
	index int // if name is empty
}

// path is where a value is in an item. It is not empty, and begins with a name.
type path []step

func (p path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch {
		case s.name == "":
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case i > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	return b.String()
}

// in is the value at a path of an item.
func (p path) in(it item) (value, bool) {
	v, ok := it[p[0].name]
	for _, s := range p[1:] {
		switch {
		case !ok:
			return value{}, false
		case s.name != "":
			v, ok = v.m[s.name]
		case v.kind == kindList && s.index < len(v.list):
			v = v.list[s.index]
		default:
			return value{}, false
		}
	}
	return v, ok
}

// overlaps reports whether one of two paths is the other, or leads to it.
func (p path) overlaps(other path) bool {
	n := min(len(p), len(other))
	return slices.Equal(p[:n], other[:n])
}

// parser reads one expression. Its methods panic with an *Error, which parse returns.
type parser struct {
	what   string
	tokens []token
	at     int
	scope  *scope
}

// parse reads an expression with read, to its end.
func parse[T any](what, text string, s *scope, read func(*parser) T) (result T, err error) {
	tokens, err := cutTokens(what, text)
	if err != nil {
		return result, err
	}
	p := &parser{what: what, tokens: tokens, scope: s}
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case *Error:
			err = fault
		default:
			panic(fault)
		}
	}()
	result = read(p)
	if p.peek().kind != tokenEnd {
		p.unexpected()
	}
	return result, nil
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return token{}
}

func (p *parser) next() token {
	t := p.peek()
	p.at++
	return t
}

func (p *parser) fail(format string, args ...any) {
	panic(invalid("Invalid "+p.what+": "+format, args...))
}

// unexpected fails at the next token.
func (p *parser) unexpected() {
	if p.peek().kind == tokenEnd {
		p.fail("Syntax error; token: <EOF>")
	}
	var rest []string
	for _, t := range p.tokens[max(p.at-1, 0):min(p.at+2, len(p.tokens))] {
		rest = append(rest, t.text)
	}
	p.fail("Syntax error; token: %q, near: %q", p.peek().text, strings.Join(rest, " "))
}

// sign takes a sign if it is the next token.
func (p *parser) sign(text string) bool {
	if t := p.peek(); t.kind == tokenSign && t.text == text {
		p.at++
		return true
	}
	return false
}

func (p *parser) mustSign(text string) {
	if !p.sign(text) {
		p.unexpected()
	}
}

// keyword takes a keyword if it is the next token, in whatever case.
func (p *parser) keyword(word string) bool {
	if t := p.peek(); t.kind == tokenName && strings.EqualFold(t.text, word) {
		p.at++
		return true
	}
	return false
}

// call takes the name of a function and its opening parenthesis.
func (p *parser) call() (name string, ok bool) {
	if p.peek().kind != tokenName || p.at+1 >= len(p.tokens) || p.tokens[p.at+1].text != "(" {
		return "", false
	}
	name = p.next().text
	p.at++
	return name, true
}

// keywords are no names of attributes.
var keywords = []string{"AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE"}

// path reads where a value is.
func (p *parser) path() (found path) {
	for {
		switch t := p.next(); t.kind {
		case tokenName:
			if slices.Contains(keywords, strings.ToUpper(t.text)) {
				p.at--
				p.unexpected()
			}
			if reserved[strings.ToUpper(t.text)] {
				p.fail("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
			}
			found = append(found, step{name: t.text})
		case tokenAlias:
			name, ok := p.scope.names[t.text]
			if !ok {
				p.fail("An expression attribute name used in the document path is not defined; attribute name: %s", t.text)
			}
			p.scope.used[t.text] = true
			found = append(found, step{name: name})
		default:
			p.at--
			p.unexpected()
		}
		for p.sign("[") {
			t := p.next()
			index, err := strconv.Atoi(t.text)
			if t.kind != tokenNumber || err != nil || index > 1<<20 {
				p.at--
				p.unexpected()
			}
			p.mustSign("]")
			found = append(found, step{index: index})
		}
		if !p.sign(".") {
			break
		}
	}
	if len(found) > deepest {
		p.fail("The document path has too many nesting elements; nesting levels: %d", len(found))
	}
	return found
}

// literal takes a :value if it is the next token.
func (p *parser) literal() (v value, ok bool) {
	t := p.peek()
	if t.kind != tokenValue {
		return v, false
	}
	p.at++
	v, ok = p.scope.values[t.text]
	if !ok {
		p.fail("An expression attribute value used in expression is not defined; attribute value: %s", t.text)
	}
	p.scope.used[t.text] = true
	return v, true
}

// parseProjection reads which parts of an item are wanted.
func parseProjection(text string, s *scope) ([]path, error) {
	return parse("ProjectionExpression", text, s, func(p *parser) (list []path) {
		for {
			next := p.path()
			for _, other := range list {
				if other.overlaps(next) {
					p.fail("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [%s], path two: [%s]",
						other, next)
				}
			}
			if len(next) > 1 {
				panic(foreign("projections of parts of attributes (" + next.String() + ")"))
			}
			if list = append(list, next); !p.sign(",") {
				return list
			}
		}
	})
}

// project is an item with what a projection names alone; all of it without one.
func project(it item, wanted []path) item {
	if wanted == nil {
		return it
	}
	part := item{}
	for _, p := range wanted {
		if v, ok := it[p[0].name]; ok {
			part[p[0].name] = v
		}
	}
	return part
}
