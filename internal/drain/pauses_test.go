package drain_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// ending is one of the ways in which a connector ends a dial or a socket.
type ending struct {
	status int           // at the upgrade
	code   int           // of the close, 0: none
	reason string        // of the close
	greets bool          // it sends its descriptor before that
	lives  time.Duration // from the descriptor to the end
}

func (e ending) String() string {
	switch {
	case e.status != 0:
		return fmt.Sprint("HTTP ", e.status)
	case e.code == 0:
		return "cut"
	}
	return fmt.Sprint(e.code, " ", cmp.Or(e.reason, "without a reason"))
}

func (e ending) serve(w http.ResponseWriter, req *http.Request) {
	if e.status != 0 {
		http.Error(w, "no", e.status)
		return
	}
	ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
	if err != nil {
		return
	}
	read := make(chan struct{})
	defer func() {
		ws.Close()
		<-read
	}()
	go func() { // also while it lives: else the gateway's pings would find no room
		defer close(read)
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
	}()
	if e.greets {
		ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"descriptor","descriptor":{"platform":"discord"}}`+"\n"))
		time.Sleep(max(e.lives, time.Millisecond)) // the gateway has seen the descriptor before the end comes
	}
	if e.code == 0 {
		return
	}
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(e.code, e.reason), time.Now().Add(time.Second))
	select {
	case <-read: // its close
	case <-time.After(time.Second):
	}
}

// dialTimes are when /relay was dialled.
type dialTimes struct {
	serving sync.WaitGroup
	mu      sync.Mutex
	at      []time.Time
}

func (d *dialTimes) note() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	return len(d.at)
}

// list is for when the run is over: it waits for the sockets.
func (d *dialTimes) list() []time.Time {
	d.serving.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// endsAll lets each dial end in that way, and says when they came.
func (r *rig) endsAll(e ending) *dialTimes {
	var dials dialTimes
	r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
		dials.serving.Add(1)
		defer dials.serving.Done()
		dials.note()
		e.serve(w, req)
	}))
	return &dials
}

var statuses = []int{400, 401, 403, 404, 429, 500, 503}

var closes = []ending{
	{}, {code: 1000}, {code: 1000, reason: "replaced"}, {code: 1001}, {code: 1008, reason: "duplicate session"}, {code: 1009},
	{code: 1011}, {code: 1013}, {code: 4000, reason: "replaced by a new dial"}, {code: 4400}, {code: 4401, reason: "expired"},
	{code: 4401, reason: "unauthorized"}, {code: 4403, reason: "revoked"}, {code: 4404}, {code: 4429}, {code: 4450},
	{code: 4503}, {code: 4599}, {code: 4999},
}

// accesses are the ways in which a gateway proves who it is.
func accesses() map[string]setup {
	vaulted, _ := stored("hosted")
	return map[string]setup{"provisioned": {}, "pinned": {pinned: true}, "stored": vaulted}
}

// The bar of every kind of refusal: ten dials in the first minute, whoever is refused, before a descriptor or after it.
func TestARefusalOfAnyKindIsDialledRarely(t *testing.T) {
	var all []ending
	for _, status := range statuses {
		all = append(all, ending{status: status})
	}
	for _, e := range closes {
		all = append(all, e)
		e.greets = true
		all = append(all, e)
		e.lives = 4 * time.Second
		all = append(all, e)
	}
	for name, s := range accesses() {
		for _, known := range []bool{false, true} {
			for _, e := range all {
				t.Run(fmt.Sprint(name, ", known ", known, ", greeted ", e.greets, ", ", e.lives, ", ", e), func(t *testing.T) {
					bubble(t, s, func(t *testing.T, r *rig) {
						if known {
							_, _, err := r.run(ledger.Wake, quarter)
							is.New(t).NoErr(err)
						}
						dials := r.endsAll(e)
						r.run(ledger.Arm, 2*time.Minute) // as long as it likes, at most
						checkPauses(t, dials.list())
					})
				})
			}
		}
	}
}

func checkPauses(t *testing.T, dials []time.Time) {
	t.Helper()
	is := is.New(t)
	is.True(len(dials) > 0)
	inTime := 0
	for i, at := range dials {
		if at.Sub(dials[0]) <= time.Minute {
			inTime++
		}
		if i > 0 {
			is.True(at.Sub(dials[i-1]) >= 500*time.Millisecond) // no dial without a pause
		}
	}
	if inTime > 10 {
		t.Errorf("%d dials in the first minute", inTime)
	}
}

// Neither does a provisioning that is refused.
func TestARefusedProvisioningIsAskedForRarely(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 410, 429, 500, 503} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint(status, ", known ", known), func(t *testing.T) {
				bubble(t, setup{}, func(t *testing.T, r *rig) {
					is := is.New(t)
					if known {
						_, _, err := r.run(ledger.Wake, quarter)
						is.NoErr(err)
					}
					var asked dialTimes
					r.proxy(at("/relay/provision", func(w http.ResponseWriter, req *http.Request) {
						asked.note()
						http.Error(w, "no", status)
					}))
					r.coldStart(t).run(ledger.Arm, time.Minute)
					is.True(len(asked.list()) <= 10*4) // of as many platforms
				})
			})
		}
	}
}

// Each dial that fails and each connection that ends adds a step, each full five seconds of life take one away.
func TestThePauseFollowsHowLongConnectionsLived(t *testing.T) {
	tests := map[string]struct {
		lives    time.Duration
		min, max time.Duration // of the pause before the eighth dial
	}{
		"at once":          {0, 15 * time.Second, 30 * time.Second},
		"nearly a step":    {4900 * time.Millisecond, 15 * time.Second, 30 * time.Second},
		"a step each time": {5 * time.Second, 500 * time.Millisecond, time.Second},
		"ten seconds":      {10 * time.Second, 500 * time.Millisecond, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				dials := r.endsAll(ending{greets: true, lives: tt.lives})
				r.run(ledger.Arm, quarter)
				at := dials.list()
				is.True(len(at) > 8)
				for i := 7; i < len(at); i++ {
					pause := at[i].Sub(at[i-1]) - max(tt.lives, time.Millisecond)
					is.True(pause >= tt.min && pause <= tt.max)
				}
			})
		})
	}
}

// However long it was away: half a minute of life, and the next pause is the shortest again.
func TestALongConnectionTakesAllStepsAway(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		var dials dialTimes
		r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
			dials.serving.Add(1)
			defer dials.serving.Done()
			e := ending{greets: true}
			if dials.note() == 12 {
				e.lives = 30 * time.Second
			}
			e.serve(w, req)
		}))
		r.run(ledger.Arm, quarter)
		at := dials.list()
		is.True(len(at) > 13)
		is.True(at[12].Sub(at[11]) <= 31*time.Second)
	})
}

// The second strike holds as long as the connection of the dial with a fresh token lives, and no longer.
func TestASecondStrike(t *testing.T) {
	strike := ending{code: 4401, reason: "unauthorized", greets: true}
	later := func(d time.Duration) ending { e := strike; e.lives = d; return e }
	tests := map[string]struct {
		ends    []ending // of the first sockets; then the connector lets it in
		revoked bool
		dials   int
	}{
		"at once":                            {[]ending{strike, strike}, true, 2},
		"after a while":                      {[]ending{strike, later(3 * time.Second)}, true, 2},
		"by another code":                    {[]ending{strike, {code: 4403, reason: "revoked", greets: true}}, true, 2},
		"after a dial that failed otherwise": {[]ending{strike, {status: 503}, strike}, true, 3},
		"after a suspension":                 {[]ending{strike, {code: 1013, greets: true}, strike}, true, 3},
		"on a later connection":              {[]ending{strike, {greets: true}, strike}, false, 4},
		"of a later dial":                    {[]ending{strike, {greets: true}, {code: 4401, reason: "unauthorized"}}, false, 4},
		"of a later dial, at the upgrade":    {[]ending{strike, {greets: true}, {status: 401}}, false, 4},
		"not by a token that aged":           {[]ending{strike, {code: 4401, reason: "expired", greets: true}}, false, 3},
	}
	for name, tt := range tests {
		for access, s := range map[string]setup{"provisioned": {}, "pinned": {pinned: true}} {
			t.Run(name+", "+access, func(t *testing.T) {
				bubble(t, s, func(t *testing.T, r *rig) {
					is := is.New(t)
					var dials dialTimes
					r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
						if req.URL.Path != "/relay" {
							return false
						}
						n := dials.note()
						if n > len(tt.ends) {
							return false
						}
						dials.serving.Add(1)
						defer dials.serving.Done()
						tt.ends[n-1].serve(w, req)
						return true
					})
					rep, _, err := r.run(ledger.Arm, quarter)
					is.NoErr(err)
					is.Equal(rep.Status == drain.Revoked, tt.revoked)
					is.Equal(r.disabled(t), tt.revoked)
					is.Equal(len(dials.list()), tt.dials)
				})
			})
		}
	}
}

// A connector that says it will take another socket later is dialled for as long as there is time, others for 100 s.
func TestAConnectorThatComesBackIsWaitedFor(t *testing.T) {
	for code, waits := range map[int]bool{1001: true, 1013: true, 1011: false, 4503: false} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				start := time.Now()
				var dials dialTimes
				r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
					if req.URL.Path != "/relay" || time.Since(start) > 5*time.Minute {
						return false
					}
					dials.serving.Add(1)
					defer dials.serving.Done()
					dials.note()
					ending{code: code}.serve(w, req)
					return true
				})
				rep, took, _ := r.run(ledger.Arm, quarter)
				is.Equal(rep.Status == drain.Empty, waits)
				is.Equal(rep.Status == drain.Failed, !waits)
				is.Equal(took > 5*time.Minute, waits)
				dials.list()
			})
		})
	}
}

// A seat that another has is left to him, in either way of saying so.
func TestTheSeatIsAnothers(t *testing.T) {
	tests := []struct {
		ending
		status drain.Status
	}{
		{ending{code: 1000, reason: "replaced"}, drain.Replaced},
		{ending{code: 4000, reason: "replaced by a new dial"}, drain.Replaced},
		{ending{code: 1008, reason: "duplicate session"}, drain.SeatTaken},
		{ending{code: 4429, reason: "busy"}, drain.SeatTaken},
		{ending{code: 4404, reason: "path"}, drain.Failed},
		{ending{code: 4503, reason: "Slack is down"}, drain.Failed},
		{ending{code: 4450, reason: "?"}, drain.Failed},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.ending), func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.endsAll(tt.ending)
				rep, took, _ := r.run(ledger.Arm, quarter)
				is.Equal(rep.Status, tt.status)
				is.True(took < 140*time.Second)
				is.True(!r.disabled(t))
				warned := strings.Contains(r.log.String(), `"level":"WARN","msg":"`+logs.DrainEnded+`"`)
				is.Equal(warned, tt.status == drain.Replaced)
				standing, err := r.ledger.Standing(t.Context())
				is.NoErr(err)
				is.Equal(standing.Trouble.What == "replaced", tt.status == drain.Replaced)
				began := standing.Trouble.Since

				// It is shown until a run is let in a day later.
				r.proxy(nil)
				for _, later := range []time.Duration{time.Hour, 24 * time.Hour} {
					standing, err = r.ledger.Standing(t.Context())
					is.NoErr(err)
					is.Equal(standing.Trouble.Since, began)
					time.Sleep(later)
					_, _, err = r.run(ledger.Arm, quarter)
					is.NoErr(err)
				}
				standing, err = r.ledger.Standing(t.Context())
				is.NoErr(err)
				is.Equal(standing.Trouble, ledger.Trouble{})
			})
		})
	}
}

// Somebody pokes for two hours, also while a drain is at work: then another process takes the poke. What the budget refuses
// costs nothing outside: two connections for each look that was had, and those looks are counted.
func TestPokesThatTheBudgetRefusesCostNothingOutside(t *testing.T) {
	for name, s := range map[string]setup{"provisioned": {}, "pinned": {pinned: true}} {
		for _, ack := range []time.Duration{0, time.Second} { // with the second, a poke comes during each going_idle
			t.Run(fmt.Sprint(name, ", ack after ", ack), func(t *testing.T) {
				bubble(t, s, func(t *testing.T, r *rig) {
					is := is.New(t)
					r.DelayIdleAck(ack)
					_, _, err := r.run(ledger.Wake, quarter) // it is warm
					is.NoErr(err)
					sockets, before := len(r.State().Sockets), r.dials
					other := r.coldStart(t)
					var working sync.WaitGroup
					var atWork atomic.Bool
					poke := func(r *rig) {
						if _, _, err := r.run(ledger.Wake, quarter); err != nil {
							t.Error(err)
						}
					}
					for start := time.Now(); time.Since(start) < 2*time.Hour; time.Sleep(700 * time.Millisecond) {
						if !atWork.CompareAndSwap(false, true) {
							poke(other)
							continue
						}
						working.Go(func() {
							defer atWork.Store(false)
							poke(r)
						})
					}
					working.Wait()
					looks := len(r.State().Sockets) - sockets
					is.True(looks >= 20 && looks <= 10+2*10+1) // the budget, and what comes back in two hours
					is.True(r.dials-before <= 2*looks)
				})
			})
		}
	}
}

// What a process may open ahead of the lease follows its last answer.
func TestAfterARefusalNothingIsOpenedAhead(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		for range 11 { // until the budget is spent
			r.run(ledger.Wake, quarter)
		}
		r.run(ledger.Wake, quarter) // this one had opened a connection before it was refused
		for range 3 {
			before := r.dials
			rep, _, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.NotDue)
			is.Equal(r.dials, before)
		}
		cold := r.coldStart(t)
		before := r.dials
		cold.run(ledger.Wake, quarter) // a fresh one may: one a cold start
		is.True(r.dials > before && r.dials <= before+2)

		before = r.dials
		rep, _, err := r.run(ledger.Arm, quarter) // granted
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(r.dials, before+1)
		before = r.dials
		rep, _, err = r.run(ledger.Wake, quarter) // so this one opens ahead again, and is refused
		is.NoErr(err)
		is.Equal(rep.Status, drain.NotDue)
		is.Equal(r.dials, before+1)
	})
}

// late is a connector that pushes what it has buffered only once the gateway wants to go idle, as a slow one may.
// It takes the ack for the end of its buffer, or lets the answer come first: then the drain has nothing to do when it is idle.
func (r *rig) late(t *testing.T, answerFirst bool) (dials *dialTimes, idle func() []time.Time) {
	dials = &dialTimes{}
	var mu sync.Mutex
	var asked []time.Time
	r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
		dials.serving.Add(1)
		defer dials.serving.Done()
		first := dials.note() == 1
		ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		say := func(line string) { ws.WriteMessage(websocket.TextMessage, []byte(line+"\n")) }
		for {
			_, message, err := ws.ReadMessage()
			if err != nil {
				return
			}
			for line := range strings.Lines(string(message)) {
				var f struct {
					Type, Platform, RequestID string
					Action                    struct{ Op string }
				}
				if err := json.Unmarshal([]byte(line), &f); err != nil {
					t.Error(err)
				}
				switch f.Type {
				case "hello":
					say(`{"type":"descriptor","descriptor":{"platform":"` + f.Platform + `"}}`)
				case "outbound":
					say(`{"type":"outbound_result","requestId":"` + f.RequestID + `","result":{"success":true,"message_id":"x-1"}}`)
					if answerFirst && first && f.Action.Op == "send" {
						time.Sleep(100 * time.Millisecond)
						say(`{"type":"going_idle_ack"}`)
					}
				case "inbound_ack":
					if !answerFirst {
						say(`{"type":"going_idle_ack"}`)
					}
				case "going_idle":
					mu.Lock()
					asked = append(asked, time.Now())
					mu.Unlock()
					if !first {
						say(`{"type":"going_idle_ack"}`)
						continue
					}
					say(`{"type":"inbound","bufferId":"b-1","event":{"text":"hi","message_id":"m-1","source":{"platform":"discord","chat_id":"c1"}}}`)
				}
			}
		}
	}))
	return dials, func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

// What comes behind going_idle is unacked when the connector begins to buffer: its buffer is not empty, so that it may not poke for
// what comes next. And the poke for what came late went out before the dial: the pause until the next one is not over.
func TestAMessageThatIsPushedLateIsFollowedByALook(t *testing.T) {
	tests := map[string]struct {
		cooldown string
		idle     time.Duration // of the second socket, from the first descriptor
	}{
		"within the pause between pokes": {"1m", time.Minute},
		"after it":                       {"5s", 12 * time.Second}, // a look takes two seconds
	}
	for name, tt := range tests {
		for _, answerFirst := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", answer first ", answerFirst), func(t *testing.T) {
				env := map[string]string{"DORMOUSE_POKE_COOLDOWN": tt.cooldown, "DORMOUSE_SECOND_LOOK": "2s"}
				bubble(t, setup{ledger: durable(ledger.NewMemory()), env: env}, func(t *testing.T, r *rig) {
					is := is.New(t)
					dials, idle := r.late(t, answerFirst)
					rep, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					is.Equal(rep.Status, drain.Drained)
					is.Equal(rep.Acked, 1)
					at := dials.list()
					is.Equal(len(at), 2)
					is.Equal(len(idle()), 2)
					is.Equal(idle()[0].Sub(at[0]), 10*time.Second) // nothing had come
					is.Equal(idle()[1].Sub(at[0]).Round(time.Second), tt.idle)
				})
			})
		}
	}
}

// Nor does a connector that ends each connection in another way find a way to be dialled more often.
func TestRefusalsOfManyKindsAreDialledRarely(t *testing.T) {
	for name, s := range accesses() {
		for seed := range uint64(40) {
			t.Run(fmt.Sprint(name, ", seed ", seed), func(t *testing.T) {
				bubble(t, s, func(t *testing.T, r *rig) {
					if seed%2 == 0 {
						_, _, err := r.run(ledger.Wake, quarter)
						is.New(t).NoErr(err)
					}
					var mu sync.Mutex
					draw := rand.New(rand.NewPCG(seed, 1))
					var dials dialTimes
					r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
						dials.serving.Add(1)
						defer dials.serving.Done()
						dials.note()
						mu.Lock()
						e := closes[draw.IntN(len(closes))]
						if draw.IntN(4) == 0 {
							e = ending{status: statuses[draw.IntN(len(statuses))]}
						}
						e.greets, e.lives = e.status == 0 && draw.IntN(2) == 0, time.Duration(draw.IntN(5000))*time.Millisecond
						mu.Unlock()
						e.serve(w, req)
					}))
					r.run(ledger.Arm, 2*time.Minute)
					checkPauses(t, dials.list())
				})
			})
		}
	}
}
