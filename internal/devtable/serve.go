package devtable

import (
	"bytes"
	"crypto/rand"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	targetPrefix = "DynamoDB_20120810."
	contentType  = "application/x-amz-json-1.0"
	mostRequest  = 32 << 20 // bytes of a body; its limits in items are checked one by one
)

// operation answers one request, already read.
type operation func(s *Store, body []byte) (any, error)

// as makes an operation of a method that takes a request of a type. A member that the type does not have is refused.
func as[In any](do func(*Store, In) (any, error)) operation {
	return func(s *Store, body []byte) (any, error) {
		var in In
		if err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true)); err != nil {
			return nil, badRequest(err)
		}
		return do(s, in)
	}
}

// badRequest is what a body is answered that is no request.
func badRequest(err error) error {
	if fault, is := errors.AsType[*Error](err); is {
		return fault
	}
	if semantic, is := errors.AsType[*json.SemanticError](err); is && errors.Is(err, json.ErrUnknownName) {
		return foreign("the parameter " + string(semantic.JSONPointer))
	}
	return failure("SerializationException", "%s", err)
}

// operations are all that there are.
var operations = map[string]operation{
	"CreateTable":        as((*Store).createTable),
	"DescribeTable":      as((*Store).describeTable),
	"DeleteTable":        as((*Store).deleteTable),
	"UpdateTimeToLive":   as((*Store).updateTimeToLive),
	"DescribeTimeToLive": as((*Store).describeTimeToLive),
	"GetItem":            as((*Store).getItem),
	"BatchGetItem":       as((*Store).batchGetItem),
	"TransactGetItems":   as((*Store).transactGetItems),
	"Query":              as((*Store).query),
	"Scan":               as((*Store).scan),
	"PutItem":            as((*Store).putItem),
	"UpdateItem":         as((*Store).updateItem),
	"DeleteItem":         as((*Store).deleteItem),
	"TransactWriteItems": as((*Store).transactWriteItems),
}

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", rand.Text())
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostRequest))
	if err != nil {
		answerError(w, failure("SerializationException", "the request was not read: %s", err))
		return
	}
	name := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	do := operations[name]
	if do == nil || r.Method != http.MethodPost {
		answerError(w, failure(typeUnknownOp, "the development table does not have the operation %.40q", name))
		return
	}
	lost, err := s.faults.meet(r.Context(), name)
	if err != nil {
		answerError(w, err)
		return
	}
	out, err := do(s, body)
	switch {
	case lost: // the answer never comes; the write was made
		panic(http.ErrAbortHandler)
	case err != nil:
		answerError(w, err)
	default:
		answer(w, http.StatusOK, out)
	}
}

func answer(w http.ResponseWriter, status int, out any) {
	raw, err := json.Marshal(out)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"__type":"InternalServerError"}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(raw)), 10))
	w.WriteHeader(status)
	io.Copy(w, bytes.NewReader(raw))
}

func answerError(w http.ResponseWriter, err error) {
	fault, is := errors.AsType[*Error](err)
	switch {
	case is:
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		fault = &Error{Status: http.StatusServiceUnavailable, Type: typeInternal, Message: "the development table is closed"}
	default:
		fault = &Error{Status: http.StatusInternalServerError, Type: typeInternal, Message: "the development table: " + err.Error()}
	}
	out := map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + fault.Type, "message": fault.Message}
	if fault.Type == typeCanceled {
		delete(out, "message")
		out["Message"], out["CancellationReasons"] = fault.Message, fault.Reasons
	}
	if fault.Item != nil {
		out["Item"] = fault.Item
	}
	answer(w, fault.Status, out)
}
