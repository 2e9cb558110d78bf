package devtable

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// requests are the seeds: what Amazon's DynamoDB was asked.
func requests(f *testing.F) (list []struct {
	Op string
	In map[string]any
}) {
	raw, err := os.ReadFile("testdata/conversation.json")
	if err != nil {
		f.Fatal(err)
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		f.Fatal(err)
	}
	return list
}

// FuzzExpression: whatever an expression says, it is understood or refused with a ValidationException, and what is understood
// can be tried on an item, which stays as it is.
func FuzzExpression(f *testing.F) {
	for _, r := range requests(f) {
		for name, v := range r.In {
			if text, ok := v.(string); ok && strings.HasSuffix(name, "Expression") {
				f.Add(text)
			}
		}
	}
	f.Add("#w <> :w AND (attribute_not_exists(#size) OR #size <= :room)")
	f.Add("SET #done[3] = :outcome REMOVE #due, #since")
	f.Fuzz(func(t *testing.T, text string) {
		names, values := map[string]string{}, item{}
		tokens, _ := cutTokens("", text)
		for i, token := range tokens {
			switch token.kind {
			case tokenAlias:
				names[token.text] = "n" + token.text[1:]
			case tokenValue:
				values[token.text] = []value{{kind: kindText, text: "x"}, {kind: kindNumber, text: "1"}, {kind: kindList}}[i%3]
			}
		}
		it := item{"n": {kind: kindNumber, text: "7"}, "l": {kind: kindList, list: []value{{kind: kindText, text: "a"}}}, "nm": {kind: kindMap, m: item{}}}
		before := string(it.encode())
		s := newScope(names, values)
		c, err := parseCondition("ConditionExpression", text, s)
		mustBeInvalid(t, err)
		if err == nil {
			if c.holds(it) == (not{c}).holds(it) {
				t.Fatal("a condition holds and does not")
			}
			if _, err := keyRange(c, "pk", "sk"); err != nil {
				mustBeInvalid(t, err)
			}
		}
		u, err := parseUpdate(text, s)
		mustBeInvalid(t, err)
		if err == nil {
			next, err := u.apply(it)
			mustBeInvalid(t, err)
			if err == nil {
				if again, err := decodeItem(next.encode()); err != nil || again.size() != next.size() {
					t.Fatal("what an update makes cannot be stored: ", err)
				}
			}
		}
		_, err = parseProjection(text, s)
		mustBeInvalid(t, err)
		if string(it.encode()) != before {
			t.Fatal("an expression has changed the item that it was tried on")
		}
	})
}

func mustBeInvalid(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if fault, is := err.(*Error); !is || fault.Type != "ValidationException" || fault.Message == "" {
		t.Fatalf("%T %v", err, err)
	}
}

// FuzzRequest: whatever a request says, it is answered, and never as a fault of the table's own.
func FuzzRequest(f *testing.F) {
	for _, r := range requests(f) {
		body, err := json.Marshal(r.In)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.Op, body)
	}
	f.Add("PutItem", []byte(`{"TableName":"Talk","Item":{"pk":{"S":"a"},"sk":{"S":"b"},"x":{"L":[{"L":[{"M":{"a":{"NS":["1","-0.5"]}}}]}]}}}`))
	f.Add("UpdateTimeToLive", []byte(`{"TableName":"Talk","TimeToLiveSpecification":{"AttributeName":"expires","Enabled":true}}`))
	f.Add("CreateTable", []byte(`{"TableName":"Other","AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"}],"KeySchema":[]}`))
	s, err := Open(filepath.Join(f.TempDir(), "table.db"))
	if err != nil {
		f.Fatal(err)
	}
	s.db.NoSync = true
	f.Cleanup(func() { s.Close() })
	if _, err := operations["CreateTable"](s, []byte(`{"TableName":"Talk","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},`+
		`{"AttributeName":"sk","AttributeType":"S"},{"AttributeName":"open","AttributeType":"S"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},`+
		`{"AttributeName":"sk","KeyType":"RANGE"}],"LocalSecondaryIndexes":[{"IndexName":"open","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},`+
		`{"AttributeName":"open","KeyType":"RANGE"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}]}`)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		do := operations[op]
		if do == nil || op == "DeleteTable" || op == "CreateTable" && len(s.tables) > 20 {
			t.Skip()
		}
		out, err := do(s, body)
		if err != nil {
			if fault, is := err.(*Error); !is || fault.Status >= 500 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if _, err := json.Marshal(out); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzNumber: a number that is taken is written as one that is taken, and is the same.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"0", "-0", "007.50", "1E+3", "-0.00120", "1e-130", "9.9e125", "12345678901234567890123456789012345678", "1e126", ".5", "1."} {
		f.Add(seed, "1.5")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := parseNumber(a)
		mustBeInvalid(t, errX)
		y, errY := parseNumber(b)
		mustBeInvalid(t, errY)
		if errX != nil || errY != nil {
			return
		}
		again, err := parseNumber(x.String())
		if err != nil || again.compare(x) != 0 || again.String() != x.String() {
			t.Fatal(a, x, again, err)
		}
		if x.compare(y) != -y.compare(x) {
			t.Fatal(a, b)
		}
		sum, err := x.plus(y, false)
		if mustBeInvalid(t, err); err == nil {
			if back, err := sum.plus(y, true); err == nil && back.compare(x) != 0 && len(x.coef.String())+len(y.coef.String()) < 30 && x.exp == y.exp {
				t.Fatal(a, b, sum, back)
			}
		}
	})
}
