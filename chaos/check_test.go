package main

import (
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

func TestAnUnknownOutcomeOfALateAnswerIsItsMessages(t *testing.T) {
	is := is.New(t)
	m := &message{kind: late, key: "key"}
	r := &run{log: []string{
		`{"timestamp":"2026-11-27T18:36:29Z","message":"` + logs.OutcomeUnknown + `","delivery":"key` + lateSuffix + `","op":"send","request":"r-1"}`,
	}}
	v := &verdict{message: m}

	lost := r.unknown(map[string]*verdict{m.id(): v})

	is.Equal(v.unknown, 1)
	is.True(!lost["r-1"].IsZero())
}
