package devtable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"go.etcd.io/bbolt"
)

const (
	mostActions = 100
	mostWritten = 4 << 20 // bytes of a transaction's items
	tokenLife   = 10 * time.Minute
	mostToken   = 36 // bytes
)

type transactWriteItems struct {
	TransactItems          []transactItem
	ClientRequestToken     string `json:",omitzero"`
	ReturnConsumedCapacity string `json:",omitzero"`
}

// transactItem is one action: one of its members is set.
type transactItem struct {
	ConditionCheck *keyAction    `json:",omitzero"`
	Put            *putAction    `json:",omitzero"`
	Update         *updateAction `json:",omitzero"`
	Delete         *keyAction    `json:",omitzero"`
}

func (in transactItem) prepare() (*write, error) {
	set := 0
	for _, is := range []bool{in.ConditionCheck != nil, in.Put != nil, in.Update != nil, in.Delete != nil} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	case in.Put != nil:
		return in.Put.prepare()
	case in.Update != nil:
		return in.Update.prepare()
	case in.Delete != nil:
		return in.Delete.prepareDelete()
	}
	return in.ConditionCheck.prepareCheck()
}

// transactWriteItems makes all writes or none. One with a token that was made before is not made again.
func (s *Store) transactWriteItems(in transactWriteItems) (any, error) {
	switch {
	case len(in.TransactItems) == 0 || len(in.TransactItems) > mostActions:
		return nil, invalid("TransactItems has %d actions: want 1 to %d", len(in.TransactItems), mostActions)
	case len(in.ClientRequestToken) > mostToken:
		return nil, invalid("ClientRequestToken has %d bytes: want 36 at most", len(in.ClientRequestToken))
	case in.ReturnConsumedCapacity != "" && in.ReturnConsumedCapacity != "NONE":
		return nil, foreign("ReturnConsumedCapacity of a transaction")
	}
	var writes []*write
	for _, action := range in.TransactItems {
		w, err := action.prepare()
		if err != nil {
			return nil, err
		}
		writes = append(writes, w)
	}
	units := 0
	err := s.db.Update(func(tx *bbolt.Tx) (err error) {
		made, err := s.token(tx, in)
		if err == nil && !made {
			units, err = s.transact(tx, writes)
		}
		return err
	})
	s.writeUnits.Add(4 * int64(units)) // a transaction costs twice
	return map[string]any{}, err
}

// transact makes writes in a transaction of the file.
func (s *Store) transact(tx *bbolt.Tx, writes []*write) (units int, err error) {
	plans, reasons := make([]planned, len(writes)), make([]Reason, len(writes))
	seen, bytes, refused := map[string]bool{}, 0, false
	for i, w := range writes {
		p, err := s.plan(tx, w)
		if p.t != nil {
			name := p.t.Name + "\x00" + string(itemKey(p.pk, p.sk))
			if seen[name] {
				return 0, invalid("Transaction request cannot include multiple operations on one item")
			}
			seen[name] = true
		}
		if reasons[i], err = reasonOf(err); err != nil {
			return 0, err
		}
		refused = refused || reasons[i].Code != "None"
		plans[i] = p
		bytes += p.new.size()
	}
	if refused {
		return 0, canceled(reasons)
	}
	if bytes > mostWritten {
		return 0, invalid("Transaction request size exceeded maximum limit: %d bytes", bytes)
	}
	for _, p := range plans {
		n, err := p.make(tx)
		if err != nil {
			return 0, err
		}
		units += n
	}
	return units, nil
}

// reasonOf is what an action's fault is in its transaction. An error that is none of the action is returned.
func reasonOf(err error) (Reason, error) {
	fault, is := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return Reason{Code: "None"}, nil
	case is && fault.Type == typeConditionFailed:
		return Reason{"ConditionalCheckFailed", fault.Message, fault.Item}, nil
	case is && fault.Type == "ValidationException":
		return Reason{Code: "ValidationError", Message: fault.Message}, nil
	}
	return Reason{}, err
}

func canceled(reasons []Reason) error {
	text := ""
	for i, r := range reasons {
		if i > 0 {
			text += ", "
		}
		text += r.Code
	}
	err := failure(typeCanceled, "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]", text)
	err.Reasons = reasons
	return err
}

// token reports whether this very transaction was made before, and notes that it is made now. The note is part of the
// transaction: it stands if that does.
func (s *Store) token(tx *bbolt.Tx, in transactWriteItems) (made bool, err error) {
	if in.ClientRequestToken == "" {
		return false, nil
	}
	raw, err := json.Marshal(in.TransactItems, json.Deterministic(true))
	if err != nil {
		return false, err
	}
	hash, now := sha256.Sum256(raw), s.Now()
	tokens, name := tx.Bucket(bucketTokens), []byte(in.ClientRequestToken)
	if note := tokens.Get(name); note != nil && noted(note).Add(tokenLife).After(now) {
		if !bytes.Equal(note[8:], hash[:]) {
			return false, failure(typeMismatch, "ClientRequestToken %s was used for another transaction", in.ClientRequestToken)
		}
		return true, nil
	}
	return false, tokens.Put(name, append(binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())), hash[:]...))
}

// noted is when a token was used.
func noted(note []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(note))) }
