package turn

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// fitter makes an agent's actions fit for the wire and uploads their files. An action that is wrong is logged and left out.
// It belongs to one attempt, knows no delivery, and has no lock.
type fitter struct {
	shaper  action.Shaper
	files   *files
	log     *slog.Logger
	counts  *tally
	ration  action.Ration
	usable  bool            // something can be sent
	threads map[string]bool // those that the answer creates, by the agent's numbers
	replied bool            // something replies to the message: what else the answer says does not
	wrong   error           // the first action that is wrong
	wrongs  int             // how many are

	typed map[typedIn]time.Time // when typing was passed on last, since the answer has said something
}

// typedIn is where typing is shown.
type typedIn struct{ platform, chat, thread string }

const (
	mostWrong   = 20          // actions of an answer that are logged as wrong, one by one
	typingPause = time.Second // an agent that says typing more often says nothing new
)

// all is for a whole answer, which has so many actions more than those in said. If nothing of it can be sent because of what is wrong, that is the error.
func (f *fitter) all(ctx context.Context, said []relay.Action, more int) (list []action.Outgoing, err error) {
	for i, a := range said {
		parts, err := f.next(ctx, i, a)
		if err != nil {
			return nil, err
		}
		list = append(list, parts...)
	}
	f.ration.LeftOut(more)
	rest, err := f.end(ctx)
	return f.shaper.PlanWhole(append(list, rest...)), err
}

// next is for action number i of an answer. What it returns may be sent by now.
func (f *fitter) next(ctx context.Context, i int, said relay.Action) ([]action.Outgoing, error) {
	reply, is := said, false
	if !f.replied {
		reply, is = f.shaper.AsReply(said)
	}
	parts, err := f.shaper.Fit(i, reply)
	f.replied = f.replied || is && len(parts) > 0
	if err == nil && len(parts) > 0 {
		err = f.thread(i, parts[0])
	}
	if err != nil {
		f.leaveOut(err)
		return nil, nil
	}
	f.usable = f.usable || len(parts) > 0
	if f.typesAgain(parts) {
		return nil, nil
	}
	return f.files.upload(ctx, f.log, f.shaper, f.ration.Take(f.shaper, parts))
}

// thread notes a thread that is to be created, and fails for an action that is for one that is not.
func (f *fitter) thread(i int, o action.Outgoing) error {
	if o.Op() == "thread_create" {
		if f.threads == nil {
			f.threads = map[string]bool{}
		}
		f.threads[o.InThread] = true
	}
	if o.Aimed() && !f.threads[o.InThread] {
		return fmt.Errorf("agent: actions[%d].%w", i, action.ErrNoThread)
	}
	return nil
}

// typesAgain reports whether parts are a typing that its chat shows already. What is said ends it there.
func (f *fitter) typesAgain(parts []action.Outgoing) bool {
	if len(parts) == 0 {
		return false
	}
	switch o := parts[0]; o.Op() {
	case "typing":
		where, now := typedIn{o.Platform, o.Chat(), o.InThread}, time.Now()
		if last, is := f.typed[where]; is && now.Sub(last) < typingPause {
			return true
		}
		if f.typed == nil {
			f.typed = map[typedIn]time.Time{}
		}
		f.typed[where] = now
	case "edit", "delete":
	default:
		clear(f.typed)
	}
	return false
}

// leaveOut says that something of the answer is wrong and is not sent.
func (f *fitter) leaveOut(err error) {
	if f.wrongs++; f.wrongs <= mostWrong {
		f.log.Warn(logs.ActionWrong, logs.KeyError, err)
	}
	if f.wrong == nil {
		f.wrong = err
	}
}

// end returns what was held back until the end of the answer. It fails if nothing can be sent because of what is wrong.
func (f *fitter) end(ctx context.Context) ([]action.Outgoing, error) {
	if more := f.wrongs - mostWrong; more > 0 {
		f.log.Warn(logs.ActionsWrong, logs.KeyMessages, more)
	}
	if !f.usable && f.wrong != nil {
		return nil, f.wrong
	}
	rest := f.ration.Rest(f.shaper)
	if f.ration.Cut() {
		f.log.Warn(logs.AnswerCut)
		f.counts.add(func(c *Counts) { c.Cut++ })
	}
	return f.files.upload(ctx, f.log, f.shaper, rest)
}
