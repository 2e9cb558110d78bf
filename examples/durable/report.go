// Package durable is the work of an agent that takes two hours, as a durable function of Lambda's does it: in steps that are
// written down, with a wait between them that costs nothing. Its answer comes late, in two parts. README.md says how it is
// deployed.
package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Turn is what this agent reads of a turn (docs/agent/turn.schema.json).
type Turn struct {
	Event struct {
		Text string `json:"text"`
	} `json:"event"`
	Delivery struct {
		Key   string `json:"key"`
		Trial bool   `json:"trial"`
	} `json:"delivery"`
}

// Execution is what the work needs of a durable execution. Step runs do once and writes its result down; when the function is
// run again, it returns that result instead. Wait ends the invocation; the function is run again once the time is over.
type Execution interface {
	Step(name string, do func() (string, error)) (string, error)
	Wait(name string, d time.Duration) error
}

// Gateway invokes drain, asynchronously, with a payload.
type Gateway func(payload []byte) error

// Report works on a turn and answers it late: a part at once, the rest once the job is done. Each part is a step of its own. A
// step that is run twice, because its process died before its result was written down, says the same under the same key.
func Report(x Execution, turn Turn, jobs Jobs, gateway Gateway) error {
	if turn.Delivery.Trial {
		return nil // dormouse doctor asks whether we are there
	}
	if turn.Delivery.Key == "" {
		return errors.New("the turn has no delivery.key")
	}
	job, err := x.Step("start", func() (string, error) { return jobs.Start(turn.Event.Text, turn.Delivery.Key) })
	if err != nil {
		return err
	}
	if err := part(x, turn, gateway, 1, false, "I am on it: job "+job+", about two hours."); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := x.Wait(fmt.Sprint("wait ", try), time.Hour); err != nil {
			return err
		}
		result, err := x.Step(fmt.Sprint("look ", try), func() (string, error) { return jobs.Result(job) })
		if err != nil {
			return err
		}
		if result != "" {
			return part(x, turn, gateway, 2, true, result)
		}
	}
}

// Jobs is what does the work.
type Jobs interface {
	// Start starts a job under a name, or finds the one that has it.
	Start(what, name string) (id string, err error)
	// Result is empty as long as the job is not done.
	Result(id string) (string, error)
}

// part says a part of the late answer.
func part(x Execution, turn Turn, gateway Gateway, n int, last bool, text string) error {
	_, err := x.Step(fmt.Sprint("say ", n), func() (string, error) {
		payload, err := json.Marshal(map[string]any{
			"reason": "say", "reply_to_delivery": turn.Delivery.Key, "n": n, "last": last, "text": text,
		})
		if err != nil {
			return "", err
		}
		return "said", gateway(payload)
	})
	return err
}
