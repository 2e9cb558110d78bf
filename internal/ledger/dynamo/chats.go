package dynamo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of a chat's item, as in ledger.Chat: route, packed, and routed; botturns and botssince; botstold; noticed;
// sorry; noreact; and expires. Each is there once something of its kind was written.

// chatKey is the sort key of what is remembered of a chat. An id that is too long for one is hashed.
func chatKey(name ledger.ChatName) string {
	key := "c#" + name.Platform + ":" + name.ID
	if len(key) > mostKey {
		sum := sha256.Sum256([]byte(key))
		return "c##" + hex.EncodeToString(sum[:])
	}
	return key
}

func (l *lease) Chats(ctx context.Context, names ...ledger.ChatName) (map[ledger.ChatName]ledger.Chat, error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	var keys []string
	for _, name := range names {
		keys = append(keys, chatKey(name))
	}
	items, err := l.fetch(ctx, keys)
	if err != nil {
		return nil, err
	}
	found, now := map[ledger.ChatName]ledger.Chat{}, l.now()
	for i, name := range names {
		it, ok := items[keys[i]]
		if !ok || it.number(TTL) <= now.Unix() {
			continue
		}
		c := ledger.Chat{
			Routed: it.time("routed"), BotTurns: int(it.number("botturns")), BotsSince: it.time("botssince"),
			BotsTold: it.time("botstold"), Noticed: it.time("noticed"), Sorry: it.time("sorry"), NoReact: it.time("noreact"),
		}
		if c.Route, err = unpack(it.bytes("route")); err != nil || now.Sub(c.Routed) >= ledger.ChatLife {
			c.Route, c.Routed = nil, time.Time{} // then the next message writes it anew
		}
		found[name] = c
	}
	return found, nil
}

func (l *lease) NoteChats(ctx context.Context, notes map[ledger.ChatName]ledger.Chat) error {
	if l.givenBack.Load() {
		return ledger.ErrLost
	}
	next := &group{epoch: l.grant.Epoch}
	for name, note := range notes {
		w := l.noteWrite(name, note)
		if w == nil {
			continue
		}
		if !next.takes(w) {
			if err := l.commit(ctx, next); err != nil {
				return err
			}
			next = &group{epoch: l.grant.Epoch}
		}
		next.add(w)
	}
	return l.commit(ctx, next)
}

// noteWrite is the write of a note; nil if there is nothing in it. It has no condition and no tag: it may be made twice.
func (l *lease) noteWrite(name ledger.ChatName, note ledger.Chat) *write {
	now, values := l.now(), item{}
	var sets []string
	set := func(attribute string, v types.AttributeValue) {
		sets, values[":"+attribute] = append(sets, "#"+attribute+" = :"+attribute), v
	}
	for attribute, at := range map[string]time.Time{
		"routed": note.Routed, "botssince": note.BotsSince, "botstold": note.BotsTold,
		"noticed": note.Noticed, "sorry": note.Sorry, "noreact": note.NoReact,
	} {
		if !at.IsZero() {
			set(attribute, moment(at))
		}
	}
	if len(sets) == 0 {
		return nil
	}
	if !note.Routed.IsZero() {
		set("route", binary(pack(note.Route)))
	}
	if !note.BotsSince.IsZero() {
		set("botturns", number(int64(note.BotTurns)))
	}
	set(TTL, number(now.Add(ledger.ChatLife).Unix()))
	update := "SET " + strings.Join(sets, ", ")
	w := &write{sk: chatKey(name), size: size(maps.Clone(values))}
	w.input.Update = &types.Update{
		TableName: &l.table, Key: l.key(w.sk), UpdateExpression: &update,
		ExpressionAttributeNames: names(update), ExpressionAttributeValues: values,
	}
	return w
}

// StartCounted writes the count to state in place of the condition that every transaction has there: that costs the same.
func (l *lease) StartCounted(ctx context.Context, key string, s ledger.State, day ledger.Day) error {
	day = day.Later(l.grant.Day)
	if key == "" {
		return l.commit(ctx, &group{epoch: l.grant.Epoch, day: day})
	}
	return l.together(ctx, key, day, l.starting(ctx, s))
}

// day is the latest of what groups count.
func (b batch) day() (latest ledger.Day) {
	for _, g := range b {
		latest = latest.Later(g.day)
	}
	return latest
}

// counting is the condition on state with the day's count written beside. The count is absolute, so that it may be written
// twice; only the holder of the lease counts, and one transaction follows the other.
func (l *Ledger) counting(epoch int64, day ledger.Day) types.TransactWriteItem {
	update := "SET #day = :day, #turns = :turns, #most = :most"
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &l.table, Key: l.key(state), UpdateExpression: &update, ConditionExpression: aws.String(held),
		ExpressionAttributeNames: names(update, held),
		ExpressionAttributeValues: item{
			":epoch": number(epoch), ":day": text(day.Date), ":turns": number(int64(day.Turns)), ":most": number(int64(day.Most)),
		},
	}}
}

func day(found item) ledger.Day {
	return ledger.Day{Date: found.text("day"), Turns: int(found.number("turns")), Most: int(found.number("most"))}
}

func (l *lease) SetLimited(ctx context.Context, n ledger.Limited) error {
	return l.holding(ctx, "SET #limited = :n, #limitday = :day", item{":n": number(int64(n.Messages)), ":day": text(n.Date)})
}

func limited(found item) ledger.Limited {
	return ledger.Limited{Date: found.text("limitday"), Messages: int(found.number("limited"))}
}
