package turn

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// kept is an answer with these actions and outcomes. of is the Of of each action, "" of none.
func kept(t *testing.T, outcomes []string, list ...action.Outgoing) *answer {
	t.Helper()
	raws, err := action.Encode(list)
	is.New(t).NoErr(err)
	return &answer{actions: raws, outcomes: outcomes}
}

func does(op, content, of string) action.Outgoing {
	a := relay.Action{"op": op, "chat_id": "c1"}
	if content != "" {
		a["content"] = content
	}
	return action.Outgoing{Action: a, Of: of}
}

func elsewhere(o action.Outgoing) action.Outgoing {
	o.Action["chat_id"] = "c2"
	return o
}

// Of a message's edits that wait only the newest is sent: it takes the place of what it is for, if that waits too, or of the
// edit before it. It takes no other's.
func TestWhereAnEditThatWaitsIsPut(t *testing.T) {
	edit := does("edit", "new", "#0")
	tests := map[string]struct {
		outcomes []string
		kept     []action.Outgoing
		edit     action.Outgoing
		place    int
	}{
		"its message waits":                       {[]string{"", ""}, []action.Outgoing{does("send", "a", ""), does("send", "b", "")}, edit, 0},
		"its message is sent":                     {[]string{"ok:1"}, []action.Outgoing{does("send", "a", "")}, edit, -1},
		"its message is sent, its edit waits":     {[]string{"ok:1", ""}, []action.Outgoing{does("send", "a", ""), does("edit", "b", "#0")}, edit, 1},
		"its edit is made":                        {[]string{"ok:1", "ok"}, []action.Outgoing{does("send", "a", ""), does("edit", "b", "#0")}, edit, -1},
		"another message's edit waits":            {[]string{"ok:1", "ok:2", ""}, []action.Outgoing{does("send", "a", ""), does("send", "b", ""), does("edit", "c", "#1")}, edit, -1},
		"something else waits":                    {[]string{"ok:1", ""}, []action.Outgoing{does("send", "a", ""), does("delete", "", "#0")}, edit, -1},
		"its edit waits behind something else":    {[]string{"ok:1", "", ""}, []action.Outgoing{does("send", "a", ""), does("edit", "b", "#0"), does("send", "c", "")}, edit, -1},
		"nothing is kept":                         {nil, nil, edit, -1},
		"of a message that is not among them":     {[]string{""}, []action.Outgoing{does("send", "a", "")}, does("edit", "new", "#1"), -1},
		"of no message":                           {[]string{""}, []action.Outgoing{does("edit", "a", "")}, does("edit", "new", ""), -1},
		"by an id":                                {[]string{""}, []action.Outgoing{does("edit", "a", "=m9")}, does("edit", "new", "=m9"), 0},
		"of the same number in another chat":      {[]string{"ok:1", ""}, []action.Outgoing{does("send", "a", ""), elsewhere(does("edit", "b", "#0"))}, edit, -1},
		"a kept action that cannot be read waits": {[]string{"ok:1", ""}, []action.Outgoing{does("send", "a", ""), does("edit", "b", "#0")}, edit, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(kept(t, tt.outcomes, tt.kept...).unsent(tt.edit), tt.place)
		})
	}
	t.Run("what cannot be read is left alone", func(t *testing.T) {
		a := kept(t, []string{"ok:1", ""}, does("send", "a", ""), does("edit", "b", "#0"))
		a.actions[1] = json.RawMessage(`{`)
		is.New(t).Equal(a.unsent(edit), -1)
	})
}

func TestWhetherAnEditsMessageIsRefused(t *testing.T) {
	list := []action.Outgoing{does("send", "a", ""), does("send", "b", "")}
	for outcome, refused := range map[string]bool{"": false, "ok:1": false, outcomeUnknown: false, outcomeSkipped: false, outcomeRefused: true, outcomeDeclined: true} {
		is.New(t).Equal(kept(t, []string{"ok:0", outcome}, list...).isRefused(does("edit", "new", "#1")), refused)
	}
	is := is.New(t)
	gone := kept(t, []string{outcomeRefused, outcomeRefused}, list...)
	is.True(!gone.isRefused(does("edit", "new", "#2")))  // there is none
	is.True(!gone.isRefused(does("edit", "new", "=m1"))) // not one of this answer
}

// What a part of a message shows is known from what was sent and how it went: an edit that would change nothing is not made.
func TestAnEditThatChangesNothingIsIdle(t *testing.T) {
	tests := map[string]struct {
		first   action.Outgoing
		outcome string
		edit    action.Outgoing
		idle    bool
	}{
		"the same text":              {does("send", "a", ""), "ok:1", does("edit", "a", "#0"), true},
		"another text":               {does("send", "a", ""), "ok:1", does("edit", "b", "#0"), false},
		"of another message":         {does("send", "a", ""), "ok:1", does("edit", "a", "#1"), false},
		"in another chat":            {does("send", "a", ""), "ok:1", elsewhere(does("edit", "a", "#0")), false},
		"an unknown outcome":         {does("send", "a", ""), outcomeUnknown, does("edit", "a", "#0"), false},
		"a refused one":              {does("send", "a", ""), outcomeRefused, does("edit", "a", "#0"), false},
		"no edit":                    {does("send", "a", ""), "ok:1", does("delete", "a", "#0"), false},
		"after an edit of it":        {does("edit", "a", "=m1"), "ok", does("edit", "a", "=m1"), true},
		"what is no text of a chat":  {does("react", "a", "=m1"), "ok", does("edit", "a", "=m1"), false},
		"an edit of what is unknown": {does("edit", "a", ""), "ok", does("edit", "a", ""), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := kept(t, []string{tt.outcome}, tt.first)
			a.show(0, tt.first)
			is.New(t).Equal(a.idle(tt.edit), tt.idle)
		})
	}
}

// What earlier actions have put into the chats is known from their outcomes, also in the next run.
func TestWhatOutcomesSayOfTheChats(t *testing.T) {
	is := is.New(t)
	deletes := func(id any) action.Outgoing {
		o := does("delete", "", "")
		if id != nil {
			o.Action["message_id"] = id
		}
		return o
	}
	here := chatName{"", "c1"}
	s := kept(t, []string{"ok:1", "ok:2", ""}, does("send", "a", ""), does("send", "b", ""), does("send", "c", "")).inChats()
	is.Equal(s.newest[here], "2")
	s = kept(t, []string{"ok:1", outcomeDeclined}, does("send", "a", ""), elsewhere(does("send", "b", ""))).inChats()
	is.Equal(s.newest[here], "1")
	is.True(s.declined[chatName{"", "c2"}] && !s.declined[here])
	s = kept(t, []string{"ok:1", "ok"}, does("send", "a", ""), deletes("1")).inChats()
	is.Equal(s.newest[here], "")
	s = kept(t, []string{"ok:1", "ok"}, does("send", "a", ""), deletes("0")).inChats()
	is.Equal(s.newest[here], "1") // another one is deleted
	s = kept(t, []string{"ok:1", "ok"}, does("send", "a", ""), deletes(nil)).inChats()
	is.Equal(s.newest[here], "") // it names none: the newest
	s = kept(t, []string{"ok:1", outcomeRefused}, does("send", "a", ""), deletes("1")).inChats()
	is.Equal(s.newest[here], "1") // it is still there
	s = kept(t, []string{"ok:1", "ok"}, does("send", "a", ""), does("react", "", "")).inChats()
	is.Equal(s.newest[here], "1")
	broken := kept(t, []string{"ok:1"}, does("send", "a", ""))
	broken.actions[0] = json.RawMessage(`{`)
	is.Equal(len(broken.inChats().newest), 0)
}

// Of a message that is seen twice only the first sight counts; what is remembered of that is bounded.
func TestAMessageIsGlancedAtOnce(t *testing.T) {
	is := is.New(t)
	s := &schedule{glanced: map[string]bool{}}
	for n := range mostGlanced {
		is.True(s.glance(fmt.Sprint(n)))
	}
	is.True(!s.glance("0"))
	is.True(!s.glance(fmt.Sprint(mostGlanced - 1)))
	is.True(s.glance("one more")) // the others are forgotten
	is.Equal(len(s.glanced), 1)
	is.True(s.glance("0"))
}

func TestANewerEditTakesThePlaceOfItsMessagesOthers(t *testing.T) {
	is := is.New(t)
	list := []action.Outgoing{does("edit", "a", "#0"), does("edit", "b", "#1"), elsewhere(does("edit", "c", "#0"))}
	left := withoutEdit(slices.Clone(list), does("edit", "new", "#0"))
	is.Equal(left, list[1:])
}
