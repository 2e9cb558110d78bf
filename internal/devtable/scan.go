package devtable

import "go.etcd.io/bbolt"

// scan reads all items of a table, partition by partition.
func (s *Store) scan(in pageOf) (any, error) {
	if in.IndexName != "" {
		return nil, foreign("Scan of an index")
	}
	r, err := in.prepare(func(*scope) error { return nil })
	if err != nil {
		return nil, err
	}
	p := &page{}
	err = s.db.View(func(tx *bbolt.Tx) error {
		t, err := s.tableIn(tx, in.TableName)
		if err != nil {
			return err
		}
		cursor := t.items(tx).Cursor()
		place, raw := cursor.First()
		if in.ExclusiveStartKey != nil {
			pk, sk, err := t.bareKey(in.ExclusiveStartKey)
			if err != nil {
				return err
			}
			place, raw = cursor.Seek(append(itemKey(pk, sk), 0))
		}
		for ; place != nil; place, raw = cursor.Next() {
			it, err := decodeItem(raw)
			if err != nil {
				return err
			}
			if !r.take(p, it, t.key(it[t.Partition].text, it[t.Sort].text), it.size()) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.answer(r, p)
}
