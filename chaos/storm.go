package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// weather is what a run's seed decides: shares of requests or turns that something happens to, and how long from one
// other fault to the next.
type weather struct {
	quiet                           bool // nobody sweeps, and nothing dies or fails: each poke must be heeded
	bulky                           bool // some messages are long
	narrow                          bool // the window is full with two or three of them
	desert                          bool // the agent goes away for up to a minute, and the storm ends before it is back
	killTable, failTable, slowTable float64
	killConfirm, killSet, stall     float64
	killTurn, failTurn, slowTurn    float64
	failMedia                       float64
	pause                           time.Duration
	refusals, silence               time.Duration // from one refusal, or action without an answer, to the next; 0: none
	lease                           time.Duration // of the drain: how soon a dead one's is free
	timeout                         time.Duration // of the function: a short one makes it hand over
}

func newWeather(seed uint64, rng *rand.Rand) weather {
	pick := func(choices ...float64) float64 { return choices[rng.IntN(len(choices))] }
	w := weather{
		killTable: pick(0, 0, 0.002, 0.01), failTable: pick(0, 0, 0.05, 0.3), slowTable: pick(0, 0.05, 0.2),
		killConfirm: pick(0, 0.05, 0.2), killSet: pick(0, 0.1, 0.3), stall: pick(0, 0, 0.03, 0.1),
		killTurn: pick(0, 0, 0.05, 0.2), failTurn: pick(0, 0.1, 0.3), slowTurn: pick(0, 0.3), failMedia: pick(0, 0.2),
		lease: time.Duration(pick(1, 2)) * time.Second, timeout: time.Duration(pick(8, 20)) * time.Second,
		pause:    time.Duration(pick(500, 1500, 4000)) * time.Millisecond,
		refusals: time.Duration(pick(0, 0, 400, 1500)) * time.Millisecond,
		silence:  time.Duration(pick(0, 500, 1500)) * time.Millisecond,
		bulky:    rng.IntN(6) == 0,
	}
	w.narrow, w.desert = seed%4 == 0, seed%16 == 1
	if seed%5 == 2 {
		w = weather{quiet: true, slowTable: w.slowTable, slowTurn: w.slowTurn, pause: 500 * time.Millisecond, silence: w.silence,
			lease: time.Minute, timeout: time.Minute} // else a slow table would cost the lease, and only a sweep helps then
	}
	return w
}

// between is a random time in milliseconds.
func (r *run) between(from, to int) time.Duration {
	return time.Duration(from+r.dice(to-from)) * time.Millisecond
}

func (r *run) dice(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

// lucky is a throw of the dice for a fault, which is counted.
func (r *run) lucky(name string, share float64) bool {
	if r.calm.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rng.Float64() >= share {
		return false
	}
	r.injected[name]++
	return true
}

func (r *run) count(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.injected[name]++
}

// schedules fire as EventBridge does, only faster.
func (r *run) schedules(ctx context.Context) {
	for ctx.Err() == nil && !r.weather.quiet {
		pause(ctx, 700*time.Millisecond)
		r.schedule()
	}
}

func (r *run) schedule() {
	if err := r.host.InvokeEvent(rig.Drain, []byte(`{"reason":"schedule"}`)); err != nil {
		r.fault("schedule: %v", err)
	}
}

// blow injects the faults that do not hang on a request.
func (r *run) blow(ctx context.Context) {
	faults := []func(context.Context) string{
		r.kill, r.kill, r.terminate, r.stop, r.stop, r.drop, r.cut, r.mute, r.mute, r.losePoke, r.losePoke, r.double, r.expire,
		r.delayResults, r.delayIdleAck, r.agentAway, r.unwritableFor, r.unwritableFor,
	}
	if r.weather.quiet {
		r.connector.DelayIdleAck(150 * time.Millisecond)
		faults = []func(context.Context) string{r.double, r.delayResults, r.delayIdleAck} // a cut may leave an action to a sweep
	}
	if r.weather.desert {
		r.count(r.agentAway(ctx))
	}
	for pause(ctx, r.between(50, int(2*r.weather.pause.Milliseconds()))) {
		if name := faults[r.dice(len(faults))](ctx); name != "" {
			r.count(name)
		}
	}
}

func (r *run) kill(context.Context) string {
	r.host.Kill(rig.Drain)
	return "SIGKILL"
}

func (r *run) terminate(context.Context) string {
	r.mu.Lock()
	r.history.takeovers = append(r.history.takeovers, time.Now()) // it says going_idle and waits for nothing else
	r.mu.Unlock()
	r.host.Shutdown(rig.Drain)
	r.mu.Lock()
	r.history.takeovers = append(r.history.takeovers, time.Now())
	r.mu.Unlock()
	return "SIGTERM"
}

// stop stops the function's processes for a while.
func (r *run) stop(context.Context) string {
	d := r.between(100, 4500)
	pids := r.host.PIDs(rig.Drain)
	r.mu.Lock()
	r.stops = append(r.stops, span{time.Now(), time.Now().Add(d)})
	r.mu.Unlock()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	r.wg.Go(func() {
		time.Sleep(d)
		for _, pid := range r.host.PIDs(rig.Drain) { // whose number is another's by now was not stopped
			syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	return "SIGSTOP for a while"
}

// stall stops a process until another one may have its lease.
func (r *run) stall(pid int) {
	d := 2*r.weather.lease + r.between(0, 1000)
	r.mu.Lock()
	r.stops = append(r.stops, span{time.Now(), time.Now().Add(d)})
	r.mu.Unlock()
	syscall.Kill(pid, syscall.SIGSTOP)
	time.Sleep(d)
	if slices.Contains(r.host.PIDs(rig.Drain), pid) {
		syscall.Kill(pid, syscall.SIGCONT)
	}
}

type span struct{ from, to time.Time }

// stoppedAround reports whether a process that was stopped may not have known at a time what the table held. Call with
// r.mu held.
func (r *run) stoppedAround(at time.Time) bool {
	for _, s := range r.stops {
		if at.After(s.from) && at.Before(s.to.Add(time.Second)) {
			return true
		}
	}
	return false
}

func (r *run) drop(context.Context) string {
	if r.connector.Drop(r.gateway) != nil {
		return "" // nobody is connected
	}
	return "socket cut by the connector"
}

func (r *run) cut(context.Context) string {
	r.wire.each((*line).cut)
	return "connection cut"
}

func (r *run) mute(ctx context.Context) string {
	r.wire.each(func(l *line) { l.muted.Store(true) })
	pause(ctx, r.between(20, 400))
	r.wire.each(func(l *line) {
		if l.muted.Load() {
			l.cut()
		}
	})
	return "acks and actions dropped, then the connection cut"
}

func (r *run) losePoke(context.Context) string {
	losses := []devconnector.PokeLoss{devconnector.LostInCooldown, devconnector.LostInFlip, devconnector.LostByFailure}
	way := losses[r.dice(len(losses))]
	r.connector.LosePoke(way)
	return "poke lost: " + string(way)
}

func (r *run) double(context.Context) string {
	r.connector.Duplicate(2)
	return "deliveries doubled"
}

func (r *run) expire(context.Context) string {
	if r.connector.Expire(r.gateway) != nil {
		return ""
	}
	return "token expired"
}

func (r *run) delayResults(context.Context) string {
	r.connector.DelayResults(r.between(0, 300))
	return "results delayed"
}

func (r *run) delayIdleAck(context.Context) string {
	r.connector.DelayIdleAck(r.between(0, 400))
	return "going_idle_ack delayed"
}

// agentAway is a minute in the life of a chat, scaled to a run: the agent is deployed anew, or restarts.
func (r *run) agentAway(ctx context.Context) string {
	status := awayStatuses[r.dice(len(awayStatuses))]
	d := r.between(200, 4000)
	if r.weather.desert {
		d = r.between(10_000, 60_000)
	}
	if status == 0 {
		r.agents.leave()
	}
	r.awayStatus.Store(int32(status))
	if r.weather.desert {
		r.mu.Lock()
		r.awayUntil = time.Now().Add(d)
		r.mu.Unlock()
		return "agent away for up to a minute"
	}
	r.wg.Go(func() {
		pause(ctx, d)
		r.agentBack()
	})
	return "agent away"
}

// outlast waits for an agent that stays away beyond the storm, while the schedule goes on.
func (r *run) outlast(ctx context.Context) {
	r.mu.Lock()
	until := r.awayUntil
	r.mu.Unlock()
	for time.Now().Before(until) && pause(ctx, time.Second) {
		if r.host.Events(rig.Drain) < 3 {
			r.schedule()
		}
	}
}

func (r *run) agentBack() {
	r.awayStatus.Store(0)
	if err := r.agents.comeBack(); err != nil {
		r.fault("the agent does not come back: %v", err)
	}
}

// unwritableFor is a while in which the table takes everything but what became of answers.
func (r *run) unwritableFor(ctx context.Context) string {
	set := func(on bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unwritable = on
	}
	d := r.between(300, 4000)
	set(true)
	r.wg.Go(func() {
		pause(ctx, d)
		set(false)
	})
	return "finishes and confirms failing for a while"
}

// refuse makes the connector refuse actions, in each of the ways that are known.
func (r *run) refuse(ctx context.Context) {
	if r.weather.refusals == 0 {
		return
	}
	classes, ops := devconnector.RefusalClasses(), []string{"send", "send", "", "edit", "prompt", "send_media"}
	for pause(ctx, r.between(50, int(2*r.weather.refusals.Milliseconds()))) {
		f := devconnector.Refusing{
			Class: classes[r.dice(len(classes))], Op: ops[r.dice(len(ops))], Count: 1 + r.dice(3), RetryAfter: r.between(100, 1500),
		}
		if f.Class == "not_modified" || f.Class == "not_found" {
			f.Op = "edit" // nothing else is answered so
		}
		if r.dice(2) == 0 {
			f.Chat = chatID(r.dice(sessions))
		}
		if r.dice(6) == 0 {
			f.Count = -1 // until the next one for the same
		}
		if err := r.connector.RefuseAs(f); err != nil {
			r.fault("%v", err)
		}
		r.count("refusals: " + f.Class)
	}
}

// hush makes the connector carry actions out and say nothing of it: two seconds later their outcome is unknown, to a process
// that lives on.
func (r *run) hush(ctx context.Context) {
	if r.weather.silence == 0 {
		return
	}
	ops := []string{"send", "send", "send", "edit", "prompt", "send_media"}
	for pause(ctx, r.between(50, int(2*r.weather.silence.Milliseconds()))) {
		r.connector.LeaveUnanswered(ops[r.dice(len(ops))], 1)
		r.count("an action carried out and not answered")
	}
}

// beforeConnector fails uploads and downloads.
func (r *run) beforeConnector(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/relay/media") && r.lucky("upload or download failed", r.weather.failMedia) {
			w.WriteHeader([]int{500, 503, 413, 404}[r.dice(4)])
			return
		}
		next.ServeHTTP(w, req)
	})
}

// pause says whether it lasted the whole time.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
