package turn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/say"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Where a say goes, and what the journal has of what it answers. Nothing here is given a delivery.

const mostSayKeys = 100 // entries that are looked up in one call

var errNoRoute = errors.New("the chat has never written, and the say has no route to it: give chat_type and scope_id too, as the " +
	"platform has them")

// route is the place of a say's chat, as the chat's last message came from there, and the session that it belongs to.
func (s *says) route(to say.Say) (source relay.Source, session string, err error) {
	c, name := to.Chat, chatName{to.Chat.Platform, to.Chat.ChatID}
	way, known := s.attempts.memos.route(name)
	seen, spoke := s.attempts.chats.of(name)
	user := c.UserID
	if to.Ask != nil {
		user = cmp.Or(to.Ask.UserID, user)
	}
	source = relay.Source{
		Platform: c.Platform, ChatID: c.ChatID, ChatType: cmp.Or(c.ChatType, seen.ChatType, way.ChatType), ThreadID: c.ThreadID,
		ScopeID: cmp.Or(c.ScopeID, seen.ScopeID, way.ScopeID), Profile: cmp.Or(c.Profile, seen.Profile, way.Profile),
		ParentChatID: cmp.Or(c.ParentChatID, seen.ParentChatID, way.ParentChatID), UserID: user,
	}
	if to.Ask == nil || source.ChatType == "dm" { // in a group nobody has said what is asked
		source.UserID = cmp.Or(user, seen.UserID, way.UserID)
	}
	switch {
	case to.Ask == nil:
		session = saySession(source)
	case user == "":
		session = "ask:" + c.Platform + ":" + c.ChatID
	default:
		session = (&relay.Event{Source: source}).SessionKey()
	}
	if !known && !spoke && !c.HasRoute() {
		return source, session, errNoRoute
	}
	return source, session, nil
}

// known is what the journal has of the deliveries that are answered late, and of the parts of those answers.
func (s *says) known(ctx context.Context, list []say.Say) (map[string]ledger.Entry, error) {
	all := map[string]ledger.Entry{}
	var keys []string
	for _, to := range list {
		if to.ReplyTo == "" {
			continue
		}
		for _, key := range []string{to.ReplyTo, lateKey(to.ReplyTo, to.N-1)} {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	for part := range slices.Chunk(keys, mostSayKeys) {
		found, err := s.cfg.Says.Known(ctx, part...)
		if err != nil {
			return nil, err
		}
		for key, e := range found {
			all[key] = e
		}
	}
	return all, nil
}

// eventOf is the event of a delivery as the journal has it, and its session; nil if there is none.
func eventOf(e ledger.Entry) (event *relay.Event, session string) {
	var body keptBody
	if e.Unreadable != nil || json.Unmarshal(e.Body, &body) != nil || body.Event == nil {
		return nil, ""
	}
	if body.Say != nil {
		return body.Event, body.Say.Session
	}
	return body.Event, body.Event.SessionKey()
}

// nextPlace is the next place in the order of arrival.
func (i *intake) nextPlace() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seq++
	return i.seq
}

// takeSays journals what says have become.
func (j *journal) takeSays(taken []ledger.Taking) (states []ledger.State, err error) {
	err = j.insist(func() error {
		ctx, cancel := j.run.journalling()
		defer cancel()
		next, err := j.says.TakeSays(ctx, taken[len(states):]...)
		states = append(states, next...)
		return err
	})
	if err != nil {
		j.log.Warn(logs.SaysNotTaken, logs.KeyMessages, len(taken)-len(states), logs.KeyError, err)
	}
	return states, err
}

// saySession is the session of what a chat is told by says, the parts of late answers among them: it is in order, and waits for
// no answer.
func saySession(to relay.Source) string { return "say:" + to.Platform + ":" + to.ChatID }

// sayEntry is the key of the entry that a say becomes. It is no other delivery's, and has none of their suffixes.
func sayEntry(key string) string { return "say:" + url.PathEscape(key) }

// lateKey is the key of a part of a late answer, as an entry and as a say.
func lateKey(root string, n int) string { return root + "/" + strconv.Itoa(n) }
