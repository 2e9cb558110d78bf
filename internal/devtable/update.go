package devtable

import (
	"cmp"
	"slices"
	"strings"
)

// update is a parsed UpdateExpression.
type update struct {
	sets    []assignment
	removes []path
}

type assignment struct {
	to   path
	from term
}

// term is what is assigned. It is read from the item as it was before.
type term interface {
	value(it item) (value, error)
}

type (
	ifNotExists struct {
		p     path
		other term
	}
	listAppend struct{ a, b term }
	sum        struct {
		a, b  term
		minus bool
	}
	read struct{ p path }
)

func (l literal) value(item) (value, error) { return l.v, nil }

func (r read) value(it item) (value, error) {
	if v, ok := r.p.in(it); ok {
		return v, nil
	}
	return value{}, invalid("The provided expression refers to an attribute that does not exist in the item")
}

func (t ifNotExists) value(it item) (value, error) {
	if v, ok := t.p.in(it); ok {
		return v, nil
	}
	return t.other.value(it)
}

func (t listAppend) value(it item) (value, error) {
	a, b, err := two(it, t.a, t.b)
	if err == nil && (a.kind != kindList || b.kind != kindList) {
		err = invalid("An operand in the update expression has an incorrect data type")
	}
	return value{kind: kindList, list: slices.Concat(a.list, b.list)}, err
}

func (t sum) value(it item) (value, error) {
	a, b, err := two(it, t.a, t.b)
	if err != nil {
		return value{}, err
	}
	if a.kind != kindNumber || b.kind != kindNumber {
		return value{}, invalid("An operand in the update expression has an incorrect data type")
	}
	n, err := a.number().plus(b.number(), t.minus)
	if err != nil {
		return value{}, err
	}
	return value{kind: kindNumber, text: n.String()}, nil
}

func two(it item, first, second term) (a, b value, err error) {
	if a, err = first.value(it); err == nil {
		b, err = second.value(it)
	}
	return a, b, err
}

func parseUpdate(text string, s *scope) (*update, error) {
	return parse("UpdateExpression", text, s, (*parser).update)
}

func (p *parser) update() *update {
	u, seen := &update{}, map[string]bool{}
	for p.peek().kind != tokenEnd {
		section := strings.ToUpper(p.next().text)
		if seen[section] {
			p.fail("The %q section can only be used once in an update expression;", section)
		}
		seen[section] = true
		switch section {
		case "SET":
			for more := true; more; more = p.sign(",") {
				to := p.path()
				p.mustSign("=")
				u.sets = append(u.sets, assignment{to, p.sum()})
			}
		case "REMOVE":
			for more := true; more; more = p.sign(",") {
				u.removes = append(u.removes, p.path())
			}
		case "ADD", "DELETE":
			panic(foreign(section + " in an UpdateExpression"))
		default:
			p.at--
			p.unexpected()
		}
	}
	p.refuseOverlaps(u.paths())
	return u
}

func (p *parser) refuseOverlaps(paths []path) {
	for i, a := range paths {
		for _, b := range paths[:i] {
			if a.overlaps(b) {
				p.fail("Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [%s], path two: [%s]", b, a)
			}
		}
	}
}

// paths are all that an update writes.
func (u *update) paths() (list []path) {
	for _, s := range u.sets {
		list = append(list, s.to)
	}
	return append(list, u.removes...)
}

// sum reads a term, or two that are added.
func (p *parser) sum() term {
	a := p.term()
	for _, sign := range []string{"+", "-"} {
		if p.sign(sign) {
			return sum{a, p.term(), sign == "-"}
		}
	}
	return a
}

func (p *parser) term() term {
	if v, ok := p.literal(); ok {
		return literal{v}
	}
	if p.sign("(") {
		t := p.sum()
		p.mustSign(")")
		return t
	}
	name, ok := p.call()
	if !ok {
		return read{p.path()}
	}
	var t term
	switch name {
	case "if_not_exists":
		where := p.path()
		p.mustSign(",")
		t = ifNotExists{where, p.term()}
	case "list_append":
		a := p.term()
		p.mustSign(",")
		t = listAppend{a, p.term()}
	default:
		p.fail("Invalid function name; function: %.40s", name)
	}
	p.mustSign(")")
	return t
}

// apply is the item after an update. it stays as it is.
func (u *update) apply(it item) (item, error) {
	root := value{kind: kindMap, m: it}
	values := make([]value, len(u.sets))
	for i, s := range u.sets {
		var err error
		if values[i], err = s.from.value(it); err != nil {
			return nil, err
		}
	}
	order := make([]int, len(u.sets)) // what is behind the end of a list is added in the order of its indexes
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return u.sets[a].to.compare(u.sets[b].to) })
	for _, i := range order {
		next, ok := root.with(u.sets[i].to, values[i])
		if !ok {
			return nil, invalid("The document path provided in the update expression is invalid for update")
		}
		root = next
	}
	removes := slices.SortedStableFunc(slices.Values(u.removes), func(a, b path) int { return b.compare(a) })
	for _, p := range removes { // from behind, so that the indexes before stay what they are
		next, ok := root.without(p)
		if !ok {
			return nil, invalid("The document path provided in the update expression is invalid for update")
		}
		root = next
	}
	return root.m, nil
}

// compare orders paths, those into one list by their indexes.
func (p path) compare(other path) int {
	return slices.CompareFunc(p, other, func(a, b step) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.index, b.index))
	})
}

// with is a value in which another is at a path; false if there is nothing that the path could lead through.
func (v value) with(p path, put value) (value, bool) {
	if len(p) == 0 {
		return put, true
	}
	s := p[0]
	if s.name != "" {
		child, there := v.m[s.name]
		if v.kind != kindMap || !there && len(p) > 1 {
			return v, false
		}
		child, ok := child.with(p[1:], put)
		v.m = clone(v.m)
		v.m[s.name] = child
		return v, ok
	}
	if v.kind != kindList || s.index >= len(v.list) && len(p) > 1 {
		return v, false
	}
	if s.index >= len(v.list) {
		v.list = append(slices.Clip(v.list), put)
		return v, true
	}
	child, ok := v.list[s.index].with(p[1:], put)
	v.list = slices.Clone(v.list)
	v.list[s.index] = child
	return v, ok
}

// without is a value in which nothing is at a path. What is not there need not be removed, but its parents must be there.
func (v value) without(p path) (value, bool) {
	s, last := p[0], len(p) == 1
	if s.name != "" {
		child, there := v.m[s.name]
		switch {
		case v.kind != kindMap || !there && !last:
			return v, false
		case !there:
			return v, true
		}
		v.m = clone(v.m)
		if last {
			delete(v.m, s.name)
			return v, true
		}
		child, ok := child.without(p[1:])
		v.m[s.name] = child
		return v, ok
	}
	switch {
	case v.kind != kindList || s.index >= len(v.list) && !last:
		return v, false
	case s.index >= len(v.list):
		return v, true
	}
	v.list = slices.Clone(v.list)
	if last {
		v.list = slices.Delete(v.list, s.index, s.index+1)
		return v, true
	}
	child, ok := v.list[s.index].without(p[1:])
	v.list[s.index] = child
	return v, ok
}

// clone is a copy of an item that may be changed.
func clone(it item) item {
	next := make(item, len(it)+1)
	for name, v := range it {
		next[name] = v
	}
	return next
}
