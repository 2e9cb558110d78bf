package devtable

import (
	"bytes"
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

// Sweep deletes what has expired, in tables that have a time to live, and the tokens of transactions that nobody repeats any
// more. Serve calls it now and then.
func (s *Store) Sweep() error {
	now := s.Now()
	s.mu.Lock()
	names := sortedKeys(s.tables)
	s.mu.Unlock()
	var faults []error
	for _, name := range names {
		faults = append(faults, s.sweepTable(name, now))
	}
	return errors.Join(append(faults, s.sweepTokens(now))...)
}

// sweepTable looks for what has expired without holding up writes, and then deletes it.
func (s *Store) sweepTable(name string, now time.Time) error {
	expired := func(t *table, it item) bool {
		v, ok := it[t.TTL]
		return ok && t.TTL != "" && v.kind == kindNumber && v.number().compare(decimalOf(int(now.Unix()))) < 0
	}
	var keys []item
	err := s.db.View(func(tx *bbolt.Tx) error {
		t, err := s.tableIn(tx, name)
		if err != nil || t.TTL == "" {
			return nil // it was deleted, or keeps everything
		}
		return t.items(tx).ForEach(func(_, raw []byte) error {
			it, err := decodeItem(raw)
			if err == nil && expired(t, it) {
				keys = append(keys, t.key(it[t.Partition].text, it[t.Sort].text))
			}
			return err
		})
	})
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, key := range keys {
			p, err := s.plan(tx, &write{tableName: name, keyed: key, bare: true, next: func(item) (item, error) { return nil, nil }})
			if err == nil && expired(p.t, p.old) {
				_, err = p.make(tx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) sweepTokens(now time.Time) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		var old [][]byte
		tokens := tx.Bucket(bucketTokens)
		err := tokens.ForEach(func(name, note []byte) error {
			if !noted(note).Add(tokenLife).After(now) {
				old = append(old, bytes.Clone(name))
			}
			return nil
		})
		for _, name := range old {
			if err == nil {
				err = tokens.Delete(name)
			}
		}
		return err
	})
}
