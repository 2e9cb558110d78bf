package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/terminal"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const chatPatience = 3 * time.Second // for a buffered message once the gateway sleeps and nothing more happens

// chatGiveUp is how long a line waits for an agent that is away: somebody sits before it.
const chatGiveUp = "5s"

// Chat carries lines of in to the agent until they end, or one cannot be read, and all is answered. What the agent does is
// printed to out. env is laid over drain's settings, and names the agent and the table. A read of in that blocks may outlive
// Chat.
func Chat(ctx context.Context, cfg Config, env map[string]string, in io.Reader, out io.Writer) (err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	rec := newRecord(fail)
	rec.warn = func(text string) { fmt.Fprintln(out, "  !", terminal.Line(text)) }
	env = maps.Clone(env)
	if env["DORMOUSE_GIVE_UP_AFTER"] == "" {
		env["DORMOUSE_GIVE_UP_AFTER"] = chatGiveUp
	}
	s, err := openStage(ctx, cfg, env, rec)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if armed, err := s.Invoke(ctx, rig.Drain, []byte(`{"reason":"arm"}`)); err != nil {
		return because(ctx, err)
	} else if armed.FunctionError != "" {
		return errors.New("drain does not start with these settings")
	}
	lines, unread := make(chan string), make(chan error, 1)
	go func() { // it may read on until the process ends: nothing ends a read of a terminal
		defer close(lines)
		unread <- readLines(ctx, in, lines)
	}()
	fmt.Fprintln(out, "Write a line. Ctrl-D ends.")
	t := &talk{stage: s, out: out, book: cfg.Ledger, began: time.Now()}
	if t.dead, err = t.given(ctx); err != nil {
		return because(ctx, err)
	}
	err = because(ctx, t.carry(ctx, lines))
	select {
	case end := <-unread:
		return errors.Join(err, end)
	default: // they go on
		return err
	}
}

// readLines passes lines on until their end. Its error says why the rest was not read.
func readLines(ctx context.Context, in io.Reader, lines chan<- string) error {
	text := bufio.NewScanner(in)
	number := 1
	for ; text.Scan(); number++ {
		select {
		case lines <- strings.TrimSpace(text.Text()):
		case <-ctx.Done():
			return nil
		}
	}
	switch err := text.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("line %d has %d KB or more: make it shorter; it and what follows it were not sent",
			number, bufio.MaxScanTokenSize>>10)
	case err != nil:
		return fmt.Errorf("reading line %d: %w", number, err)
	}
	return nil
}

// talk is a chat as it goes on.
type talk struct {
	*stage
	out      io.Writer
	book     ledger.Operator
	began    time.Time
	dead     int                   // messages that earlier talks have left
	messages int                   // so far
	shown    int                   // of the connector's outbounds
	question devconnector.Outbound // the last
}

func (t *talk) carry(ctx context.Context, lines <-chan string) error {
	for {
		changed := t.change()
		state, err := t.state(ctx)
		if err != nil {
			return err
		}
		for _, o := range state.Outbounds[t.shown:] {
			t.show(o)
		}
		t.shown = len(state.Outbounds)
		gateway := state.Instance(Gateway)
		var over <-chan time.Time
		left := 0
		if lines == nil && !gateway.Connected {
			over = time.After(chatPatience)
			if left, err = t.left(ctx, gateway.Buffered); err != nil || left == 0 {
				return errors.Join(err, t.gaveUp(ctx))
			}
		}
		select {
		case line, ok := <-lines:
			if !ok {
				lines = nil
			} else if line != "" {
				err = t.say(ctx, line)
			}
			if err != nil {
				return err
			}
		case <-changed:
		case <-over:
			return unanswered(left)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// left is how many messages nobody has answered yet: those that the connector holds, and those in the ledger.
func (t *talk) left(ctx context.Context, buffered int) (int, error) {
	o, err := t.book.Overview(ctx)
	return buffered + o.Pending, err
}

// given is how many messages were given up, in this talk and before.
func (t *talk) given(ctx context.Context) (int, error) {
	dead, err := t.book.ListDead(ctx)
	return len(dead), err
}

// gaveUp is the error of messages that were given up in this talk.
func (t *talk) gaveUp(ctx context.Context) error {
	dead, err := t.given(ctx)
	if err == nil && dead > t.dead {
		err = unanswered(dead - t.dead)
	}
	return err
}

func unanswered(n int) error { return fmt.Errorf("messages left without an answer: %d", n) }

// id is the next message's, as Discord makes them: no talk before has had it.
func (t *talk) id() string {
	const discordEpoch = 1420070400000 // ms
	t.messages++
	return strconv.FormatInt((t.began.UnixMilli()-discordEpoch)<<22|int64(t.messages), 10)
}

// say delivers a line, or presses a button.
func (t *talk) say(ctx context.Context, line string) error {
	options, _ := t.question.Action["options"].([]any)
	if n, err := strconv.Atoi(line); err == nil && n > 0 && n <= len(options) {
		option, _ := options[n-1].(map[string]any)
		return t.press(ctx, fmt.Sprint(option["id"]))
	}
	event := relay.Event{Text: line, MessageType: "text", MessageID: t.id(), Source: relay.Source{
		Platform: "discord", ChatID: "1180023456789012345", ChatType: "group", ChatName: "#agents", UserID: "175928847299117063",
		UserName: "Ann", ScopeID: "1101100110011001100",
	}}
	if strings.HasPrefix(line, "/") {
		event.MessageType = "command"
	}
	return t.control(ctx, http.MethodPost, "/deliver", map[string]any{"gateway": Gateway, "event": event}, new(any))
}

// press is a button's interaction, as Discord sends it.
func (t *talk) press(ctx context.Context, option string) error {
	body, err := json.Marshal(map[string]any{
		"id": t.id(), "type": 3, "channel_id": "1180023456789012345", "guild_id": "1101100110011001100",
		"member":  map[string]any{"nick": "Ann", "user": map[string]string{"id": "175928847299117063"}},
		"message": map[string]string{"id": t.question.Result.MessageID},
		"data": map[string]string{"custom_id": relay.PromptToken{
			PromptID: fmt.Sprint(t.question.Action["prompt_id"]), OptionID: option,
		}.String()},
	})
	if err != nil {
		return err
	}
	return t.control(ctx, http.MethodPost, "/forward", map[string]any{
		"gateway": Gateway, "forward": map[string]any{"platform": "discord", "method": "POST", "path": "/", "bodyB64": body},
	}, new(any))
}

// show prints an action.
func (t *talk) show(o devconnector.Outbound) {
	if o.Op == "typing" {
		return
	}
	text := o.Content
	for _, name := range []string{"emoji", "source_url", "thread_name"} {
		if more, ok := o.Action[name].(string); ok {
			text = strings.TrimSpace(text + " " + more)
		}
	}
	if o.Op == "prompt" {
		t.question = o
		options, _ := o.Action["options"].([]any)
		for n, option := range options {
			option, _ := option.(map[string]any)
			text += fmt.Sprintf("  [%d] %v", n+1, option["label"])
		}
	}
	if taken, _ := o.Action["remove"].(bool); taken && o.Op == "react" {
		text += " is taken off"
	}
	if !o.Result.Success {
		text += " (refused: " + o.Result.Error + ")"
	}
	fmt.Fprintf(t.out, "  %s %s  (%s)\n", terminal.Line(o.Op), goingOn(terminal.Text(text)), o.At.Format(time.TimeOnly))
}

// goingOn marks each further line of a text: else it may look like an entry of its own, or like a word of the chat's.
func goingOn(text string) string { return strings.ReplaceAll(text, "\n", "\n  | ") }
