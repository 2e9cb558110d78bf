package devtable

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Keys in the file: those of items are the partition key's length, the partition key and the sort key, so that the items of
// one partition lie together, in the order of their sort keys. Those of an index are the same with the index's own sort key,
// ended so that longer ones come later, before the table's.

const (
	mostPartition = 2048 // bytes
	mostSort      = 1024
)

// partition begins all keys of one.
func partition(pk string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(pk))), pk...)
}

func itemKey(pk, sk string) []byte { return append(partition(pk), sk...) }

func indexKey(pk, by, sk string) []byte { return append(append(partition(pk), ended(by)...), sk...) }

// ended is a text that sorts before all that are longer, with its end marked.
func ended(s string) string { return strings.ReplaceAll(s, "\x00", "\x00\xff") + "\x00\x00" }

// cutIndexKey is what indexKey was made from; pk is not needed, as whoever reads has it.
func cutIndexKey(key []byte, pk string) (by, sk string) {
	rest := string(key[len(partition(pk)):])
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] != 0 {
			continue
		}
		if rest[i+1] == 0 {
			return strings.ReplaceAll(rest[:i], "\x00\xff", "\x00"), rest[i+2:]
		}
		i++
	}
	return "", ""
}

// keyOf are the two keys in an item or a request's Key.
func (t *table) keyOf(it item) (pk, sk string, err error) {
	for _, k := range []struct {
		name string
		to   *string
		most int
	}{{t.Partition, &pk, mostPartition}, {t.Sort, &sk, mostSort}} {
		v, ok := it[k.name]
		switch {
		case !ok:
			return "", "", invalid("One or more parameter values were invalid: Missing the key %s in the item", k.name)
		case v.kind != kindText:
			return "", "", invalid("One or more parameter values were invalid: Type mismatch for key %s expected: S actual: %s", k.name, v.kind)
		case v.text == "":
			return "", "", invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain "+
				"an empty string value. Key: %s", k.name)
		case len(v.text) > k.most:
			return "", "", invalid("One or more parameter values were invalid: Size of the key %s has exceeded the maximum size limit of %d bytes",
				k.name, k.most)
		}
		*k.to = v.text
	}
	return pk, sk, nil
}

// bareKey is keyOf for a request's Key, which has nothing else.
func (t *table) bareKey(key item) (pk, sk string, err error) {
	if len(key) != 2 {
		return "", "", invalid("The provided key element does not match the schema")
	}
	if pk, sk, err = t.keyOf(key); err != nil {
		return "", "", invalid("The provided key element does not match the schema: %s", err.(*Error).Message)
	}
	return pk, sk, nil
}

// indexed is an item's key in an index; ok is false if the item is not in it.
func (x index) indexed(it item) (by string, ok bool, err error) {
	v, ok := it[x.Sort]
	switch {
	case !ok:
		return "", false, nil
	case v.kind != kindText:
		return "", false, invalid("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: S Actual: %s IndexName: %s",
			x.Sort, v.kind, x.Name)
	case v.text == "":
		return "", false, invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. "+
			"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, IndexKey: %s", x.Name, x.Sort)
	case len(v.text) > mostSort:
		return "", false, invalid("One or more parameter values were invalid: Size of the key %s has exceeded the maximum size limit of %d bytes",
			x.Sort, mostSort)
	}
	return v.text, true, nil
}

func (t *table) key(pk, sk string) item {
	return item{t.Partition: {kind: kindText, text: pk}, t.Sort: {kind: kindText, text: sk}}
}

// after is the first key behind all that begin with prefix; nil if there is none.
func after(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
