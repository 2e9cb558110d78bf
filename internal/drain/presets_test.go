package drain_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// buffering are the connectors that keep what comes while nobody is connected.
func buffering(t *testing.T) []string {
	return slices.DeleteFunc(devconnector.PresetNames(), func(name string) bool {
		preset, err := devconnector.PresetNamed(name)
		is.New(t).NoErr(err)
		return preset.LiveOnly
	})
}

// platformOf is one that a preset fronts.
func platformOf(preset string) string {
	if preset == "whatrouter" {
		return "whatsapp"
	}
	return "discord"
}

func TestEveryConnectorIsDrainedWithoutLossOrRepetition(t *testing.T) {
	for _, preset := range buffering(t) {
		t.Run(preset, func(t *testing.T) {
			bubble(t, setup{preset: preset}, func(t *testing.T, r *rig) {
				is := is.New(t)
				platform := platformOf(preset)
				var want []string
				deliver := func(chat string, n int) {
					text := fmt.Sprint("text ", n)
					r.Deliver(gateway, event(platform, chat, fmt.Sprint("m", n), text))
					want = append(want, chat+" "+text)
				}
				for n := range 12 {
					deliver(fmt.Sprint("c", n%3), n)
				}
				live := r.during(func(s devconnector.State) bool { return s.Instance(gateway).Buffered == 0 && len(s.Acks) >= 12 }, func() {
					deliver("c1", 100)
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				live()
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(rep.Unknown, 0)
				is.Equal(sorted(r.replies()), sorted(want))
				is.Equal(r.Buffered(gateway), 0)
				is.Equal(r.State().Instance(gateway).Dropped, 0)
				is.Equal(len(r.State().Breaches), 0)
				is.True(!slices.ContainsFunc(r.Outbounds(), func(out devconnector.Outbound) bool { return out.Progress }))
				for _, chat := range []string{"c0", "c2"} { // the order of each chat is kept
					is.True(inOrder(r.replies(), chat))
				}

				// The socket is cut before an ack gets through: the entry comes again, and is not answered again.
				deliver("c0", 200)
				cut := r.during(func(s devconnector.State) bool { return slices.Contains(r.replies(), "c0 text 200") }, func() {
					r.Drop(gateway)
				})
				_, _, err = r.run(ledger.Wake, quarter)
				cut()
				is.NoErr(err)
				is.Equal(sorted(r.replies()), sorted(want))
				is.Equal(r.Buffered(gateway), 0)
			})
		})
	}
}

// A connector pokes at most once a minute. What comes within that minute of a poke must find us still connected.
func TestAMessageInsideTheCooldownNeedsNoSecondPoke(t *testing.T) {
	for _, preset := range buffering(t) {
		for _, after := range []time.Duration{5 * time.Second, 25 * time.Second, 45 * time.Second, 59 * time.Second} {
			t.Run(fmt.Sprint(preset, " ", after), func(t *testing.T) {
				bubble(t, setup{preset: preset}, func(t *testing.T, r *rig) {
					is := is.New(t)
					platform := platformOf(preset)
					r.Deliver(gateway, event(platform, "c1", "m1", "one"))
					time.AfterFunc(after, func() { r.Deliver(gateway, event(platform, "c1", "m2", "two")) })
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					is.Equal(r.replies(), []string{"c1 one", "c1 two"})
					is.Equal(r.Buffered(gateway), 0)
					is.True(len(r.State().Pokes) <= 1)
				})
			})
		}
	}
}

func TestAMessageInTheFlipWindowIsFoundByTheSecondLook(t *testing.T) {
	for _, preset := range buffering(t) {
		t.Run(preset, func(t *testing.T) {
			bubble(t, setup{preset: preset}, func(t *testing.T, r *rig) {
				is := is.New(t)
				platform := platformOf(preset)
				r.DelayIdleAck(3 * time.Second) // it has flipped, and its ack comes late
				wait := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 }, func() {
					r.Deliver(gateway, event(platform, "c1", "m1", "between"))
				})
				_, _, err := r.run(ledger.Schedule, quarter)
				wait()
				is.NoErr(err)
				time.Sleep(6 * time.Minute)
				_, _, err = r.run(ledger.Schedule, quarter) // at the latest the next sweep finds it
				is.NoErr(err)
				is.Equal(r.replies(), []string{"c1 between"})
				is.Equal(r.Buffered(gateway), 0)
			})
		})
	}
}

// A message that comes between the flip and the close of its socket brings no poke with a connector that pokes only while
// nobody is connected. After a slow close the same run looks for it; after a quick one the next sweep does.
func TestASlowCloseIsFollowedByASecondLook(t *testing.T) {
	tests := map[string]struct {
		takes   time.Duration // the close
		message bool          // comes meanwhile
		sockets int
	}{
		"a quick close":                      {0, false, 1},
		"not so slow":                        {1900 * time.Millisecond, false, 1},
		"slow":                               {2100 * time.Millisecond, false, 2}, // and no third look
		"slow, and a message came":           {2100 * time.Millisecond, true, 3},  // the second look found it, and its close was slow
		"quick enough, and a message came":   {1900 * time.Millisecond, true, 1},
		"nobody answers the close, one came": {time.Minute, true, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			quiet := func(p *devconnector.Preset) { p.Poke, p.PokeWhileConnected = devconnector.PokeFirst, false }
			bubble(t, setup{change: quiet}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.closesIn(tt.takes)
				wait := func() {}
				if tt.message {
					wait = r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 && s.Idles[0].Acked }, func() {
						time.Sleep(time.Second) // the socket is still open
						r.Deliver(gateway, event("discord", "c1", "m1", "between"))
					})
				}
				_, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(len(r.State().Sockets), tt.sockets)
				is.Equal(len(r.State().Pokes), 0)
				if tt.message && tt.sockets > 1 {
					is.Equal(r.replies(), []string{"c1 between"})
					is.Equal(r.Buffered(gateway), 0)
				}
			})
		})
	}
}

// A connector that sends something behind its ack may have more: the run looks again, also if there was nothing to say to it.
func TestWhatComesBehindTheAckIsFollowedByASecondLook(t *testing.T) {
	unflipped := func(p *devconnector.Preset) { p.FlipOnIdle = false }
	silent := agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, nil })
	bubble(t, setup{change: unflipped, agent: silent, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.closesIn(time.Second)
		wait := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 && s.Idles[0].Acked }, func() {
			time.Sleep(500 * time.Millisecond)
			r.Deliver(gateway, event("discord", "c1", "m1", "behind it"))
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Turns, 1)
		is.Equal(len(r.State().Sockets), 2)
	})
}

// closesIn has the gateway's close frames take so long to the connector.
func (r *rig) closesIn(d time.Duration) {
	dial := r.parts.NetDial
	r.parts.NetDial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return slowCloser{conn, d}, nil
	}
	r.drainer = drain.New(r.settings, *r.parts)
}

// slowCloser is a connection on which a WebSocket's close frame takes its time; it is the last thing that is written.
type slowCloser struct {
	net.Conn
	takes time.Duration
}

func (c slowCloser) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0x88 { // a whole close frame: RFC 6455 section 5.2
		frame := slices.Clone(p)
		time.AfterFunc(c.takes, func() { c.Conn.Write(frame) })
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// What single connectors are known to do (section 19): everything is answered all the same, at the latest by the sweeps.
func TestWhatSingleConnectorsAreKnownFor(t *testing.T) {
	tests := map[string]struct {
		preset string
		change func(*devconnector.Preset)
		rows   int
		long   string // behind each text
		sends  int    // that an answer takes
		sweeps int    // how many are enough
	}{
		"AgentSync's 100 rows a hello": {"agentsync", nil, 250, "", 1, 2},
		"the Rust cell's turns":        {"rustcell", nil, 40, "", 1, 0},
		"whatrouter's minute a chunk":  {"whatrouter", slow, 3, strings.Repeat("x", 9000), 3, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{preset: tt.preset, change: tt.change}, func(t *testing.T, r *rig) {
				var want []string
				for n := range tt.rows {
					text := fmt.Sprint("text ", n, ".")
					want = append(want, text)
					r.Deliver(gateway, event(platformOf(tt.preset), fmt.Sprint("c", n%3), fmt.Sprint("m", n), text+tt.long))
				}
				runs := []ledger.Reason{ledger.Wake}
				for range tt.sweeps {
					runs = append(runs, ledger.Schedule)
				}
				for _, reason := range runs {
					if _, _, err := r.run(reason, quarter); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Hour)
				}
				if waiting := r.Buffered(gateway); waiting > 0 {
					t.Errorf("%d rows wait", waiting)
				}
				var got []string
				sends := 0
				for _, out := range r.Outbounds() {
					if out.Op == "send" && out.Applied && !out.Repeated {
						sends++
						if text, _, found := strings.Cut(out.Content, "."); found && strings.HasPrefix(text, "text ") {
							got = append(got, text+".")
						}
					}
				}
				if !slices.Equal(sorted(got), sorted(want)) || sends != tt.rows*tt.sends {
					t.Errorf("%d sends, %d first parts, want %d of %d", sends, len(got), tt.rows*tt.sends, len(want))
				}
			})
		})
	}
}

func slow(p *devconnector.Preset) { p.OutboundDelay = time.Minute }

// The Slack sidecar buffers nothing: what comes while a drain is connected is answered, after going_idle, too.
func TestALiveOnlyConnectorIsAnsweredWhileConnected(t *testing.T) {
	bubble(t, setup{preset: "slacksidecar"}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(func(s devconnector.State) bool { return s.Instance(gateway).Connected }, func() {
			r.Deliver(gateway, event("slack", "c1", "m1", "one"))
			time.Sleep(time.Second)
			r.Deliver(gateway, event("slack", "c1", "m2", "two"))
		})
		_, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 one", "c1 two"})
		is.Equal(r.State().Instance(gateway).Dropped, 0)
	})
}

func TestEveryLostPokeIsFoundByASweep(t *testing.T) {
	for _, way := range []devconnector.PokeLoss{devconnector.LostInCooldown, devconnector.LostInFlip, devconnector.LostByFailure} {
		t.Run(string(way), func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "one"))
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				start := time.Now()
				r.LosePoke(way)
				r.Deliver(gateway, event("discord", "c1", "m2", "two"))
				for len(r.replies()) == 1 {
					time.Sleep(5 * time.Minute)
					_, _, err := r.run(ledger.Schedule, quarter)
					is.NoErr(err)
				}
				is.Equal(r.replies(), []string{"c1 one", "c1 two"})
				is.True(time.Since(start) < 8*time.Minute) // 6 until the sweep, and that itself
			})
		})
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func inOrder(replies []string, chat string) bool {
	last := -1
	for _, reply := range replies {
		var c string
		var n int
		if fmt.Sscanf(reply, "%s text %d", &c, &n); c != chat {
			continue
		}
		if n < last {
			return false
		}
		last = n
	}
	return true
}
