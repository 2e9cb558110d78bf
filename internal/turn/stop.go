package turn

import (
	"context"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// isStop says whether a message is the command that stops what it came after: people type it as a command or as a text, in
// capitals, with the bot's name behind an @, or with more words behind it.
func isStop(command string, e *relay.Event) bool {
	if command == "" || e.PromptResponse != nil || e.MessageType != "command" && e.MessageType != "text" {
		return false
	}
	word := strings.TrimLeftFunc(e.Text, isUnseen)
	if end := strings.IndexFunc(word, isUnseen); end >= 0 {
		word = word[:end]
	}
	word, _, _ = strings.Cut(word, "@")
	return strings.EqualFold(word, command)
}

// isUnseen says whether a character is blank, or a mark that clients put in by themselves: of a direction, or of no width.
func isUnseen(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// isStoppedBy says whether a command to stop is meant for a delivery: both are of one session and the command came later.
// On Slack each message outside a thread has a session of its own; there the command is for all of its user in its chat.
func isStoppedBy(d, command *delivery) bool {
	return isMeant(d.session, d.by, d.place, command) || d.say != nil && isMeant(d.say.Of, d.by, d.place, command)
}

// isMeant is isStoppedBy for what is known of a delivery.
func isMeant(session string, by speaker, place int64, command *delivery) bool {
	if place >= command.place {
		return false
	}
	return session == command.session || isTopLevel(command.Event) && by == speakerOf(command.Event.Source)
}

// isTopLevel says whether a message is one of Slack's outside a thread: it has opened one (relay.Event.ThreadedSource).
func isTopLevel(e *relay.Event) bool {
	s := e.Source
	return s.Platform == "slack" && (s.ThreadID == "" || s.ThreadID == e.MessageID || s.ThreadID == s.MessageID)
}

// speaker is who has said something, and where.
type speaker struct{ platform, chat, user string }

func speakerOf(s relay.Source) speaker { return speaker{s.Platform, s.ChatID, s.UserID} }

// mostGlanced is how many commands to stop are known that Glance has seen.
const mostGlanced = 1024

// Glance is for a delivery that has arrived and that Take will be given, perhaps much later: a live command to stop is carried
// out at once. A buffered one may have been carried out before; only the journal knows. Glance returns at once.
func (w *Worker) Glance(d relay.Delivery) {
	if d.Kind != relay.KindInbound || d.BufferID != "" || d.Event == nil || !isStop(w.cfg.Stop, d.Event) {
		return
	}
	name, _ := message(d.Event)
	if name != "" && !w.schedule.glance(name) {
		return // it comes again, and what it was for has ended
	}
	event := *d.Event
	event.Source = event.ThreadedSource()
	w.schedule.stop(&delivery{
		Delivery: relay.Delivery{Event: &event}, session: event.SessionKey(), place: math.MaxInt64, // behind all that are there
	})
}

// glance notes a message, and says whether it was not known.
func (s *schedule) glance(message string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.glanced[message] {
		return false
	}
	if len(s.glanced) >= mostGlanced {
		clear(s.glanced)
	}
	s.glanced[message] = true
	return true
}

// stop carries a command to stop out: the turns that it is for are cancelled, and what waits is ended without an answer, also
// what this run has deferred.
func (s *schedule) stop(command *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopLocked(command)
}

func (s *schedule) stopLocked(command *delivery) {
	s.stopAllLocked(func(d *delivery) bool { return isStoppedBy(d, command) })
	for _, m := range s.attempts.lates.stopped(func(session string, by speaker, place int64) bool {
		return isMeant(session, by, place, command)
	}) {
		s.run.start(func() { s.endLate(m) })
	}
}

// interrupt cancels the running turn of a session.
func (s *schedule) interrupt(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.sessions[key]; q != nil && q.cancel != nil {
		q.cancel(errStopped)
	}
}

// stopAllLocked stops the deliveries that are meant.
func (s *schedule) stopAllLocked(meant func(*delivery) bool) {
	for _, q := range s.sessions {
		if q.cancel != nil && meant(q.turn) {
			q.cancel(errStopped)
		}
		for _, d := range q.queue {
			d.stopped = d.stopped || meant(d)
		}
		if q.now != nil && meant(q.now) { // its turn may not have begun
			q.now.stopped = true
		}
	}
	for session, list := range s.deferred {
		var rest []*delivery
		for _, d := range list {
			if !meant(d) {
				rest = append(rest, d)
				continue
			}
			s.run.start(func() { s.attempts.finish(d) })
		}
		if s.deferred[session] = rest; len(rest) == 0 {
			delete(s.deferred, session)
		}
	}
}

// isStoppedLocked reports whether a command to stop is meant for a delivery that was not in memory as it came.
func (s *schedule) isStoppedLocked(d *delivery) bool {
	return slices.ContainsFunc(s.stops, func(stop *delivery) bool { return isStoppedBy(d, stop) })
}

// waitsLocked reports whether something is in the journal alone that a command to stop may be for, as far as is known.
func (s *schedule) waitsLocked(stop *delivery) bool {
	if s.learning { // what an earlier run left may be meant
		return true
	}
	before := func(l *line) bool {
		return l != nil && (l.coming > 0 || len(l.parked) > 0 && l.parked[0].place < stop.place)
	}
	if !isTopLevel(stop.Event) {
		return before(s.window.lines[sessionHash(stop.session)]) || before(s.window.lines[sessionHash(saySession(stop.Event.Source))])
	}
	for _, l := range s.window.lines {
		if before(l) {
			return true
		}
	}
	return false
}

// stopped says whether a turn's context has ended because the turn was stopped.
func stopped(ctx context.Context) bool { return context.Cause(ctx) == errStopped }
