package devtable

import (
	"go.etcd.io/bbolt"
)

const (
	mostKeys     = 100
	mostBatch    = 16 << 20 // bytes of a BatchGetItem's answer
	mostGet      = 100
	readUnitSize = 4 << 10
)

type getItem struct {
	TableName                string
	Key                      item
	ConsistentRead           bool              `json:",omitzero"`
	ProjectionExpression     *string           `json:",omitzero"`
	ExpressionAttributeNames map[string]string `json:",omitzero"`
	ReturnConsumedCapacity   string            `json:",omitzero"`
}

// projection parses a projection on its own; nil for none.
func projection(text *string, names map[string]string) (list []path, err error) {
	s := newScope(names, nil)
	if text != nil {
		if list, err = parseProjection(*text, s); err != nil {
			return nil, err
		}
	}
	return list, s.unused()
}

// readHalves are the half units that reading bytes costs.
func readHalves(bytes int, consistent bool) int {
	units := max(1, (bytes+readUnitSize-1)/readUnitSize)
	if consistent {
		return 2 * units
	}
	return units
}

func (s *Store) getItem(in getItem) (any, error) {
	wanted, err := projection(in.ProjectionExpression, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	var found item
	err = s.db.View(func(tx *bbolt.Tx) (err error) {
		found, err = s.read(tx, in.TableName, in.Key)
		return err
	})
	if err != nil {
		return nil, err
	}
	halves := readHalves(found.size(), in.ConsistentRead)
	s.readUnits.Add(int64(halves))
	out := map[string]any{}
	if found != nil {
		out["Item"] = project(found, wanted)
	}
	return withCapacity(out, in.ReturnConsumedCapacity, in.TableName, float64(halves)/2)
}

// read reads one item by a request's Key; nil if there is none.
func (s *Store) read(tx *bbolt.Tx, name string, key item) (item, error) {
	t, err := s.tableIn(tx, name)
	if err != nil {
		return nil, err
	}
	pk, sk, err := t.bareKey(key)
	if err != nil {
		return nil, err
	}
	return t.get(tx, pk, sk)
}

type batchGetItem struct {
	RequestItems           map[string]keysAndAttributes
	ReturnConsumedCapacity string `json:",omitzero"`
}

type keysAndAttributes struct {
	Keys                     []item
	ConsistentRead           bool              `json:",omitzero"`
	ProjectionExpression     *string           `json:",omitzero"`
	ExpressionAttributeNames map[string]string `json:",omitzero"`
}

// batchGetItem reads up to 100 items, and answers as many as fit into 16 MB: the others are unprocessed.
func (s *Store) batchGetItem(in batchGetItem) (any, error) {
	if in.ReturnConsumedCapacity != "" && in.ReturnConsumedCapacity != "NONE" {
		return nil, foreign("ReturnConsumedCapacity of a batch")
	}
	keys := 0
	for _, want := range in.RequestItems {
		keys += len(want.Keys)
	}
	if keys == 0 || keys > mostKeys {
		return nil, invalid("Too many items requested for the BatchGetItem call, or none: %d; want 1 to %d", keys, mostKeys)
	}
	responses, unprocessed := map[string][]item{}, map[string]keysAndAttributes{}
	bytes := 0
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range sortedKeys(in.RequestItems) {
			found, rest, err := s.batch(tx, name, in.RequestItems[name], &bytes)
			if err != nil {
				return err
			}
			responses[name] = found
			if len(rest.Keys) > 0 {
				unprocessed[name] = rest
			}
		}
		return nil
	})
	return map[string]any{"Responses": responses, "UnprocessedKeys": unprocessed}, err
}

// batch reads items of one table. bytes are those of the answer so far.
func (s *Store) batch(tx *bbolt.Tx, name string, want keysAndAttributes, bytes *int) (found []item, rest keysAndAttributes, err error) {
	wanted, err := projection(want.ProjectionExpression, want.ExpressionAttributeNames)
	if err != nil {
		return nil, rest, err
	}
	found, rest = []item{}, want
	rest.Keys = nil
	seen := map[string]bool{}
	for _, key := range want.Keys {
		name := string(key.encode())
		if seen[name] {
			return nil, rest, invalid("Provided list of item keys contains duplicates")
		}
		seen[name] = true
	}
	for i, key := range want.Keys {
		it, err := s.read(tx, name, key)
		if err != nil {
			return nil, rest, err
		}
		if *bytes += it.size(); *bytes > mostBatch {
			rest.Keys = want.Keys[i:]
			break
		}
		s.readUnits.Add(int64(readHalves(it.size(), want.ConsistentRead)))
		if it != nil {
			found = append(found, project(it, wanted))
		}
	}
	return found, rest, nil
}

type transactGetItems struct {
	TransactItems []struct {
		Get struct {
			TableName                string
			Key                      item
			ProjectionExpression     *string           `json:",omitzero"`
			ExpressionAttributeNames map[string]string `json:",omitzero"`
		}
	}
}

// transactGetItems reads items as they are at one moment.
func (s *Store) transactGetItems(in transactGetItems) (any, error) {
	if len(in.TransactItems) == 0 || len(in.TransactItems) > mostGet {
		return nil, invalid("TransactItems has %d actions: want 1 to %d", len(in.TransactItems), mostGet)
	}
	responses := []map[string]item{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		for _, action := range in.TransactItems {
			wanted, err := projection(action.Get.ProjectionExpression, action.Get.ExpressionAttributeNames)
			if err != nil {
				return err
			}
			it, err := s.read(tx, action.Get.TableName, action.Get.Key)
			if err != nil {
				return err
			}
			s.readUnits.Add(2 * int64(readHalves(it.size(), true)))
			response := map[string]item{}
			if it != nil {
				response["Item"] = project(it, wanted)
			}
			responses = append(responses, response)
		}
		return nil
	})
	return map[string]any{"Responses": responses}, err
}
