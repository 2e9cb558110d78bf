package drain_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// hostile is a connector whose sockets all end in one way, each with a message that was received on it if message says so.
func (r *rig) hostile(t *testing.T, e ending, message string) *dialTimes {
	var dials dialTimes
	r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
		dials.serving.Add(1)
		defer dials.serving.Done()
		n := dials.note()
		if e.status != 0 || message == "" {
			e.serve(w, req)
			return
		}
		ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		write := func(line string) { ws.WriteMessage(websocket.TextMessage, []byte(line+"\n")) }
		write(`{"type":"descriptor","descriptor":{"platform":"discord"}}`)
		write(fmt.Sprintf(message, n))
		ends := time.AfterFunc(max(e.lives, time.Millisecond), func() {
			if e.code != 0 {
				ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(e.code, e.reason), time.Now().Add(time.Second))
			}
			ws.SetReadDeadline(time.Now().Add(time.Second))
			if e.code == 0 {
				ws.Close()
			}
		})
		defer ends.Stop()
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	}))
	return &dials
}

const (
	aLive     = `{"type":"inbound","event":{"text":"hi","message_id":"m-%[1]d","source":{"platform":"discord","chat_id":"c1"}}}`
	aBuffered = `{"type":"inbound","bufferId":"b-%[1]d","event":{"text":"hi","message_id":"m-%[1]d","source":{"platform":"discord","chat_id":"c1"}}}`
)

// A message that is received on each socket does not make a connector dialled more often, however long its sockets live.
func TestARefusalBehindAMessageIsDialledRarely(t *testing.T) {
	for name, s := range accesses() {
		for _, message := range []string{aLive, aBuffered} {
			for _, e := range append(closes, ending{code: 4499}) {
				for _, lives := range []time.Duration{0, time.Second, 9 * time.Second, 29 * time.Second} {
					e.lives = lives
					t.Run(fmt.Sprint(name, ", buffered ", message == aBuffered, ", ", lives, ", ", e), func(t *testing.T) {
						bubble(t, s, func(t *testing.T, r *rig) {
							dials := r.hostile(t, e, message)
							r.run(ledger.Arm, 2*time.Minute)
							checkPauses(t, dials.list())
						})
					})
				}
			}
		}
	}
}

// unanswered are connectors that nobody gets to speak to, by what becomes of a connection.
var unanswered = map[string]func(context.Context) (net.Conn, error){
	"refused":    func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") },
	"no trust":   func(context.Context) (net.Conn, error) { return nil, x509.UnknownAuthorityError{} },
	"black hole": func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	"silence":    func(context.Context) (net.Conn, error) { near, far := net.Pipe(); go swallow(far); return near, nil },
	"closes":     func(context.Context) (net.Conn, error) { near, far := net.Pipe(); far.Close(); return near, nil },
	"not http": func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go swallow(far, "SSH-2.0-x\r\n")
		return near, nil
	},
	"half answer": func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go swallow(far, "HTTP/1.1 101 Swi")
		return near, nil
	},
}

// swallow reads what comes, and answers the first of it with say.
func swallow(conn net.Conn, say ...string) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
		for _, s := range say {
			conn.Write([]byte(s))
		}
		say = nil
	}
}

// Nor is one that cannot be reached, or spoken to.
func TestAConnectorThatIsNotThereIsDialledRarely(t *testing.T) {
	for access, s := range accesses() {
		for name, dial := range unanswered {
			t.Run(access+", "+name, func(t *testing.T) {
				bubble(t, s, func(t *testing.T, r *rig) {
					var dials dialTimes
					r.dialling(func(ctx context.Context) (net.Conn, error) {
						dials.note()
						return dial(ctx)
					})
					r.run(ledger.Schedule, 2*time.Minute) // which opens nothing ahead
					inTime := dials.inTheFirstMinute()
					is.New(t).True(inTime > 0 && inTime <= 10)
				})
			})
		}
	}
}

// dialling has the connections of a new process made by dial.
func (r *rig) dialling(dial func(context.Context) (net.Conn, error)) {
	cold := *r.parts
	cold.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
	*r.parts = cold
	*r = *r.coldStart(r.t)
}

// Nor does somebody who pokes all the while find a way to have it dialled more often, whatever the connector says and sends.
func TestPokesDoNotMakeARefusalDialledMoreOften(t *testing.T) {
	type kind struct {
		ending
		message string
	}
	var all []kind
	for _, status := range statuses {
		all = append(all, kind{ending: ending{status: status}})
	}
	for _, e := range append(closes, ending{code: 4499}) {
		all = append(all, kind{e, ""}, kind{e, aLive}, kind{e, aBuffered})
		e.greets = true
		all = append(all, kind{e, ""})
	}
	for name, s := range accesses() {
		for _, k := range all {
			t.Run(fmt.Sprint(name, ", greeted ", k.greets, ", ", k.ending, ", ", k.message), func(t *testing.T) {
				bubble(t, s, func(t *testing.T, r *rig) {
					dials := r.hostile(t, k.ending, k.message)
					r.pokedFor(t, time.Minute)
					if n := dials.inTheFirstMinute(); n > 10 {
						t.Errorf("%d dials in the first minute", n)
					}
				})
			})
		}
	}
}

func (d *dialTimes) inTheFirstMinute() (n int) {
	at := d.list()
	for _, dial := range at {
		if dial.Sub(at[0]) <= time.Minute {
			n++
		}
	}
	return n
}

// pokedFor has somebody poke every 0.7 s, also while a drain is at work: then another process takes the poke.
func (r *rig) pokedFor(t *testing.T, d time.Duration) {
	other := r.coldStart(t)
	var working sync.WaitGroup
	var atWork atomic.Bool
	for start := time.Now(); time.Since(start) < d; time.Sleep(700 * time.Millisecond) {
		if !atWork.CompareAndSwap(false, true) {
			other.run(ledger.Wake, quarter)
			continue
		}
		working.Go(func() {
			defer atWork.Store(false)
			r.run(ledger.Wake, quarter)
		})
	}
	working.Wait()
}

// Nor is a provisioning that is refused asked for more often because of pokes.
func TestPokesDoNotMakeAProvisioningAskedForMoreOften(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 410, 429, 500, 503} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(status, ", known ", known), func(t *testing.T) {
				bubble(t, setup{env: map[string]string{"GATEWAY_RELAY_PLATFORMS": "discord"}}, func(t *testing.T, r *rig) {
					if known {
						_, _, err := r.run(ledger.Wake, quarter)
						is.New(t).NoErr(err)
					}
					var asked dialTimes
					r.proxy(at("/relay/provision", func(w http.ResponseWriter, req *http.Request) {
						asked.note()
						http.Error(w, "no", status)
					}))
					r.coldStart(t).pokedFor(t, time.Minute)
					n := asked.inTheFirstMinute()
					is.New(t).True(n > 0 && n <= 10)
				})
			})
		}
	}
}

// Going idle for want of room is no failure, and yet the next dial waits a moment, so that it finds room.
func TestWhoHadNoRoomWaitsBeforeItDialsAgain(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, 100 * time.Millisecond} })
	bubble(t, setup{ledger: durable(slow), awake: true, pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		var dials dialTimes
		r.proxy(func(_ http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == "/relay" {
				dials.note()
			}
			return false
		})
		wait := r.during(dialled(1), func() {
			for n := range 400 {
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n%50), fmt.Sprint("m", n), fmt.Sprint(n)))
				time.Sleep(50 * time.Millisecond)
			}
		})
		_, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		at, idles := dials.list(), r.State().Idles
		is.True(len(at) > 1)
		is.True(at[1].Sub(idles[0].At) >= 500*time.Millisecond)
	})
}

// Want of room is no failure: a socket that breaks after it is dialled again as soon as any.
func TestWantOfRoomLengthensNoOtherPause(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, 100 * time.Millisecond} })
	for range 20 { // a pause is partly chance
		bubble(t, setup{ledger: durable(slow), awake: true, pinned: true}, func(t *testing.T, r *rig) {
			is := is.New(t)
			wait := r.during(dialled(1), func() {
				for n := range 400 {
					r.Deliver(gateway, event("discord", fmt.Sprint("c", n%50), fmt.Sprint("m", n), fmt.Sprint(n)))
				}
				is.NoErr(r.Wait(t.Context(), dialled(2)))
				cut := time.Now()
				is.NoErr(r.Drop(gateway))
				is.NoErr(r.Wait(t.Context(), dialled(3)))
				is.True(time.Since(cut) < 1100*time.Millisecond)
			})
			_, _, err := r.run(ledger.Wake, quarter)
			wait()
			is.NoErr(err)
		})
	}
}

// An instance that is switched off opens nothing ahead for the pokes that come, either.
func TestPokesOfAnInstanceThatIsOffCostNothingOutside(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		g, err := r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "operator", Life: time.Minute})
		is.NoErr(err)
		is.NoErr(g.Disable(t.Context(), "off"))
		_, err = g.HandOff(t.Context(), g.Grant().Plan, false)
		is.NoErr(err)
		before := r.dials
		for range 10 {
			rep, _, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.Disabled)
		}
		is.True(r.dials <= before+1) // the one that did not know yet
	})
}

// A connector that is busy, or ill, is asked again for credentials; to one that says no, asking again says nothing new.
func TestWhichProvisioningIsAskedForAgain(t *testing.T) {
	for status, again := range map[int]bool{400: false, 401: false, 403: false, 404: false, 408: true, 410: false, 422: false, 429: true, 500: true, 503: true} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, r *rig) {
				is := is.New(t)
				start := time.Now()
				r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
					if req.URL.Path != "/relay/provision" || time.Since(start) > 30*time.Second {
						return false
					}
					http.Error(w, "no", status)
					return true
				})
				rep, took, _ := r.run(ledger.Arm, quarter)
				is.Equal(rep.Status == drain.Empty, again)
				is.Equal(rep.Status == drain.Failed, !again)
				is.Equal(took > 30*time.Second, again)
			})
		})
	}
}
