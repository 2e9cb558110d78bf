package main

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/page/pagetest"
)

// A deployed gateway in a browser: its table in moto, its log as it was recorded.
func TestWatchInABrowser(t *testing.T) {
	is := is.New(t)
	b := pagetest.Start(t)
	s := newWatchedStack(t)
	s.keep(t, "k-dead", "It never came back", true)
	at := time.Now().Add(-time.Hour)
	s.write("wake", at, `"message":"`+logs.Poke+`","method":"POST","ms":12,"requestId":"w-1"`)
	s.write("drain", at.Add(time.Second),
		`"type":"platform.start","record":{"requestId":"d-1"}`,
		`"message":"`+logs.Lease+`","reason":"wake","requestId":"d-1"`,
		`"message":"`+logs.Descriptor+`","requestId":"d-1"`,
		`"message":"`+logs.Journalled+`","delivery":"k-1","session":"s","message_id":"m-1","buffer_id":"b-1","requestId":"d-1"`,
		`"message":"`+logs.Turn+`","delivery":"k-1","attempt":1,"requestId":"d-1"`,
		`"message":"`+logs.Reply+`","delivery":"k-1","op":"send","request":"q-1","message_id":"m-2","requestId":"d-1"`,
		`"message":"`+logs.DrainEnded+`","report":{"status":"drained","received":1},"requestId":"d-1"`)
	s.write("drain", at.Add(30*time.Second),
		`"type":"platform.report","record":{"requestId":"d-1","status":"success","metrics":{"durationMs":29000.5,"initDurationMs":120.5}}`)

	only := start(t, "watch", "--stack", s.name, "--listen", "127.0.0.1:0")
	b.Open(only.until(pageURL)[1])
	b.Says("#state", "asleep")
	b.Says("#views", "Life")
	b.Until(`!document.querySelector("#views").innerText.includes("Chats") && !document.querySelector("#views").innerText.includes("Faults")`)
	b.Says(".timeline", "descriptor: the link is up")
	b.Says(".timeline", "asks the agent")
	b.Says(".drain-list", "drained")
	b.Shoot("watch-life")
	b.View("messages")
	b.Click(".way-list .item:last-child .item-button") // the oldest
	b.Says(".steps", "send is in the chat")
	b.Says(".way .log", "journalled")
	b.View("books")
	b.Says("section[aria-labelledby=b-dead]", "It never came back")
	b.Until(`[...document.querySelectorAll("main button")].every((el) => !/Retry|Drop|Enable/.test(el.innerText))`) // it only shows
	b.Shoot("watch-books")
	b.View("settings")
	b.Says("main table", "DORMOUSE_IDLE_AFTER")
	only.stop()

	acts := start(t, "watch", "--stack", s.name, "--listen", "127.0.0.1:0", "--act")
	b.Open(acts.until(pageURL)[1])
	b.Says("#state", "asleep")
	b.View("books")
	b.Click("section[aria-labelledby=b-dead] [aria-label='Retry It never came back']")
	b.Says("section[aria-labelledby=b-dead]", "Nothing is dead")
	dead, err := s.book.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 0)
	is.Equal(s.invoked.Load(), int64(1))
	acts.stop()
	is.Equal(len(b.Complaints()), 0) // the browser has nothing to complain of
}
