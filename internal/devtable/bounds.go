package devtable

import "slices"

// bounds are the part of a partition that a key condition is about.
type bounds struct {
	pk       string
	from, to string // of the sort key, both included; to only with bounded
	prefix   string // or what the sort key begins with
	bounded  bool
	match    condition // the sort key's exact condition; nil: there is none
}

// keyRange understands a key condition: the partition key is equal to a text, and the sort key, if it is named at all, is
// equal to one, less, greater, between two, or begins with one.
func keyRange(where condition, partition, sort string) (b bounds, err error) {
	parts := []condition{where}
	if c, ok := where.(both); ok {
		parts = []condition{c.a, c.b}
	}
	unfit := invalid("Query condition missed key schema element: %s, or Query key condition not supported", partition)
	found := slices.IndexFunc(parts, func(c condition) bool {
		eq, ok := c.(comparison)
		return ok && eq.op == "=" && attributeOf(eq.a) == partition
	})
	if found < 0 {
		return b, unfit
	}
	if b.pk, err = literalText(parts[found].(comparison).b); err != nil {
		return b, err
	}
	rest := slices.Delete(parts, found, found+1)
	if len(rest) == 0 {
		return b, nil
	}
	b.match = rest[0]
	var name string
	switch c := rest[0].(type) {
	case comparison:
		name = attributeOf(c.a)
		err = b.compare(c)
	case between:
		name = attributeOf(c.v)
		b.bounded = true
		if b.from, err = literalText(c.from); err == nil {
			b.to, err = literalText(c.to)
		}
	case beginsWith:
		name = attributeOf(c.p)
		b.prefix, err = literalText(c.prefix)
	}
	if err == nil && name != sort {
		err = unfit
	}
	return b, err
}

func (b *bounds) compare(c comparison) (err error) {
	text, err := literalText(c.b)
	switch c.op {
	case "=":
		b.from, b.to, b.bounded = text, text, true
	case "<", "<=":
		b.to, b.bounded = text, true
	case ">", ">=":
		b.from = text
	default:
		return invalid("Query key condition not supported: %s", c.op)
	}
	return err
}

// attributeOf is the attribute that an operand is; empty for anything else.
func attributeOf(o operand) string {
	if a, ok := o.(at); ok && len(a.p) == 1 {
		return a.p[0].name
	}
	return ""
}

func literalText(o operand) (string, error) {
	l, ok := o.(literal)
	if !ok || l.v.kind != kindText || l.v.text == "" {
		return "", invalid("A key condition compares with a value of the type S that is not empty")
	}
	return l.v.text, nil
}

// in are the bounds in a bucket, the second one not included; nil is its end. In an index they are a little wide: match
// decides.
func (b bounds) in(isIndex bool) (from, to []byte) {
	base := partition(b.pk)
	escape := func(s string) string { return s }
	if isIndex {
		escape = func(s string) string { e := ended(s); return e[:len(e)-2] }
	}
	switch {
	case b.prefix != "":
		from = append(slices.Clone(base), escape(b.prefix)...)
		return from, after(from)
	case b.bounded:
		from = append(slices.Clone(base), escape(b.from)...)
		to = append(slices.Clone(base), escape(b.to)...)
		if isIndex {
			return from, after(to)
		}
		return from, append(to, 0)
	}
	return append(slices.Clone(base), escape(b.from)...), after(base)
}
