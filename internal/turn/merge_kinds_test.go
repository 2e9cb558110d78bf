package turn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What else a turn of several messages may be, have or run into.

// says has the agent of a bench answer as a function does, once the turn is noted.
func (b *bench) says(turns *turnList, answer func(agent.Turn) (agent.Answer, error)) {
	b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
		turns.add(tn)
		return answer(tn)
	})
}

// replies are the sends of a bench, with what they say.
func (b *bench) replies() (list []string) {
	for _, line := range b.wire.seen() {
		if text, is := strings.CutPrefix(line, "send "); is {
			list = append(list, text)
		}
	}
	return list
}

func TestResultsOfASetComeOnceToItsLeader(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		b.says(turns, func(tn agent.Turn) (agent.Answer, error) {
			if tn.Kind == agent.KindResults {
				return agent.Answer{Actions: []relay.Action{send("told")}}, nil
			}
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "a", "result": "first"}}}, nil
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		is.Equal(len(turns.all()), 2)
		results := turns.all()[1]
		is.Equal(results.Delivery.Key, turns.all()[0].Delivery.Key+"/results/1")
		is.Equal(results.Results["first"].MessageID, "m")
		is.Equal(len(results.Events), 0)
		is.Equal(b.replies(), []string{"c1 a", "c1 told"})
		is.Equal(len(b.unfinished()), 0)
		is.Equal(w.Counts().Finished, 4) // with the turn of results
	})
}

func TestASetAsksAndTheAnswerComesAlone(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		b.wire.ops = allOps
		b.says(turns, func(tn agent.Turn) (agent.Answer, error) {
			if tn.Prompt != nil {
				return agent.Answer{Actions: []relay.Action{send("chosen " + tn.Prompt.Ref)}}, nil
			}
			return agent.Answer{Actions: []relay.Action{ask("r")}}, nil
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		pass(time.Second)
		is.Equal(len(turns.all()), 1)
		id, _ := b.wire.outs[0].Action["prompt_id"].(string)
		b.takeAll("3")
		is.NoErr(w.Take(buffered("b-p", press("p1", id, "once"))))
		b.takeAll("4")
		pass(2 * time.Second)
		is.Equal(len(turns.all()), 4)
		is.Equal(turns.all()[2].Prompt.Ref, "r")
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestAnEditedMessageIsALineOfItsOwnInASet(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		w := b.start()
		defer w.Close()
		edited := message("c1", "m-1", "one, edited")
		edited.Event.Source.MessageIsEdit = true
		b.takeAll("1")
		is.NoErr(w.Take(buffered("b-e", edited)))
		b.takeAll("2")
		pass(time.Second)
		is.Equal(asked(turns), []string{"1/one, edited/2"})
		is.True(turns.all()[0].Events[1].Source.MessageIsEdit)
	})
}

func TestWhoeverIsNotTheSameSpeakerIsNotMerged(t *testing.T) {
	change := func(what func(*relay.Source)) func(relay.Delivery) relay.Delivery {
		return func(d relay.Delivery) relay.Delivery {
			what(&d.Event.Source)
			return d
		}
	}
	tests := map[string]struct {
		change func(relay.Delivery) relay.Delivery
		want   []string
	}{
		"a bot":            {change(func(s *relay.Source) { s.IsBot = true }), []string{"a", "b", "c"}},
		"another thread":   {change(func(s *relay.Source) { s.ThreadID = "t2" }), []string{"a/c", "b"}},
		"another chat":     {change(func(s *relay.Source) { s.ChatID = "c2" }), []string{"a/c", "b"}},
		"another platform": {change(func(s *relay.Source) { s.Platform = "telegram" }), []string{"a/c", "b"}},
		"the same":         {change(func(s *relay.Source) { s.UserName = "renamed" }), []string{"a/b/c"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
				w := b.start()
				defer w.Close()
				for i, d := range []relay.Delivery{message("c1", "a", "a"), tt.change(message("c1", "b", "b")), message("c1", "c", "c")} {
					is.NoErr(w.Take(buffered(fmt.Sprint("b", i), d)))
				}
				pass(2 * time.Second)
				got := asked(turns)
				for _, want := range tt.want {
					is.True(strings.Contains(strings.Join(got, " ")+" ", want+" "))
				}
				is.Equal(len(got), len(tt.want))
			})
		})
	}
}

// Who is late is said of the last one, as delivery is that one's.
func TestASetIsAsLateAsItsLastMessage(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.StaleAfter = 15 * time.Minute
		}
		w := b.start()
		defer w.Close()
		for i, age := range []time.Duration{time.Hour, 0} {
			d := buffered(fmt.Sprint("b", i), message("c1", fmt.Sprint("m", i), fmt.Sprint(i)))
			d.ReceivedAt = time.Now().Add(-age)
			is.NoErr(w.Take(d))
		}
		is.NoErr(w.Take(buffered("b2", message("c2", "m2", "x"))))
		old := buffered("b3", message("c2", "m3", "y"))
		old.ReceivedAt = time.Now().Add(-time.Hour)
		is.NoErr(w.Take(old))
		pass(time.Second)
		is.Equal(len(turns.all()), 2)
		for _, tn := range turns.all() {
			is.Equal(tn.Late, tn.Event.Source.ChatID == "c2")
			is.Equal(tn.Delivery.AgeS >= 3600, tn.Late)
		}
	})
}

func TestASetWhoseAgentStaysAwayIsDeadTogetherAndToldOnce(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.GiveUpAfter, c.Apology = time.Hour, "sorry"
		}
		b.says(turns, func(agent.Turn) (agent.Answer, error) { return agent.Answer{}, agent.ErrUnavailable })
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2", "3")
		pass(2 * time.Hour)
		for _, tn := range turns.all() {
			is.Equal(len(tn.Events), 3)
		}
		is.Equal(len(b.dead()), 3)
		is.Equal(w.Counts().Dead, 3)
		is.Equal(b.replies(), []string{"c1 sorry"})
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestEachOfASetHasItsAttempts(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Apology = "sorry"
		}
		b.says(turns, func(agent.Turn) (agent.Answer, error) { return agent.Answer{}, errors.New("500") })
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		pass(10 * time.Minute)
		is.Equal(asked(turns), []string{"1/2", "1", "1", "1", "2", "2", "2"})
		is.Equal(len(b.dead()), 2)
		is.Equal(b.replies(), []string{"c1 sorry"}) // at most once an hour
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestASetThatIsRefusedIsTriedOneByOne(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		b.says(turns, func(tn agent.Turn) (agent.Answer, error) {
			if strings.Contains(tn.Event.Text, "bad") {
				return agent.Answer{}, agent.ErrRefused
			}
			return agent.Answer{Actions: []relay.Action{send(tn.Event.Text)}}, nil
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "bad", "3")
		pass(time.Minute)
		is.Equal(b.replies(), []string{"c1 1", "c1 3"})
		is.Equal(len(b.dead()), 1)
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestASetThatIsAnsweredLaterEndsTogether(t *testing.T) {
	for name, restart := range map[string]bool{"in the same run": false, "in a later one": true} {
		t.Run(name, func(t *testing.T) {
			merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
				change := b.change
				b.change = func(c *turn.Config) {
					change(c)
					c.Apology = "sorry"
				}
				b.says(turns, func(tn agent.Turn) (agent.Answer, error) {
					if tn.Event.Text == "now" {
						return agent.Answer{Actions: []relay.Action{send("at once")}}, nil
					}
					return agent.Answer{Later: 3 * time.Hour}, nil
				})
				w := b.start()
				b.takeAll("1", "2", "3")
				pass(time.Second)
				is.Equal(asked(turns), []string{"1/2/3"})
				is.NoErr(w.Take(message("c1", "m-now", "now"))) // its session goes on
				pass(time.Second)
				is.Equal(b.replies(), []string{"c1 at once"})
				is.Equal(len(b.unfinished()), 3)
				if restart {
					w.Close()
					w = b.start()
				}
				defer func() { w.Close() }()
				pass(4 * time.Hour) // and nothing comes
				is.Equal(len(b.unfinished()), 0)
				is.Equal(len(b.dead()), 3)
				is.Equal(w.Counts().Dead, 3)
				is.Equal(b.replies(), []string{"c1 at once", "c1 sorry"})
				is.Equal(len(turns.all()), 2)
			})
		})
	}
}

// A button's chat, a command and a message that no journal has are beside a set, and none of them is in it.
func TestALiveMessageThatNoJournalHasIsInNoSet(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Journal = library{b.lease, &shelves{loaded: map[string]int{}, most: 25}}
		}
		release := make(chan struct{})
		b.says(turns, func(tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "first" {
				<-release
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m0", "first")))
		pass(time.Second)
		is.NoErr(w.Take(message("c1", "m1", "a")))
		is.NoErr(w.Take(message("c1", "m2", strings.Repeat("x", 110_000)))) // more than the journal takes
		is.NoErr(w.Take(message("c1", "m3", "b")))
		is.NoErr(w.Take(message("c1", "m4", "c")))
		pass(time.Second)
		close(release)
		pass(time.Minute)
		var sizes []int
		for _, tn := range turns.all() {
			sizes = append(sizes, len(tn.Events))
		}
		is.Equal(sizes, []int{0, 0, 0, 2})
		is.Equal(len(b.unfinished()), 0)

	})
}
