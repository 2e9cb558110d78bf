package devtable

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"go.etcd.io/bbolt"
)

// table is a table's definition, as it is stored.
type table struct {
	Name      string
	Partition string
	Sort      string
	Indexes   []index
	TTL       string  // the attribute; empty: nothing expires
	Created   float64 // Unix seconds
}

// index is a local secondary one, of KEYS_ONLY.
type index struct{ Name, Sort string }

func (t *table) items(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket([]byte("items/" + t.Name)) }

func (t *table) index(tx *bbolt.Tx, x index) *bbolt.Bucket {
	return tx.Bucket([]byte("index/" + t.Name + "/" + x.Name))
}

func (t *table) indexNamed(name string) (index, bool) {
	i := slices.IndexFunc(t.Indexes, func(x index) bool { return x.Name == name })
	if i < 0 {
		return index{}, false
	}
	return t.Indexes[i], true
}

// table finds a table by its name or ARN.
func (s *Store) table(name string) (*table, error) {
	if _, after, ok := strings.Cut(name, ":table/"); ok {
		name = after
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil {
		return t, nil
	}
	return nil, notFound()
}

// put stores a definition.
func (s *Store) put(tx *bbolt.Tx, t *table) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketTables).Put([]byte(t.Name), raw)
}

type keyElement struct{ AttributeName, KeyType string }

type createTable struct {
	TableName             string
	BillingMode           string `json:",omitzero"`
	AttributeDefinitions  []struct{ AttributeName, AttributeType string }
	KeySchema             []keyElement
	LocalSecondaryIndexes []struct {
		IndexName  string
		KeySchema  []keyElement
		Projection struct{ ProjectionType string }
	}
}

// keys are the two names of a key schema.
func (c createTable) keys(schema []keyElement) (partition, sort string, err error) {
	if len(schema) != 2 || schema[0].KeyType != "HASH" || schema[1].KeyType != "RANGE" {
		return "", "", foreign("tables and indexes without a partition key and a sort key, in this order")
	}
	for _, key := range schema {
		text := false
		for _, d := range c.AttributeDefinitions {
			text = text || d.AttributeName == key.AttributeName && d.AttributeType == "S"
		}
		if !text {
			return "", "", foreign("keys that are no text (" + key.AttributeName + ")")
		}
	}
	return schema[0].AttributeName, schema[1].AttributeName, nil
}

// definition is the table that is asked for.
func (c createTable) definition() (*table, error) {
	if c.BillingMode != "" && c.BillingMode != "PAY_PER_REQUEST" {
		return nil, foreign("BillingMode " + c.BillingMode)
	}
	if len(c.TableName) < 3 || len(c.TableName) > 255 || strings.Trim(c.TableName, nameBytes) != "" {
		return nil, invalid("TableName is %.40q: want 3 to 255 letters, digits, -, _ or .", c.TableName)
	}
	t := &table{Name: c.TableName}
	var err error
	if t.Partition, t.Sort, err = c.keys(c.KeySchema); err != nil {
		return nil, err
	}
	for _, x := range c.LocalSecondaryIndexes {
		hash, sort, err := c.keys(x.KeySchema)
		switch {
		case err != nil:
			return nil, err
		case hash != t.Partition:
			return nil, invalid("Local Secondary index hash key must match the table's: %s", t.Partition)
		case x.Projection.ProjectionType != "KEYS_ONLY":
			return nil, foreign("the projection " + x.Projection.ProjectionType + " of an index")
		}
		t.Indexes = append(t.Indexes, index{x.IndexName, sort})
	}
	return t, nil
}

func (s *Store) createTable(in createTable) (any, error) {
	t, err := in.definition()
	if err != nil {
		return nil, err
	}
	t.Created = float64(s.Now().UnixMilli()) / 1000
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[t.Name] != nil {
		return nil, failure(typeInUse, "Table already exists: %s", t.Name)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists([]byte("items/" + t.Name)); err != nil {
			return err
		}
		for _, x := range t.Indexes {
			if _, err := tx.CreateBucketIfNotExists([]byte("index/" + t.Name + "/" + x.Name)); err != nil {
				return err
			}
		}
		return s.put(tx, t)
	})
	if err != nil {
		return nil, err
	}
	s.tables[t.Name] = t
	return map[string]any{"TableDescription": t.describe()}, nil
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

type named struct{ TableName string }

// describe is what DescribeTable answers.
func (t *table) describe() map[string]any {
	schema := func(sort string) []keyElement { return []keyElement{{t.Partition, "HASH"}, {sort, "RANGE"}} }
	definitions := []map[string]string{
		{"AttributeName": t.Partition, "AttributeType": "S"}, {"AttributeName": t.Sort, "AttributeType": "S"},
	}
	indexes := []map[string]any{}
	for _, x := range t.Indexes {
		definitions = append(definitions, map[string]string{"AttributeName": x.Sort, "AttributeType": "S"})
		indexes = append(indexes, map[string]any{
			"IndexName": x.Name, "KeySchema": schema(x.Sort), "Projection": map[string]string{"ProjectionType": "KEYS_ONLY"},
		})
	}
	return map[string]any{
		"TableName": t.Name, "TableStatus": "ACTIVE", "CreationDateTime": t.Created, "KeySchema": schema(t.Sort),
		"AttributeDefinitions": definitions, "LocalSecondaryIndexes": indexes, "DeletionProtectionEnabled": false,
		"TableArn":           "arn:aws:dynamodb:us-east-1:000000000000:table/" + t.Name,
		"BillingModeSummary": map[string]string{"BillingMode": "PAY_PER_REQUEST"},
	}
}

func (s *Store) describeTable(in named) (any, error) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Table": t.describe()}, nil
}

func (s *Store) deleteTable(in named) (any, error) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket([]byte("items/" + t.Name)); err != nil {
			return err
		}
		for _, x := range t.Indexes {
			if err := tx.DeleteBucket([]byte("index/" + t.Name + "/" + x.Name)); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketTables).Delete([]byte(t.Name))
	})
	if err != nil {
		return nil, err
	}
	delete(s.tables, t.Name)
	return map[string]any{"TableDescription": t.describe()}, nil
}

type timeToLive struct {
	TableName               string
	TimeToLiveSpecification struct {
		AttributeName string
		Enabled       bool
	}
}

func (s *Store) updateTimeToLive(in timeToLive) (any, error) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	next := *t
	if next.TTL = ""; in.TimeToLiveSpecification.Enabled {
		next.TTL = in.TimeToLiveSpecification.AttributeName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.db.Update(func(tx *bbolt.Tx) error { return s.put(tx, &next) }); err != nil {
		return nil, err
	}
	s.tables[t.Name] = &next
	return map[string]any{"TimeToLiveSpecification": map[string]any{
		"AttributeName": in.TimeToLiveSpecification.AttributeName, "Enabled": in.TimeToLiveSpecification.Enabled,
	}}, nil
}

func (s *Store) describeTimeToLive(in named) (any, error) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	found := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if t.TTL != "" {
		found = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": t.TTL}
	}
	return map[string]any{"TimeToLiveDescription": found}, nil
}
