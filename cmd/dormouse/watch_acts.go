package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/dormouse-relay/dormouse/internal/page"
)

// acts are what the page may have done with --act: what the commands dead retry, dead drop and enable do.
func (w *watcher) acts() map[string]page.Act {
	return map[string]page.Act{"retry": w.retry, "drop": w.drop, "enable": w.enable}
}

// actedOn are the messages that an act is about.
type actedOn struct {
	Keys []string `json:"keys"`
	Ask  bool     `json:"ask"`
}

// each does something to each message that a body names, and goes on if one cannot be done.
func (w *watcher) each(body json.RawMessage, do func(actedOn, string) error) (done int, err error) {
	var c actedOn
	if err := json.Unmarshal(body, &c); err != nil || len(c.Keys) == 0 {
		return 0, errors.New("no message was named")
	}
	for _, key := range c.Keys {
		if fault := do(c, key); fault != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", key, fault))
		} else {
			done++
		}
	}
	w.changed()
	return done, err
}

func (w *watcher) changed() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

func (w *watcher) retry(ctx context.Context, body json.RawMessage) (any, error) {
	done, err := w.each(body, func(c actedOn, key string) error { return w.book.RetryDead(ctx, key, c.Ask) })
	if done > 0 {
		err = errors.Join(err, w.wake(ctx))
	}
	return map[string]int{"done": done}, err
}

func (w *watcher) drop(ctx context.Context, body json.RawMessage) (any, error) {
	done, err := w.each(body, func(_ actedOn, key string) error { return w.book.DropDead(ctx, key) })
	return map[string]int{"done": done}, err
}

func (w *watcher) enable(ctx context.Context, _ json.RawMessage) (any, error) {
	if err := w.book.Enable(ctx); err != nil {
		return nil, err
	}
	w.changed()
	return nil, w.wake(ctx)
}

// wake has drain look at what was put back, now rather than at the schedule's next firing.
func (w *watcher) wake(ctx context.Context) error {
	_, err := lambda.NewFromConfig(w.cloud).Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &w.function, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"reason":"arm"}`),
	})
	if err != nil {
		return fmt.Errorf("it is done, but drain was not started, so the schedule will find it: %w", err)
	}
	return nil
}
