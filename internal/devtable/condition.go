package devtable

import (
	"slices"
	"strings"
)

// condition is what an item has to be like.
type condition interface{ holds(it item) bool }

// operand is what a comparison compares. One that is not there is false.
type operand interface {
	of(it item) (value, bool)
}

type (
	both       struct{ a, b condition }
	either     struct{ a, b condition }
	not        struct{ c condition }
	comparison struct {
		op   string
		a, b operand
	}
	between struct{ v, from, to operand }
	among   struct {
		v    operand
		list []operand
	}
	exists struct {
		p     path
		there bool
	}
	beginsWith struct {
		p      operand
		prefix operand
	}
	contains struct{ in, v operand }
	hasType  struct {
		p    operand
		kind kind
	}
	sizeOf  struct{ p path }
	at      struct{ p path }
	literal struct{ v value }
)

func (c both) holds(it item) bool   { return c.a.holds(it) && c.b.holds(it) }
func (c either) holds(it item) bool { return c.a.holds(it) || c.b.holds(it) }
func (c not) holds(it item) bool    { return !c.c.holds(it) }

func (o at) of(it item) (value, bool)   { return o.p.in(it) }
func (o literal) of(item) (value, bool) { return o.v, true }
func (o sizeOf) of(it item) (value, bool) {
	v, ok := o.p.in(it)
	n := 0
	switch v.kind {
	case kindText, kindBinary:
		n = len(v.text)
	case kindList, kindTexts, kindNumbers, kindBinaries:
		n = len(v.list)
	case kindMap:
		n = len(v.m)
	default:
		ok = false
	}
	return value{kind: kindNumber, text: decimalOf(n).String()}, ok
}

func (c comparison) holds(it item) bool {
	a, okA := c.a.of(it)
	b, okB := c.b.of(it)
	switch c.op {
	case "=":
		return okA && okB && a.equal(b)
	case "<>":
		return !(okA && okB && a.equal(b)) // also of what is not there
	}
	return okA && okB && ordered(a, b, c.op)
}

// ordered reports whether a op b holds for scalars of one type.
func ordered(a, b value, op string) bool {
	if a.kind != b.kind || !sortable(a.kind) {
		return false
	}
	switch n := a.compare(b); op {
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	}
	return a.compare(b) >= 0
}

func sortable(k kind) bool { return k == kindText || k == kindNumber || k == kindBinary }

func (c between) holds(it item) bool {
	return comparison{">=", c.v, c.from}.holds(it) && comparison{"<=", c.v, c.to}.holds(it)
}

func (c among) holds(it item) bool {
	return slices.ContainsFunc(c.list, func(o operand) bool { return comparison{"=", c.v, o}.holds(it) })
}

func (c exists) holds(it item) bool {
	_, ok := c.p.in(it)
	return ok == c.there
}

func (c beginsWith) holds(it item) bool {
	v, ok := c.p.of(it)
	prefix, okPrefix := c.prefix.of(it)
	return ok && okPrefix && v.kind == prefix.kind && (v.kind == kindText || v.kind == kindBinary) && strings.HasPrefix(v.text, prefix.text)
}

func (c contains) holds(it item) bool {
	in, ok := c.in.of(it)
	v, okV := c.v.of(it)
	switch {
	case !ok || !okV:
		return false
	case in.kind == kindText || in.kind == kindBinary:
		return in.kind == v.kind && strings.Contains(in.text, v.text)
	}
	return slices.ContainsFunc(in.list, v.equal)
}

func (c hasType) holds(it item) bool {
	v, ok := c.p.of(it)
	return ok && v.kind == c.kind
}

// parseCondition reads a condition, a filter or a key condition.
func parseCondition(what, text string, s *scope) (condition, error) {
	return parse(what, text, s, (*parser).either)
}

func (p *parser) either() condition {
	c := p.both()
	for p.keyword("OR") {
		c = either{c, p.both()}
	}
	return c
}

func (p *parser) both() condition {
	c := p.simple()
	for p.keyword("AND") {
		c = both{c, p.simple()}
	}
	return c
}

func (p *parser) simple() condition {
	switch {
	case p.keyword("NOT"):
		return not{p.simple()}
	case p.sign("("):
		c := p.either()
		p.mustSign(")")
		return c
	}
	if name, ok := p.call(); ok && name != "size" {
		return p.function(name)
	} else if ok {
		p.at -= 2
	}
	a := p.operand()
	if p.keyword("BETWEEN") {
		from := p.operand()
		if !p.keyword("AND") {
			p.unexpected()
		}
		return p.between(a, from, p.operand())
	}
	if p.keyword("IN") {
		return p.among(a)
	}
	t := p.next()
	if t.kind != tokenSign || !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, t.text) {
		p.at--
		p.unexpected()
	}
	b := p.operand()
	if t.text != "=" && t.text != "<>" {
		p.mustSort(t.text, a, b)
	}
	return comparison{t.text, a, b}
}

// mustSort refuses literals that have no order.
func (p *parser) mustSort(op string, list ...operand) {
	for _, o := range list {
		if l, ok := o.(literal); ok && !sortable(l.v.kind) {
			p.fail("Incorrect operand type for operator or function; operator: %s, operand type: %s", op, l.v.kind)
		}
	}
}

func (p *parser) between(v, from, to operand) condition {
	p.mustSort("BETWEEN", v, from, to)
	a, okA := from.(literal)
	b, okB := to.(literal)
	switch {
	case okA && okB && a.v.kind != b.v.kind:
		p.fail("The BETWEEN operator requires same data type for lower and upper bounds")
	case okA && okB && a.v.compare(b.v) > 0:
		p.fail("The BETWEEN operator requires upper bound to be greater than or equal to lower bound")
	}
	return between{v, from, to}
}

func (p *parser) among(v operand) condition {
	p.mustSign("(")
	c := among{v: v}
	for {
		if c.list = append(c.list, p.operand()); len(c.list) > 100 {
			p.fail("Too many operands for operator IN: at most 100")
		}
		if !p.sign(",") {
			p.mustSign(")")
			return c
		}
	}
}

// operand reads a path, a value or a size.
func (p *parser) operand() operand {
	if v, ok := p.literal(); ok {
		return literal{v}
	}
	name, ok := p.call()
	if !ok {
		return at{p.path()}
	}
	if name != "size" {
		p.fail("The function is not allowed here, or there is none; function: %s", name)
	}
	o := sizeOf{p.path()}
	p.mustSign(")")
	return o
}

// function reads the operands of a function that is a condition.
func (p *parser) function(name string) (c condition) {
	switch name {
	case "attribute_exists", "attribute_not_exists":
		c = exists{p.path(), name == "attribute_exists"}
	case "begins_with":
		v := p.operand()
		p.mustSign(",")
		prefix := p.operand()
		for _, o := range []operand{v, prefix} {
			if l, ok := o.(literal); ok && l.v.kind != kindText && l.v.kind != kindBinary {
				p.fail("Incorrect operand type for operator or function; operator or function: begins_with, operand type: %s", l.v.kind)
			}
		}
		c = beginsWith{v, prefix}
	case "contains":
		in := p.operand()
		p.mustSign(",")
		c = contains{in, p.operand()}
	case "attribute_type":
		v := p.operand()
		p.mustSign(",")
		l, ok := p.literal()
		if !ok || l.kind != kindText || !slices.Contains(kinds, kind(l.text)) {
			p.fail("Invalid attribute type name found; type: %.20q", l.text)
		}
		c = hasType{v, kind(l.text)}
	default:
		p.fail("Invalid function name; function: %.40s", name)
	}
	p.mustSign(")")
	return c
}

var kinds = []kind{kindText, kindNumber, kindBinary, kindBool, kindNull, kindList, kindMap, kindTexts, kindNumbers, kindBinaries}
