package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

// check says everything that did not happen as it should.
func (o *outcome) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	o.checkReplies(fault)
	o.checkAcks(fault)
	o.checkPoke(fault)
	o.checkProvisions(fault)
	o.checkGoodbye(fault)
	o.checkReport(fault)
	for _, breach := range o.after.Breaches[len(o.before.Breaches):] {
		fault("the gateway broke the contract: %s", breach)
	}
	return errors.Join(faults...)
}

type faultFunc func(format string, args ...any)

// checkReplies wants one reply to each message and no other, in its chat and with the facts that route it there.
func (o *outcome) checkReplies(fault faultFunc) {
	actions := o.after.Outbounds[len(o.before.Outbounds):]
	sent := 0
	for _, action := range actions {
		if action.Op == "send" {
			sent++
		}
		if !action.Result.Success || action.Repeated {
			fault("an action %q was refused or repeated: %s", action.Op, action.Result.Error)
		}
	}
	if sent != len(o.messages) {
		fault("%d replies to %d messages", sent, len(o.messages))
	}
	for _, m := range o.messages {
		m.checkReply(actions, fault)
	}
}

// checkReply wants typing in the message's chat, and its echo once.
func (m Message) checkReply(actions []devconnector.Outbound, fault faultFunc) {
	want := m.expectation()
	replies, typing := 0, false
	for _, action := range actions {
		if action.ChatID != want.Source.ChatID || action.Platform != want.Source.Platform {
			continue
		}
		typing = typing || action.Op == "typing"
		if action.Op != "send" || action.Content != want.Text {
			continue
		}
		replies++
		for name, fact := range map[string]string{
			"scope_id": want.Source.ScopeID, "user_id": want.Source.UserID, "thread_id": want.threadWithin(),
		} {
			if fact != "" && action.Metadata[name] != fact {
				fault("%s: the reply's %s is %v, want %s", m.From, name, action.Metadata[name], fact)
			}
		}
	}
	if replies != 1 {
		fault("%s: answered %d times in its chat, want once", m.From, replies)
	}
	if !typing {
		fault("%s: the chat was not shown typing", m.From)
	}
}

// threadWithin is the thread, where it is not the chat itself.
func (e expectation) threadWithin() string {
	if e.Source.ThreadID == e.Source.ChatID {
		return ""
	}
	return e.Source.ThreadID
}

// checkAcks wants one ack of each buffered message, in order. Who found the gateway awake already was not buffered.
func (o *outcome) checkAcks(fault faultFunc) {
	var acked []string
	for _, ack := range o.after.Acks[len(o.before.Acks):] {
		acked = append(acked, ack.BufferID)
	}
	if want := nonEmpty(slices.Clone(o.bufferIDs)); !slices.Equal(acked, want) {
		fault("acked were %q, want %q", acked, want)
	}
}

// checkPoke wants one, answered 202, if there were messages.
func (o *outcome) checkPoke(fault faultFunc) {
	pokes := o.after.Pokes[len(o.before.Pokes):]
	want := 1
	if o.arm {
		want = 0
	}
	if len(pokes) != want {
		fault("%d pokes, want %d", len(pokes), want)
	}
	for _, poke := range pokes {
		if poke.Status != http.StatusAccepted {
			fault("the poke was answered %d, want %d", poke.Status, http.StatusAccepted)
		}
	}
}

// checkProvisions wants one for each platform from a new process, and none from a warm one.
func (o *outcome) checkProvisions(fault faultFunc) {
	var provisioned []string
	for _, provision := range o.after.Provisions[len(o.before.Provisions):] {
		provisioned = append(provisioned, provision.Platform)
		if provision.Status != http.StatusOK {
			fault("provisioning %s was answered %d", provision.Platform, provision.Status)
		}
	}
	var want []string
	if o.cold {
		want = slices.Sorted(slices.Values(platforms))
	}
	if slices.Sort(provisioned); !slices.Equal(provisioned, want) {
		fault("provisioned were %q, want %q", provisioned, want)
	}
	if o.result.Cold != o.cold {
		fault("drain's process was new: %t, want %t", o.result.Cold, o.cold)
	}
}

// checkGoodbye wants every socket closed by the gateway, after its going_idle was acked, and nothing left over.
func (o *outcome) checkGoodbye(fault faultFunc) {
	idle := map[int]bool{}
	closed := 0
	for _, seen := range o.scene.observations {
		switch seen.What {
		case devconnector.ObsGoingIdleAck:
			idle[seen.Socket] = true
		case devconnector.ObsClosed:
			closed++
			if !idle[seen.Socket] {
				fault("the socket was closed without a going_idle_ack")
			}
			if seen.Code != 1000 || seen.By != "gateway" {
				fault("the socket was closed %d by the %s, want 1000 by the gateway", seen.Code, seen.By)
			}
		case devconnector.ObsDropped, devconnector.ObsLost, devconnector.ObsRefused, devconnector.ObsAckIgnored,
			devconnector.ObsPokeLost:
			fault("the connector saw: %s %s", seen.What, seen.Detail)
		}
	}
	if closed == 0 {
		fault("the gateway has not dialled")
	}
	if inst := o.after.Instance(Gateway); inst.Connected || !inst.Flipped || inst.Buffered != 0 {
		fault("the gateway is not asleep: connected %t, buffered for %t, %d messages wait",
			inst.Connected, inst.Flipped, inst.Buffered)
	}
}

// checkReport wants drain to say the same.
func (o *outcome) checkReport(fault faultFunc) {
	want := drain.Report{Status: drain.Empty}
	if n := len(o.messages); n > 0 {
		acked := len(nonEmpty(slices.Clone(o.bufferIDs)))
		want = drain.Report{Status: drain.Drained, Received: n, Acked: acked, Turns: n, Answered: n, Outbound: n}
	}
	report := *o.scene.report()
	report.MS = drain.Times{}
	if !reflect.DeepEqual(report, want) {
		got, _ := json.Marshal(report)
		wanted, _ := json.Marshal(want)
		fault("drain reports %s, want %s", got, wanted)
	}
	if o.result.FunctionError != "" {
		fault("drain failed: %s", o.result.Payload)
	}
	if o.pid == 0 {
		fault("drain's process is gone, or there are several: want one, frozen")
	}
}
