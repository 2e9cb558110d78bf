package main

import (
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

func TestAnUnknownOutcomeOfALateAnswerIsItsMessages(t *testing.T) {
	is := is.New(t)
	m := &message{kind: late, key: "key"}
	r := &run{log: []string{
		`{"timestamp":"2026-11-27T18:36:29Z","message":"` + logs.OutcomeUnknown + `","delivery":"key` + lateSuffix + `","op":"send","request":"r-1"}`,
	}}
	v := newVerdict(m)

	lost := r.unknown(map[string]*verdict{m.id(): v})

	is.Equal(len(v.unknown), 1)
	is.True(!lost["r-1"].IsZero())
}

func TestAProcessWhoseLeaseIsTakenCannotTellOfAnUnknownOutcome(t *testing.T) {
	start := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		taken time.Duration
		lost  bool
	}{
		"never":       {time.Hour, true},
		"before that": {2 * time.Second, false},
		"after that":  {4 * time.Second, true},
		"long before": {-time.Second, true}, // that was the lease of another one
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			m := &message{key: "key"}
			r := &run{log: []string{
				`{"timestamp":"2026-11-27T18:00:00Z","message":"` + logs.Lease + `","epoch":7}`,
				`{"timestamp":"2026-11-27T18:00:03Z","message":"` + logs.OutcomeUnknown + `","epoch":7,"delivery":"key","op":"send","request":"r-1"}`,
			}}
			r.history.takeovers = []time.Time{start.Add(tt.taken)}
			lost := r.unknown(map[string]*verdict{m.id(): newVerdict(m)})
			is.Equal(!lost["r-1"].IsZero(), tt.lost)
		})
	}
}

func TestAnActionComesAgainAfterItsOutcomeWasUnknown(t *testing.T) {
	start := time.Date(2026, 11, 27, 18, 0, 0, 0, time.UTC)
	lost := map[string]time.Time{"r-1": start.Add(2 * time.Second)}
	sockets := []devconnector.Socket{{ID: 1, At: start}, {ID: 2, At: start.Add(3 * time.Second)}}
	at := func(after time.Duration, socket int) devconnector.Outbound {
		return devconnector.Outbound{At: start.Add(after), Socket: socket, RequestID: "r-1", Op: "send"}
	}
	tests := map[string]struct {
		came  []devconnector.Outbound
		fails bool
	}{
		"never":                         {nil, false},
		"before":                        {[]devconnector.Outbound{at(time.Second, 1)}, false},
		"it was long on its way":        {[]devconnector.Outbound{at(4*time.Second, 1)}, false},
		"again on a socket that is new": {[]devconnector.Outbound{at(4*time.Second, 2)}, true},
		"again on its socket":           {[]devconnector.Outbound{at(time.Second, 1), at(4*time.Second, 1)}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			m := &message{key: "key"}
			r := &run{wire: &wire{}, requests: map[string]*message{"r-1": m}, seen: map[string]int{}}
			r.checkRequests(devconnector.State{Sockets: sockets, Outbounds: tt.came}, lost)
			is.Equal(strings.Contains(strings.Join(r.wrong, " "), "taken for unknown"), tt.fails)
		})
	}
}

func TestALiveMessageThatTheTableWouldNotTakeMayBeAheadOfOneThatWaits(t *testing.T) {
	for name, unkept := range map[string]bool{"journalled": false, "not journalled": true} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			first, second := &message{session: 1, key: "first", number: 1}, &message{session: 1, key: "second", number: 2}
			r := &run{sent: []*message{first, second}}
			if unkept {
				r.log = []string{`{"message":"` + logs.LiveUnkept + `","delivery":"second"}`}
			}
			verdicts := map[string]*verdict{first.id(): newVerdict(first), second.id(): newVerdict(second)}
			verdicts[first.id()].first, verdicts[second.id()].first = 8, 7
			r.checkOrder(verdicts, rest{})
			is.Equal(len(r.wrong) > 0, !unkept)
		})
	}
}
