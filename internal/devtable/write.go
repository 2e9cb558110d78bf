package devtable

import (
	"go.etcd.io/bbolt"
)

// mostItem is how large an item may be, in bytes.
const mostItem = 400 << 10

// conditional is what all writes have.
type conditional struct {
	TableName                           string
	ConditionExpression                 *string           `json:",omitzero"`
	ExpressionAttributeNames            map[string]string `json:",omitzero"`
	ExpressionAttributeValues           item              `json:",omitzero"`
	ReturnValuesOnConditionCheckFailure string            `json:",omitzero"`
}

type (
	putAction struct {
		conditional
		Item item
	}
	updateAction struct {
		conditional
		Key              item
		UpdateExpression *string `json:",omitzero"`
	}
	keyAction struct { // a delete or a condition check
		conditional
		Key item
	}
)

// answered says what a single write is to answer.
type answered struct {
	ReturnValues           string `json:",omitzero"`
	ReturnConsumedCapacity string `json:",omitzero"`
}

// write is one write that was understood.
type write struct {
	tableName string
	keyed     item // has the keys
	bare      bool // and nothing else
	when      condition
	tell      bool // the item that the condition does not hold for is to be told
	update    *update
	next      func(old item) (item, error) // nil: nothing is written; it returns nil for nothing
}

// prepare understands what all writes have. what parses the other expressions of a request, before names and values are
// checked for being used.
func (c conditional) prepare(keyed item, more func(*scope, *write) error) (*write, error) {
	w := &write{tableName: c.TableName, keyed: keyed, bare: true}
	switch c.ReturnValuesOnConditionCheckFailure {
	case "", "NONE":
	case "ALL_OLD":
		w.tell = true
	default:
		return nil, invalid("ReturnValuesOnConditionCheckFailure is %.20q: want NONE or ALL_OLD", c.ReturnValuesOnConditionCheckFailure)
	}
	s := newScope(c.ExpressionAttributeNames, c.ExpressionAttributeValues)
	if c.ConditionExpression != nil {
		var err error
		if w.when, err = parseCondition("ConditionExpression", *c.ConditionExpression, s); err != nil {
			return nil, err
		}
	}
	if err := more(s, w); err != nil {
		return nil, err
	}
	return w, s.unused()
}

func (in putAction) prepare() (*write, error) {
	return in.conditional.prepare(in.Item, func(_ *scope, w *write) error {
		w.bare = false
		w.next = func(item) (item, error) { return in.Item, nil }
		return nil
	})
}

func (in updateAction) prepare() (*write, error) {
	return in.conditional.prepare(in.Key, func(s *scope, w *write) (err error) {
		w.update = &update{}
		if in.UpdateExpression != nil {
			w.update, err = parseUpdate(*in.UpdateExpression, s)
		}
		w.next = func(old item) (item, error) {
			if old == nil {
				old = in.Key
			}
			return w.update.apply(old)
		}
		return err
	})
}

// prepareDelete is that of an action that deletes, prepareCheck that of one that only looks.
func (in keyAction) prepareDelete() (*write, error) {
	return in.conditional.prepare(in.Key, func(_ *scope, w *write) error {
		w.next = func(item) (item, error) { return nil, nil }
		return nil
	})
}

func (in keyAction) prepareCheck() (*write, error) {
	if in.ConditionExpression == nil {
		return nil, invalid("A ConditionCheck needs a ConditionExpression")
	}
	return in.conditional.prepare(in.Key, func(*scope, *write) error { return nil })
}

// planned is a write that may be made.
type planned struct {
	*write
	t        *table
	pk, sk   string
	old, new item // nil: there is none
}

// plan looks up what a write is about, and says what it makes of it. A condition that does not hold is an *Error of that type.
func (s *Store) plan(tx *bbolt.Tx, w *write) (p planned, err error) {
	p.write = w
	if p.t, err = s.tableIn(tx, w.tableName); err != nil {
		return p, err
	}
	if w.bare {
		p.pk, p.sk, err = p.t.bareKey(w.keyed)
	} else {
		p.pk, p.sk, err = p.t.keyOf(w.keyed)
	}
	if err != nil {
		return p, err
	}
	if p.old, err = p.t.get(tx, p.pk, p.sk); err != nil {
		return p, err
	}
	if w.when != nil && !w.when.holds(p.old) {
		refused := failure(typeConditionFailed, conditionFailed)
		if w.tell {
			refused.Item = p.old
		}
		return p, refused
	}
	p.new = p.old
	if w.next == nil {
		return p, nil
	}
	if w.update != nil {
		for _, path := range w.update.paths() {
			if name := path[0].name; name == p.t.Partition || name == p.t.Sort {
				return p, invalid("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", name)
			}
		}
	}
	if p.new, err = w.next(p.old); err == nil {
		err = p.t.fits(p.new)
	}
	return p, err
}

// fits refuses an item that cannot be stored.
func (t *table) fits(it item) error {
	for _, x := range t.Indexes {
		if _, _, err := x.indexed(it); err != nil {
			return err
		}
	}
	if it.size() > mostItem {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	return nil
}

// make makes a planned write, and returns the units that it costs.
func (p planned) make(tx *bbolt.Tx) (units int, err error) {
	units = writeUnits(max(p.old.size(), p.new.size()))
	if p.next == nil {
		return units, nil
	}
	items, key := p.t.items(tx), itemKey(p.pk, p.sk)
	if p.new == nil {
		err = items.Delete(key)
	} else {
		err = items.Put(key, p.new.encode())
	}
	for _, x := range p.t.Indexes {
		was, had, _ := x.indexed(p.old)
		is, has, _ := x.indexed(p.new)
		if had == has && was == is || err != nil {
			continue
		}
		keys := p.t.index(tx, x)
		if had {
			units++
			err = keys.Delete(indexKey(p.pk, was, p.sk))
		}
		if has && err == nil {
			units++
			err = keys.Put(indexKey(p.pk, is, p.sk), nil)
		}
	}
	return units, err
}

func writeUnits(bytes int) int { return max(1, (bytes+1023)/1024) }

// tableIn finds a table that is there for as long as tx.
func (s *Store) tableIn(tx *bbolt.Tx, name string) (*table, error) {
	t, err := s.table(name)
	if err == nil && t.items(tx) == nil { // it was deleted meanwhile
		err = notFound()
	}
	return t, err
}

// get reads an item; nil if there is none.
func (t *table) get(tx *bbolt.Tx, pk, sk string) (item, error) {
	raw := t.items(tx).Get(itemKey(pk, sk))
	if raw == nil {
		return nil, nil
	}
	return decodeItem(raw)
}

// single makes one write and answers it.
func (s *Store) single(w *write, how answered) (any, error) {
	switch how.ReturnValues {
	case "", "NONE", "ALL_OLD":
	case "ALL_NEW":
		if w.update == nil {
			return nil, invalid("Return values set to invalid value")
		}
	default:
		return nil, foreign("ReturnValues " + how.ReturnValues)
	}
	var p planned
	units := 0
	err := s.db.Update(func(tx *bbolt.Tx) (err error) {
		if p, err = s.plan(tx, w); err == nil {
			units, err = p.make(tx)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.writeUnits.Add(2 * int64(units))
	out := map[string]any{}
	switch attributes := map[string]item{"ALL_OLD": p.old, "ALL_NEW": p.new}[how.ReturnValues]; {
	case attributes != nil:
		out["Attributes"] = attributes
	}
	return withCapacity(out, how.ReturnConsumedCapacity, w.tableName, float64(units))
}

// withCapacity adds what an operation has used, if that was asked for.
func withCapacity(out map[string]any, asked, table string, units float64) (any, error) {
	switch asked {
	case "", "NONE":
	case "TOTAL":
		out["ConsumedCapacity"] = map[string]any{"TableName": table, "CapacityUnits": units}
	default:
		return nil, foreign("ReturnConsumedCapacity " + asked)
	}
	return out, nil
}

type (
	putItem struct {
		putAction
		answered
	}
	updateItem struct {
		updateAction
		answered
	}
	deleteItem struct {
		keyAction
		answered
	}
)

func (s *Store) putItem(in putItem) (any, error) {
	w, err := in.prepare()
	if err != nil {
		return nil, err
	}
	return s.single(w, in.answered)
}

func (s *Store) updateItem(in updateItem) (any, error) {
	w, err := in.prepare()
	if err != nil {
		return nil, err
	}
	return s.single(w, in.answered)
}

func (s *Store) deleteItem(in deleteItem) (any, error) {
	w, err := in.prepareDelete()
	if err != nil {
		return nil, err
	}
	return s.single(w, in.answered)
}
