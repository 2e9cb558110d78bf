package ledger

import (
	"context"
	"maps"
	"time"
)

// memoryLease is the lease of a Memory, in its holder's hands.
type memoryLease struct {
	*Memory
	grant     Grant
	givenBack bool // guarded by Memory.mu
	heard     int  // of Memory.said, as of the last Says; guarded likewise
}

func (l *memoryLease) Grant() Grant { return l.grant }

func (l *memoryLease) GivenBack() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.givenBack
}

// held runs f under the lock, unless a later epoch has begun or the lease has been given back.
func (l *memoryLease) held(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.givenBack || l.grant.Epoch != l.epoch {
		return ErrLost
	}
	return f()
}

func (l *memoryLease) Heartbeat(_ context.Context) error {
	return l.held(func() error {
		l.until = time.Now().Add(l.life)
		return nil
	})
}

func (l *memoryLease) Clear(_ context.Context) error {
	return l.held(func() error {
		l.asked = false
		return nil
	})
}

func (l *memoryLease) Release(_ context.Context, plan Plan, received bool) error {
	return l.held(func() error {
		if l.asked {
			return ErrAsked
		}
		l.giveBack(plan, received)
		return nil
	})
}

func (l *memoryLease) LookAgain(_ context.Context, received bool) (ok bool, err error) {
	err = l.held(func() error {
		if received {
			l.full = time.Time{}
		}
		var next time.Time
		if next, ok = SpendToken(l.full, time.Now()); ok {
			l.full = next
		}
		return nil
	})
	return ok, err
}

func (l *memoryLease) HandOff(_ context.Context, plan Plan, received bool) (asked bool, err error) {
	err = l.held(func() error {
		asked = l.asked
		l.giveBack(plan, received)
		return nil
	})
	return asked, err
}

func (l *memoryLease) giveBack(plan Plan, received bool) {
	before := l.plan.After
	for _, at := range [][2]*time.Time{
		{&plan.After.Contact, &before.Contact}, {&plan.After.Poked, &before.Poked}, {&plan.After.Swept, &before.Swept},
	} {
		if at[0].IsZero() {
			*at[0] = *at[1]
		}
	}
	l.givenBack, l.owner, l.plan, l.ended = true, "", plan, time.Now()
	if received {
		l.full = time.Time{}
	}
}

func (l *memoryLease) SetHandshaken(_ context.Context, gatewayID string) error {
	return l.held(func() error {
		l.standing.Handshaken = gatewayID
		return nil
	})
}

func (l *memoryLease) SetDeclared(_ context.Context, fingerprint string) error {
	return l.held(func() error {
		l.standing.Declared = fingerprint
		return nil
	})
}

func (l *memoryLease) Disable(_ context.Context, by string) error {
	return l.held(func() error {
		l.standing.Disabled, l.standing.DisabledAt, l.standing.DisabledBy = true, time.Now(), by
		return nil
	})
}

func (l *memoryLease) SetRefusals(_ context.Context, r Refusals) error {
	return l.held(func() error {
		r.ByClass = maps.Clone(r.ByClass)
		l.refusals = r
		return nil
	})
}

func (l *memoryLease) SetTrouble(_ context.Context, t Trouble) error {
	return l.held(func() error {
		l.standing.Trouble = t
		return nil
	})
}

func (l *memoryLease) TakeFreshID(_ context.Context) (ok bool, err error) {
	err = l.held(func() error {
		l.standing.FreshIDs, ok = TakeFreshID(l.standing.FreshIDs, time.Now())
		return nil
	})
	return ok, err
}

// question is a prompt with what became of it.
type question struct {
	Prompt
	by      string    // the delivery that took it
	expires time.Time // it is forgotten then
}

func (l *memoryLease) PutPrompt(_ context.Context, p Prompt) error {
	return l.held(func() error {
		now := time.Now()
		maps.DeleteFunc(l.prompts, func(_ string, old *question) bool { return !now.Before(old.expires) })
		if old := l.prompts[p.ID]; old == nil || old.by == "" {
			l.prompts[p.ID] = &question{Prompt: p, expires: p.Until.Add(AnsweredLife)}
		}
		return nil
	})
}

func (l *memoryLease) TakePrompt(_ context.Context, press Press, fits func(Prompt) bool) (p Prompt, err error) {
	err = l.held(func() error {
		now := time.Now()
		found := l.prompts[press.Prompt]
		switch {
		case found == nil || !now.Before(found.expires) || found.by == "" && !press.At.Before(found.Until):
			return ErrNoPrompt
		case !fits(found.Prompt):
			return ErrForeign
		case found.by == "":
			found.by, found.expires = press.Delivery, now.Add(AnsweredLife)
		case found.by != press.Delivery:
			return ErrAnswered
		}
		p = found.Prompt
		return nil
	})
	return p, err
}
