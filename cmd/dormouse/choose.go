package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// choice says which dead messages a command line means: the one with key, or all that match the other fields.
type choice struct {
	key            string
	since          time.Time // those that died then or later; zero: all
	platform, chat string    // those from this chat; empty: from any
	json           bool      // print what was done for programs
}

func keyFlag() cli.Flag {
	return &cli.StringFlag{Name: "key", Usage: "`KEY` of the message, as dormouse dead list shows it, in place of the argument"}
}

func choiceFlags() []cli.Flag {
	return []cli.Flag{
		jsonFlag(), keyFlag(),
		&cli.BoolFlag{Name: "all", Usage: "all dead messages"},
		&cli.StringFlag{Name: "since", Usage: "those that died since `WHEN`: a time ago (2h, 90m) or a date (2026-11-27, or RFC 3339)"},
		&cli.StringFlag{Name: "chat", Usage: "those from the chat `PLATFORM:ID`; with --since, of these"},
	}
}

// keyOf is the key in a command line: its only argument, or --key.
func keyOf(cmd *cli.Command) (string, error) {
	key := cmp.Or(cmd.String("key"), cmd.Args().First())
	if n := cmd.NArg(); n > 1 || n == 1 && cmd.String("key") != "" {
		return "", misuse(fmt.Errorf("%s takes one KEY", cmd.FullName()))
	}
	return key, nil
}

func chosen(cmd *cli.Command) (c choice, err error) {
	if c.key, err = keyOf(cmd); err != nil {
		return c, err
	}
	c.json = cmd.Bool("json")
	since, chat := cmd.String("since"), cmd.String("chat")
	all, some := cmd.Bool("all"), since != "" || chat != ""
	if n := count(c.key != "", all, some); n != 1 {
		return c, misuse(errors.New("which messages: give one key, as dormouse dead list shows it, or --all, or --since or --chat"))
	}
	if since != "" {
		if c.since, err = parseSince(since, time.Now()); err != nil {
			return c, err
		}
	}
	if chat != "" {
		var ok bool
		if c.platform, c.chat, ok = strings.Cut(chat, ":"); !ok || c.platform == "" || c.chat == "" {
			return c, misuse(fmt.Errorf("--chat is %q; want PLATFORM:ID, for instance telegram:-100123", chat))
		}
	}
	return c, nil
}

func count(flags ...bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}

// parseSince reads a time ago, or a date.
func parseSince(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, misuse(fmt.Errorf("--since is %q; want a time ago (2h, 90m), a date (2026-11-27, in UTC) or RFC 3339", s))
}

// handled is what was done with the dead messages that were meant, for programs. Neither list is null.
type handled struct {
	Done []string `json:"done"` // keys
	Left []string `json:"left"` // keys of those that were no longer dead, or of which nothing is kept that could be answered
}

// forEach does something to each dead message that is meant. A message that is no longer dead is an error only if its key was
// given. With an error it says what was done before.
func (c choice) forEach(ctx context.Context, book ledger.Operator, do func(context.Context, string) error) (handled, error) {
	h := handled{Done: []string{}, Left: []string{}}
	keys, err := c.keys(ctx, book)
	if err != nil {
		return h, err
	}
	for _, key := range keys {
		switch err := do(ctx, key); {
		case errors.Is(err, ledger.ErrNotDead) && c.key == "":
			h.Left = append(h.Left, key)
		case errors.Is(err, ledger.ErrNotDead):
			return h, notDead(key, err)
		case err != nil:
			return h, err
		default:
			h.Done = append(h.Done, key)
		}
	}
	return h, nil
}

// tell prints what was done, in people's words for it.
func (h handled) tell(out io.Writer, done string, many bool) {
	for _, key := range h.Done {
		fmt.Fprintf(out, "%s: %s\n", key, done)
	}
	for _, key := range h.Left {
		fmt.Fprintf(out, "%s: left as it is: no longer dead, or nothing is kept that could be answered\n", key)
	}
	if many {
		fmt.Fprintf(out, "%s: %d of %d\n", done, len(h.Done), len(h.Done)+len(h.Left))
	}
}

// notDead is the error of a key that no dead message has.
func notDead(key string, err error) error {
	return fmt.Errorf("no dead message with the key %s can be had: dormouse dead list shows those that are dead, dormouse status those "+
		"that wait; one that was put back, dropped or answered is no longer dead: %w", key, err)
}

// keys are those of the dead messages that are meant.
func (c choice) keys(ctx context.Context, book ledger.Operator) (keys []string, err error) {
	if c.key != "" {
		return []string{c.key}, nil
	}
	dead, err := book.ListDead(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range dead {
		if e.Died.Before(c.since) {
			continue
		}
		if c.chat != "" {
			is, err := c.isFrom(ctx, book, e.Key)
			if err != nil {
				return nil, err
			}
			if !is {
				continue
			}
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// isFrom says whether a dead message is from the chat that is meant. It is false for a message that is no longer dead.
func (c choice) isFrom(ctx context.Context, book ledger.Operator, key string) (bool, error) {
	source, err := sourceOf(ctx, book, key)
	return err == nil && strings.EqualFold(source.Platform, c.platform) && source.ChatID == c.chat, err
}

// sourceOf is where a dead message is from: nowhere, if it is no longer dead or is not kept itself.
func sourceOf(ctx context.Context, book ledger.Operator, key string) (relay.Source, error) {
	e, err := book.ShowDead(ctx, key)
	if errors.Is(err, ledger.ErrNotDead) {
		return relay.Source{}, nil
	}
	if err != nil {
		return relay.Source{}, err
	}
	var d relay.Delivery
	if len(e.Body) == 0 || json.Unmarshal(e.Body, &d) != nil || d.Event == nil {
		return relay.Source{}, nil
	}
	return d.Event.Source, nil
}
