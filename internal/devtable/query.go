package devtable

import (
	"bytes"

	"go.etcd.io/bbolt"
)

const (
	mostPage  = 1 << 20 // bytes that a page of Query and Scan reads
	perKeyRow = 100     // bytes that a row of an index takes beside its keys, for its capacity
)

// pageOf is what Query and Scan have in common.
type pageOf struct {
	TableName                 string
	IndexName                 string            `json:",omitzero"`
	Limit                     int               `json:",omitzero"`
	Select                    string            `json:",omitzero"`
	ExclusiveStartKey         item              `json:",omitzero"`
	ConsistentRead            bool              `json:",omitzero"`
	FilterExpression          *string           `json:",omitzero"`
	ProjectionExpression      *string           `json:",omitzero"`
	ExpressionAttributeNames  map[string]string `json:",omitzero"`
	ExpressionAttributeValues item              `json:",omitzero"`
	ReturnConsumedCapacity    string            `json:",omitzero"`
}

type query struct {
	pageOf
	KeyConditionExpression *string
	ScanIndexForward       *bool `json:",omitzero"`
}

// reading is a Query or a Scan that was understood.
type reading struct {
	pageOf
	filter condition
	wanted []path
	count  bool // the number alone is wanted
}

// prepare understands what both have. more parses the other expressions.
func (in pageOf) prepare(more func(*scope) error) (r *reading, err error) {
	r = &reading{pageOf: in}
	switch in.Select {
	case "", "ALL_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES":
		if in.Select == "ALL_ATTRIBUTES" && in.IndexName != "" || (in.Select == "SPECIFIC_ATTRIBUTES") != (in.ProjectionExpression != nil) && in.Select != "" {
			return nil, foreign("Select " + in.Select + " with this index or projection")
		}
	case "COUNT":
		r.count = true
	default:
		return nil, invalid("Select is %.30q, which there is not", in.Select)
	}
	if in.Limit < 0 {
		return nil, invalid("Limit is %d: want 1 or more", in.Limit)
	}
	s := newScope(in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	if in.FilterExpression != nil {
		if r.filter, err = parseCondition("FilterExpression", *in.FilterExpression, s); err != nil {
			return nil, err
		}
	}
	if in.ProjectionExpression != nil {
		if r.wanted, err = parseProjection(*in.ProjectionExpression, s); err != nil {
			return nil, err
		}
	}
	if err := more(s); err != nil {
		return nil, err
	}
	return r, s.unused()
}

// page is what was read.
type page struct {
	items   []item
	scanned int
	bytes   int
	last    item // where the next page begins; nil: there is none
}

// take adds what was read to a page, and reports whether there is room for more. key is where it is.
func (r *reading) take(p *page, it, key item, bytes int) (more bool) {
	p.scanned++
	p.bytes += bytes
	if r.filter == nil || r.filter.holds(it) {
		p.items = append(p.items, it)
	}
	if p.scanned == r.Limit || p.bytes > mostPage {
		p.last = key
		return false
	}
	return true
}

// answer is a page as the API has it.
func (s *Store) answer(r *reading, p *page) (any, error) {
	halves := readHalves(p.bytes, r.ConsistentRead)
	s.readUnits.Add(int64(halves))
	out := map[string]any{"Count": len(p.items), "ScannedCount": p.scanned}
	if !r.count {
		items := make([]item, 0, len(p.items))
		for _, it := range p.items {
			items = append(items, project(it, r.wanted))
		}
		out["Items"] = items
	}
	if p.last != nil {
		out["LastEvaluatedKey"] = p.last
	}
	return withCapacity(out, r.ReturnConsumedCapacity, r.TableName, float64(halves)/2)
}

func (s *Store) query(in query) (any, error) {
	var where condition
	r, err := in.pageOf.prepare(func(sc *scope) (err error) {
		if in.KeyConditionExpression == nil {
			return invalid("KeyConditionExpression must be given: this is no Scan")
		}
		where, err = parseCondition("KeyConditionExpression", *in.KeyConditionExpression, sc)
		return err
	})
	if err != nil {
		return nil, err
	}
	p := &page{}
	err = s.db.View(func(tx *bbolt.Tx) error {
		t, err := s.tableIn(tx, in.TableName)
		if err != nil {
			return err
		}
		rows, err := t.rows(tx, in.IndexName)
		if err != nil {
			return err
		}
		keys, err := keyRange(where, t.Partition, rows.sort)
		if err != nil {
			return err
		}
		backwards := in.ScanIndexForward != nil && !*in.ScanIndexForward
		return rows.walk(keys, backwards, in.ExclusiveStartKey, func(it, key item, bytes int) bool { return r.take(p, it, key, bytes) })
	})
	if err != nil {
		return nil, err
	}
	return s.answer(r, p)
}

// rows are a table's items, or an index's keys, as a Query reads them.
type rows struct {
	t      *table
	bucket *bbolt.Bucket
	index  *index // nil: the table itself
	sort   string
}

func (t *table) rows(tx *bbolt.Tx, name string) (rows, error) {
	if name == "" {
		return rows{t, t.items(tx), nil, t.Sort}, nil
	}
	x, ok := t.indexNamed(name)
	if !ok {
		return rows{}, invalid("The table does not have the specified index: %.60s", name)
	}
	return rows{t, t.index(tx, x), &x, x.Sort}, nil
}

// at is where a row is in its bucket.
func (r rows) at(key item) ([]byte, error) {
	pk, sk, err := r.t.keyOf(key)
	if err != nil || r.index == nil {
		return itemKey(pk, sk), err
	}
	by, ok, err := r.index.indexed(key)
	if err == nil && !ok {
		err = invalid("The provided starting key is invalid: it has no %s", r.sort)
	}
	return indexKey(pk, by, sk), err
}

// row reads what is at a place: the item, its key, and how many bytes were read.
func (r rows) row(pk string, place, raw []byte) (it, key item, bytes int, err error) {
	if r.index == nil {
		it, err = decodeItem(raw)
		return it, r.t.key(pk, it[r.t.Sort].text), it.size(), err
	}
	by, sk := cutIndexKey(place, pk)
	key = r.t.key(pk, sk)
	key[r.sort] = value{kind: kindText, text: by}
	return key, key, key.size() + perKeyRow, nil
}

// walk calls use with the rows of a range, until it returns false. start is the row before the first one; nil: there is none.
func (r rows) walk(keys bounds, backwards bool, start item, use func(it, key item, bytes int) bool) error {
	from, to := keys.in(r.index != nil)
	if start != nil {
		at, err := r.at(start)
		if err != nil {
			return err
		}
		if backwards {
			to = at
		} else {
			from = append(at, 0)
		}
	}
	cursor := r.bucket.Cursor()
	step := cursor.Next
	place, raw := cursor.Seek(from)
	if backwards {
		step = cursor.Prev
		place, raw = lastBefore(cursor, to)
	}
	for ; place != nil && bytes.Compare(place, from) >= 0 && (to == nil || bytes.Compare(place, to) < 0); place, raw = step() {
		it, key, size, err := r.row(keys.pk, place, raw)
		if err != nil {
			return err
		}
		if keys.match != nil && !keys.match.holds(it) {
			continue // beside the exact bounds
		}
		if !use(it, key, size) {
			return nil
		}
	}
	return nil
}

// lastBefore goes to the last row before a place; nil is the end.
func lastBefore(cursor *bbolt.Cursor, to []byte) (place, raw []byte) {
	if to != nil {
		if found, _ := cursor.Seek(to); found != nil {
			return cursor.Prev()
		}
	}
	return cursor.Last()
}
