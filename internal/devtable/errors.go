package devtable

import (
	"fmt"
	"net/http"
)

// Error is an answer of DynamoDB's that is no success. Its texts begin as DynamoDB's do, where they are known.
type Error struct {
	Status  int
	Type    string // such as ConditionalCheckFailedException
	Message string
	Item    item     // that a condition did not hold for, if it was asked for
	Reasons []Reason // of a cancelled transaction, one for each of its actions
}

// Reason is why an action cancelled its transaction; Code is None if it did not.
type Reason struct {
	Code    string `json:"Code"`
	Message string `json:"Message,omitzero"`
	Item    item   `json:"Item,omitzero"`
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

// invalid is a request that DynamoDB, or this table, does not take.
func invalid(format string, args ...any) *Error {
	return failure("ValidationException", format, args...)
}

// foreign is what DynamoDB has and this table does not: it is refused by its name.
func foreign(what string) *Error {
	return invalid("the development table does not have %s: nothing of Dormouse uses it", what)
}

func failure(kind, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: kind, Message: fmt.Sprintf(format, args...)}
}

const (
	typeConditionFailed = "ConditionalCheckFailedException"
	typeNotFound        = "ResourceNotFoundException"
	typeInUse           = "ResourceInUseException"
	typeCanceled        = "TransactionCanceledException"
	typeMismatch        = "IdempotentParameterMismatchException"
	typeUnknownOp       = "UnknownOperationException"
	typeThrottled       = "ProvisionedThroughputExceededException"
	typeInternal        = "InternalServerError"
)

const conditionFailed = "The conditional request failed"

func notFound() *Error { return failure(typeNotFound, "Requested resource not found") }
