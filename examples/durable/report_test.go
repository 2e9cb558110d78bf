package durable_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/examples/durable"
	"github.com/dormouse-relay/dormouse/internal/say"
)

// service simulates Lambda's durable executions: what a step returned is written down, and the function is run again, from the
// beginning, after a wait or after its process has died.
type service struct {
	now  time.Time
	log  map[string]string
	dies func(step string) bool // before its result is written down
}

var (
	errWaits = errors.New("the invocation ends: it waits")
	errDies  = errors.New("the process dies")
)

func (s *service) Step(name string, do func() (string, error)) (string, error) {
	if result, known := s.log[name]; known {
		return result, nil
	}
	result, err := do()
	if err != nil {
		return "", err
	}
	if s.dies(name) {
		return "", errDies
	}
	s.log[name] = result
	return result, nil
}

func (s *service) Wait(name string, d time.Duration) error {
	if _, over := s.log[name]; over {
		return nil
	}
	s.now = s.now.Add(d)
	s.log[name] = "over"
	return errWaits
}

// jobs take two hours.
type jobs struct {
	s       *service
	started map[string]time.Time
}

func (j *jobs) Start(what, name string) (string, error) {
	if _, known := j.started[name]; !known {
		j.started[name] = j.s.now
	}
	return name, nil
}

func (j *jobs) Result(id string) (string, error) {
	if j.s.now.Sub(j.started[id]) < 2*time.Hour {
		return "", nil
	}
	return "14 pages.", nil
}

func TestAReportTakesTwoHoursAndComesInTwoParts(t *testing.T) {
	for _, dead := range []string{"", "start", "say 1", "look 1", "look 2", "say 2"} {
		t.Run("dies at "+dead, func(t *testing.T) {
			is := is.New(t)
			died := false
			s := &service{log: map[string]string{}, dies: func(step string) bool {
				first := step == dead && !died
				died = died || first
				return first
			}}
			j := &jobs{s, map[string]time.Time{}}
			var keys, texts []string
			gateway := func(payload []byte) error {
				said, err := say.Parse(payload) // as drain checks it
				if err != nil {
					return err
				}
				if !slices.Contains(keys, said.Key) { // the gateway says a key once
					keys = append(keys, said.Key)
					texts = append(texts, fmt.Sprint(said.Actions[0]["content"], said.Last))
				}
				return nil
			}
			var turn durable.Turn
			turn.Event.Text, turn.Delivery.Key = "the yearly report", "615cf69d"
			invocations := 0
			for err := errWaits; err != nil; invocations++ {
				if err = durable.Report(s, turn, j, gateway); err != nil && !errors.Is(err, errWaits) && !errors.Is(err, errDies) {
					t.Fatal(err)
				}
			}
			is.Equal(len(j.started), 1)
			is.Equal(keys, []string{"615cf69d/1", "615cf69d/2"})
			is.Equal(texts, []string{"I am on it: job 615cf69d, about two hours.false", "14 pages.true"})
			is.Equal(s.now.Sub(time.Time{}), 2*time.Hour)
			is.Equal(died, dead != "")
		})
	}
}

func TestATrialTurnStartsNothing(t *testing.T) {
	is := is.New(t)
	s := &service{log: map[string]string{}, dies: func(string) bool { return false }}
	var turn durable.Turn
	turn.Delivery.Trial = true
	is.NoErr(durable.Report(s, turn, &jobs{s, map[string]time.Time{}}, func([]byte) error { return errors.New("it is invoked") }))
	is.Equal(len(s.log), 0)
}
