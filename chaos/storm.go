package main

import (
	"context"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// weather is what a run's seed decides: shares of requests or turns that something happens to, and how long from one
// other fault to the next.
type weather struct {
	killTable, failTable, slowTable float64
	killTurn, failTurn, slowTurn    float64
	pause                           time.Duration
	lease                           time.Duration // of the drain: how soon a dead one's is free
	timeout                         time.Duration // of the function: a short one makes it hand over
}

// between is a random time in milliseconds.
func (r *run) between(from, to int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(from+r.rng.IntN(to-from)) * time.Millisecond
}

// lucky reports whether a fault is to happen, by chance, and counts it if so.
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

// schedules fire as EventBridge does, only faster.
func (r *run) schedules(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 700*time.Millisecond)
		if err := r.host.InvokeEvent(rig.Drain, []byte(`{"reason":"schedule"}`)); err != nil {
			r.fault("schedule: %v", err)
		}
	}
}

// blow injects the faults that do not belong to a request.
func (r *run) blow(ctx context.Context) {
	faults := r.faults()
	for {
		if !pause(ctx, r.between(50, int(2*r.weather.pause.Milliseconds()))) {
			return
		}
		r.mu.Lock()
		which := r.rng.IntN(len(faults))
		r.mu.Unlock()
		if name := faults[which](ctx); name != "" {
			r.mu.Lock()
			r.injected[name]++
			r.mu.Unlock()
		}
	}
}

// faults are what blow chooses from; the frequent ones are there twice. Each returns its name, or "" if it hit nothing
// because no gateway was connected.
func (r *run) faults() []func(context.Context) string {
	always := func(name string, do func()) func(context.Context) string {
		return func(context.Context) string { do(); return name }
	}
	connected := func(name string, do func(gateway string) error) func(context.Context) string {
		return func(context.Context) string {
			if do(r.gateway) != nil {
				return ""
			}
			return name
		}
	}
	kill := always("SIGKILL", func() { r.host.Kill(rig.Drain) })
	freeze := always("SIGSTOP for a while", func() { r.freeze(r.between(100, 4500)) })
	return []func(context.Context) string{
		kill, kill,
		always("SIGTERM", func() { r.host.Shutdown(rig.Drain) }),
		freeze, freeze,
		connected("socket cut by the connector", r.connector.Drop),
		always("connection cut", func() { r.wire.each((*line).cut) }),
		r.mute, r.mute,
		r.losePoke, r.losePoke,
		always("deliveries doubled", func() { r.connector.Duplicate(2) }),
		connected("token expired", r.connector.Expire),
		always("results delayed", func() { r.connector.DelayResults(r.between(0, 300)) }),
	}
}

// mute drops what drain sends for a while, and then cuts its connection.
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
	r.mu.Lock()
	way := losses[r.rng.IntN(len(losses))]
	r.mu.Unlock()
	r.connector.LosePoke(way)
	return "poke lost: " + string(way)
}

// freeze stops the function's processes, and lets them go on after d.
func (r *run) freeze(d time.Duration) {
	pids := r.host.PIDs(rig.Drain)
	r.mu.Lock()
	r.frozen = true
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
