package page_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/page/pagetest"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

const (
	discord  = "discord/1180023456789012345"
	telegram = "telegram/551823190"
	slack    = "slack/C06OPS"
)

// stage is the page in a browser.
type stage struct {
	*scene
	*pagetest.Browser
}

// part runs a part of the test in the tab.
func (p *stage) part(t *testing.T, name string, do func(p *stage)) {
	if t.Failed() { // what comes after would only fail, too
		return
	}
	t.Run(name, func(t *testing.T) { do(&stage{p.scene, p.In(t)}) })
}

// openChat shows a chat.
func (p *stage) openChat(id string) {
	p.T.Helper()
	p.View("chats")
	p.Click(fmt.Sprintf(`button[data-chat=%q]`, id))
	p.Until(fmt.Sprintf(`document.querySelector('.pane[data-chat=%q] textarea')`, id))
}

// write types a message and sends it.
func (p *stage) write(text string) {
	p.T.Helper()
	p.Type(".pane textarea", text)
	p.Press(kb.Enter)
}

// paste puts a text into the field in place of what is there.
func (p *stage) paste(text string) {
	p.T.Helper()
	pagetest.Eval[bool](p.Browser, fmt.Sprintf(`(() => { const el = document.querySelector(".pane textarea"); el.value = %q; el.dispatchEvent(new Event("input")); el.focus(); return true })()`, text))
}

// isAnswered writes a message until one is answered: where leases are short, a busy machine loses one now and then, and what the
// drain has by then is left to the schedule, of which there is none.
func (p *stage) isAnswered(text string) {
	p.T.Helper()
	for try := range 5 {
		said := fmt.Sprint(text, " ", try)
		p.write(said)
		if pagetest.Eval[bool](p.Browser, fmt.Sprintf(`new Promise((resolve) => { const end = Date.now() + 10000; const look = () =>
			[...document.querySelectorAll(".bubble.bot .text")].some((el) => el.innerText.includes(%q)) ? resolve(true) :
			Date.now() > end ? resolve(false) : setTimeout(look, 15); look() })`, "You said: "+said)) {
			return
		}
		p.act("arm", struct{}{})
	}
	p.T.Fatalf("%q is not answered", text)
}

// asleep waits for the gateway to sleep.
func (p *stage) asleep() {
	p.T.Helper()
	p.Until(`document.documentElement.dataset.word === "asleep"`)
}

// switchFault puts a fault on, or does it.
func (p *stage) switchFault(id string, params ...string) {
	p.T.Helper()
	for i := 0; i < len(params); i += 2 {
		pagetest.Eval[bool](p.Browser, fmt.Sprintf(`(() => {
			const field = [...document.querySelectorAll('[data-fault=%q] label')].find((el) => el.textContent.startsWith(%q)).querySelector("input,select");
			field.value = %q;
			field.dispatchEvent(new Event("change"));
			return true;
		})()`, id, params[i], params[i+1]))
	}
	p.Click(fmt.Sprintf(`[data-fault=%q] button`, id))
}

// act does something by the page's API.
func (p *stage) act(name string, body any) {
	p.T.Helper()
	raw, _ := json.Marshal(body)
	if fault := pagetest.Eval[string](p.Browser, fmt.Sprintf(`fetch("/api/do/%s", {method: "POST", headers: {"Content-Type": "application/json"}, body: %q})
		.then((r) => r.json()).then((b) => b.error || "")`, name, raw)); fault != "" {
		p.T.Fatalf("%s: %s", name, fault)
	}
}

// inABrowser runs parts of a test one after the other, in a browser and on a stage of their own.
func inABrowser(t *testing.T, settings map[string]devstage.Given, parts func(p *stage)) {
	t.Parallel()
	b := pagetest.Start(t)
	p := &stage{open(t, settings), b}
	t.Cleanup(func() {
		if t.Failed() {
			p.tellTheEnd(t)
		}
	})
	p.Do(chromedp.Navigate(p.url))
	p.Until(`document.querySelector(".pane textarea")`)
	if at := pagetest.Eval[string](b, "location.search"); at != "" {
		t.Errorf("the address still has %s", at)
	}
	parts(p)
	if faults := b.Complaints(); len(faults) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(faults, "\n"))
	}
}

func TestThePageInABrowser(t *testing.T) { inABrowser(t, nil, func(p *stage) { p.parts(t) }) }

func TestFaultsOfThePageInABrowser(t *testing.T) {
	lease := map[string]devstage.Given{"DORMOUSE_LEASE": set("3s")} // after each death it is waited for
	inABrowser(t, lease, func(p *stage) {
		p.part(t, "every fault once", (*stage).switchesEveryFault)
		p.part(t, "axe finds nothing", func(p *stage) { p.Axe("life", "faults", "books") }) // after all that went wrong
	})
}

func (p *stage) parts(t *testing.T) {
	p.part(t, "type, see typing and the reply", (*stage).seesTypingAndTheReply)
	p.part(t, "a file there and back", (*stage).sendsFiles)
	p.part(t, "edits, threads, parts, commands and forms", (*stage).seesWhatChatsHave)
	p.part(t, "asleep, and a button pressed after that", (*stage).pressesAButtonAfterSleep)
	p.part(t, "stop a running turn", (*stage).stopsATurn)
	p.part(t, "a lost poke and the sweep", (*stage).seesASweepFindTheMessage)
	p.part(t, "replay with the same id", (*stage).replays)
	p.part(t, "a drain's timeline", (*stage).seesADrain)
	p.part(t, "settings without secrets", (*stage).showsNoSecrets)
	p.part(t, "nothing that an agent says runs", (*stage).runsNothing)
	p.part(t, "a second tab sees the same", (*stage).isSeenInASecondTab)
	p.part(t, "chats side by side", (*stage).isReadSideBySide)
	p.part(t, "by keyboard alone", (*stage).isUsedByKeyboard)
	p.part(t, "5,000 messages in the list", (*stage).showsManyMessages)
	p.part(t, "waiting, dead, retried", (*stage).retriesTheDead)
	p.part(t, "axe finds nothing", (*stage).pleasesAxe)
}

func (p *stage) seesTypingAndTheReply() {
	p.openChat(telegram)
	p.write("a little later")
	p.Says(".typing", "is typing")
	p.Says("#state", "connected")
	p.Shoot("typing")
	p.seen <- struct{}{}
	p.Says(".bubble.bot .text", "Here I am.")
	p.Says("#say", "Ada: Here I am.")          // for those who listen
	p.Says(".bubble .quote", "a little later") // the reply quotes what it answers
	p.Until(`!document.querySelector(".typing.on")`)
	p.Says(".sent", "answered")
	p.openChat(discord)
	p.write("hello **world** and `code`")
	p.Says(".bubble.bot .text", "You said: hello world and code")
	p.Until(`document.querySelector(".bubble.bot .text strong").textContent === "world"`)
	p.Until(`document.querySelector(".reaction")`) // the mark at the turn's end
	p.Shoot("chat")
}

func (p *stage) sendsFiles() {
	p.openChat(discord)
	file := filepath.Join(p.T.TempDir(), "notes.txt")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		p.T.Fatal(err)
	}
	p.Do(chromedp.SetUploadFiles(chromedp.CSS(".pane input[type=file]"), []string{file}))
	p.Says(".composer-note", "notes.txt")
	p.write("look at this")
	p.Says(".bubble.bot .text", "I have notes.txt with 12 bytes.")
	p.Says(".bubble .attachment", "notes.txt")
	p.write("a file, please")
	p.Until(`[...document.querySelectorAll(".bubble.bot img")].some((img) => img.complete && img.naturalWidth === 1)`)
	p.Shoot("files")
}

func (p *stage) seesWhatChatsHave() {
	p.openChat(discord)
	p.write("grow")
	p.Says(".bubble.bot", "is green.")
	p.Says(".bubble.bot .meta", "edited")
	p.write("long")
	p.Says(".bubble.bot .meta", "part 1 of 3")
	p.Says(".bubble.bot .meta", "part 3 of 3")
	p.write("a thread")
	p.Says(".chat-item", "Release 1.4")
	p.Click(`button[data-chat^="discord/m-"]`)
	p.Says(".pane-head", "thread in #agents")
	p.Says(".bubble.bot .text", "It is out.")
	p.openChat(discord)
	p.Click(`.composer > .row:nth-of-type(2) button:nth-of-type(2)`) // a command, with an option
	p.Says("#dialog", "A command in #agents")
	p.Shoot("command")
	p.Type("#dialog .o-name", "of")
	p.Type("#dialog .o-value", "build")
	p.Click("#dialog button.main")
	p.Says(".bubble.bot .text", "You said: /status build")
	p.Click(`.composer .only-discord`)
	p.Says("#dialog", "Send a form in")
	p.Shoot("form")
	p.Click("#dialog button.main")
	p.Says(".bubble.bot .text", "what=It broke")
	p.write("with a tpyo")
	p.Says(".bubble.bot .text", "You said: with a tpyo")
	p.Click(`.bubble:not(.bot):has(.text p):nth-last-child(2) button[aria-label^="Edit"]`)
	p.paste("")
	p.write("without a typo")
	p.Says(".bubble.bot .text", "You said: without a typo")
	p.Says(".bubble:not(.bot) .meta", "edited")
	p.Click(`.bubble:not(.bot) button[aria-label="Delete: without a typo"]`)
	p.Click("#dialog button.bad")
	p.Says(".bubble.deleted", "deleted")
	p.openChat(slack)
	p.write("*bold* in slack")
	p.Until(`[...document.querySelectorAll(".bubble.bot .text strong")].some((el) => el.textContent === "bold")`)
	p.Shoot("slack")
}

func (p *stage) pressesAButtonAfterSleep() {
	p.openChat(discord)
	p.write("ask me")
	p.Until(`document.querySelector(".press")`)
	p.asleep()
	p.Says("#state", "asleep")
	p.Shoot("asleep")
	p.Click(".press")
	p.Says(".bubble.bot .text", "You chose yes.")
	p.Says(".bubble", "pressed by Ann")
	p.openChat(telegram)
	p.write("ask me")
	p.Until(`document.querySelector(".press")`)
	p.asleep()
	p.Click(".press.danger")
	p.Says(".bubble.bot .text", "You chose no.")
}

func (p *stage) stopsATurn() {
	p.openChat(discord)
	p.write("wait for it")
	p.Says(".typing", "is typing")
	p.Says(".sent", "the agent is asked")
	p.Press(kb.Escape, "s") // the key that stops
	select {
	case <-p.stopped:
	case <-time.After(patience):
		p.T.Fatal("the agent's turn was not cancelled")
	}
	p.Says(".sent", "stopped")
}

func (p *stage) seesASweepFindTheMessage() {
	p.asleep()
	p.View("faults")
	p.switchFault("lose_poke")
	p.Says("[data-fault=lose_poke]", "used once")
	p.openChat(slack)
	p.write("is anybody there?")
	p.Says(".sent", "buffered")
	p.Says("#state", "1 buffered")
	p.View("life")
	p.Says("main", "A sweep finds it")
	p.Shoot("lost-poke")
	p.Until(`(document.querySelector('main section button')?.click(), document.documentElement.dataset.word !== "asleep")`) // the schedule fires
	p.openChat(slack)
	p.Says(".bubble.bot .text", "You said: is anybody there?")
}

func (p *stage) replays() {
	p.openChat(discord)
	p.write("only once")
	p.Says(".bubble.bot .text", "You said: only once")
	replies := pagetest.Eval[int](p.Browser, `[...document.querySelectorAll(".bubble.bot")].filter((el) => el.innerText.includes("only once")).length`)
	p.Click(`.bubble:not(.bot) button[aria-label="The way of this message: only once"]`)
	p.Says(".way-head", "only once")
	p.Says(".steps", "send is in the chat")
	p.Says(".way .json", "only once") // the turn's JSON, and the answer's beside it
	p.Until(`document.querySelectorAll(".way .pair figure").length === 2`)
	p.Says(".way table", "ok")
	p.Says(".way .log", "journalled")
	p.Shoot("way")
	p.Press("r")
	p.Says(".way .notice", "Seen before")
	p.Says(".way .steps", "seen before")
	p.Shoot("seen-before")
	p.openChat(discord)
	if now := pagetest.Eval[int](p.Browser, `[...document.querySelectorAll(".bubble.bot")].filter((el) => el.innerText.includes("only once")).length`); now != replies {
		p.T.Errorf("%d replies, and %d after the replay", replies, now)
	}
	p.View("messages")
	p.Type("input[type=search]", "only once")
	p.Until(`document.querySelectorAll(".way-list .item").length === 2`)
	p.Click(".way-list .item:last-child .item-button")
	p.Click(".way-head button:nth-of-type(2)") // under a new id
	p.Says(".way-head .tag", "answered")
	p.Click(".way-head button:nth-of-type(3)") // changed
	p.Until(`document.querySelector("#dialog textarea")?.value.includes("only once")`)
	pagetest.Eval[bool](p.Browser, `(() => { const el = document.querySelector("#dialog textarea"); el.value = el.value.replaceAll("only once", "only once more"); return true })()`)
	p.Click("#dialog button.main")
	p.Says(".way-head", "only once more")
	p.Says(".way-head .tag", "answered")
	for n, what := range []string{"The curl line", "The case file"} {
		p.Click(fmt.Sprintf(".way-head .wrap:last-child button:nth-of-type(%d)", n+4))
		p.Until(fmt.Sprintf(`document.querySelector("#toasts").innerText.includes(%[1]q) || document.querySelector("#dialog[open]")?.innerText.includes(%[1]q)`, what))
		p.Press(kb.Escape)
	}
	curl := pagetest.Eval[string](p.Browser, `fetch("/api/way/" + location.hash.split("/")[1]).then((r) => r.json()).then((w) => w.curl)`)
	if !strings.HasPrefix(curl, "curl ") || !strings.Contains(curl, "only once") {
		p.T.Errorf("the curl line is %s", curl)
	}
	kept := pagetest.Eval[string](p.Browser, `fetch("/api/case/" + location.hash.split("/")[1]).then((r) => r.text())`)
	p.act("case", json.RawMessage(kept))
	p.Until(`[...document.querySelectorAll(".way-list .tag")].filter((el) => el.innerText === "answered").length === 4`)
}

func (p *stage) seesADrain() {
	p.asleep()
	p.View("life")
	for _, what := range []string{"poke", "takes the lease", "descriptor: the link is up", "asks the agent", "send", "says going_idle", "freeze"} {
		p.Says(".timeline", what)
	}
	p.Until(`document.querySelector(".bar rect.p-working") && document.querySelector(".bar rect.p-lingering")`)
	p.Says(".facts", "$0.0000")
	p.Shoot("life")
	p.Click(".drain-list li:last-child button") // an older one
	p.Until(`document.querySelector(".drain-list li:last-child button[aria-current=true]")`)
	p.Says("main h2", "Drain of")
	p.Says(".timeline", "cold start")
	p.Click("main details summary")
	p.Says(".log", "descriptor")
}

func (p *stage) showsNoSecrets() {
	p.View("settings")
	p.Says("main table", "DORMOUSE_IDLE_AFTER")
	p.Says("main table", "the test")
	p.Until(`[...document.querySelectorAll("main tr")].some((el) => el.innerText.includes("GATEWAY_RELAY_IDENTITY_TOKEN") && el.innerText.includes("not shown"))`)
	p.Shoot("settings")
	p.Press("/")
	p.Press(strings.Split("sweep", "")...)
	p.Until(`document.querySelectorAll("main tbody tr").length < 6`)
}

func (p *stage) runsNothing() {
	p.openChat(discord)
	p.write("evil")
	p.Says(".bubble.bot .text", "<img src=x onerror=")
	p.paste(hostile)
	p.Press(kb.Enter)
	p.Says(".bubble:not(.bot) .text", "<script>")
	for _, view := range []string{"messages", "life", "books"} {
		p.View(view)
		p.Until(`document.querySelector("main").children.length > 0`)
	}
	p.View("messages")
	p.Click(".way-list .item-button")
	p.Until(`document.querySelector(".way .json")`)
	p.openChat(discord)
	if got := pagetest.Eval[string](p.Browser, `JSON.stringify([window.pwned ?? null, document.querySelectorAll("main script, main [onerror], main iframe").length,
		[...document.querySelectorAll("a")].filter((a) => a.protocol === "javascript:").length,
		[...document.querySelectorAll(".bubble .text img")].length, document.title.includes("title\u0007")])`); got != `[null,0,0,0,false]` {
		p.T.Errorf("what ran, scripts, links, pictures, title: %s", got)
	}
	p.Says(".bubble.bot .text", "\u241b[31mred") // the escape is seen, and is none
	if strings.ContainsAny(pagetest.Eval[string](p.Browser, `document.body.innerText`), "\x1b\x07\u202e") {
		p.T.Error("a control character is in the page")
	}
	p.Shoot("evil")
}

func (p *stage) isSeenInASecondTab() {
	other := p.Tab()
	other.Do(chromedp.Navigate(p.base)) // it has the cookie
	other.Until(`document.querySelector("[data-chat]")`)
	p.openChat(telegram)
	p.write("seen twice")
	other.Until(fmt.Sprintf(`document.querySelector('button[data-chat=%q]').innerText.includes("You said: seen twice")`, telegram))
	other.Close()
}

func (p *stage) isUsedByKeyboard() {
	p.View("chats")
	p.Press(kb.Escape, "?")
	p.Says("#keys", "replay the message")
	p.Shoot("keys")
	p.Press(kb.Escape)
	p.Until(`!document.querySelector("#keys").open`)
	p.Press("2")
	p.Until(`document.querySelector("main").dataset.view === "life"`)
	p.Press("1")
	p.Until(`document.querySelector(".pane textarea")`)
	p.Press("]", "n")
	p.Until(`document.activeElement.tagName === "TEXTAREA"`)
	p.Press(strings.Split("by keyboard", "")...)
	p.Press(kb.Enter)
	p.Says(".bubble.bot .text", "You said: by keyboard")
	p.Press(kb.Escape, "3")
	p.Until(`document.querySelector("main").dataset.view === "messages" && document.querySelector(".way-list .item")`)
	p.Press("j")
	p.Until(`document.querySelector(".way .steps")`)
	p.Press("/")
	p.Until(`document.activeElement.type === "search"`)
	p.Press(kb.Escape)
	for _, id := range []string{"4", "5", "6"} {
		p.Press(id)
		p.Until(fmt.Sprintf(`document.querySelector('#views li:nth-child(%s) a[aria-current=page]')`, id))
	}
	p.Press("4")
	p.Until(`document.querySelector("[data-fault]")`)
	// Every control is reached by Tab alone, and shows that it is.
	pagetest.Eval[string](p.Browser, `(document.activeElement.blur(), "")`)
	want := pagetest.Eval[int](p.Browser, `document.querySelectorAll("main button:not(:disabled), main select, main input:not([type=radio])").length`) + 1 // of the radios, one
	seen := map[string]bool{}
	for range want + 60 {
		p.Press(kb.Tab)
		at := pagetest.Eval[string](p.Browser, `(() => { const el = document.activeElement; if (!el.closest("main")) return "";
			const style = getComputedStyle(el); if (style.outlineStyle === "none") return "unseen focus on " + el.outerHTML.slice(0, 90);
			return [...document.querySelectorAll("main button, main select, main input")].indexOf(el) + "" })()`)
		if strings.HasPrefix(at, "unseen") {
			p.T.Error(at)
		}
		if at != "" && at != "-1" {
			seen[at] = true
		}
		if len(seen) == want {
			break
		}
	}
	if len(seen) != want {
		p.T.Errorf("%d of %d controls are reached by Tab", len(seen), want)
	}
}

func (p *stage) isReadSideBySide() {
	p.View("chats")
	for n := 4; n > 0; n-- {
		pagetest.Eval[bool](p.Browser, fmt.Sprintf(`(() => { const el = document.querySelector(".side select"); el.value = "%d"; el.dispatchEvent(new Event("change")); return true })()`, n))
		p.Until(fmt.Sprintf(`document.querySelectorAll(".pane").length === %d`, n))
		if n == 4 {
			p.Until(`new Set([...document.querySelectorAll(".pane")].map((el) => el.getBoundingClientRect().left)).size === 4`)
			p.Shoot("side-by-side")
		}
	}
}

func (p *stage) showsManyMessages() {
	m := p.machine.Model()
	const many = 5000
	for n := range many {
		m.AddMessage(page5000(n))
	}
	p.openChat("whatsapp/120363000000000001@g.us")
	p.Says(".bubble", "message 4999")
	if n := pagetest.Eval[int](p.Browser, `document.querySelectorAll(".bubble").length`); n > 120 {
		p.T.Errorf("%d messages are elements", n)
	}
	took := pagetest.Eval[float64](p.Browser, `new Promise((resolve) => { const el = document.querySelector(".messages"); const begun = performance.now();
		el.scrollTop = el.scrollHeight / 2; requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begun))) })`)
	p.Until(`[...document.querySelectorAll(".bubble")].some((el) => Math.abs(+el.getAttribute("aria-posinset") - 2500) < 600)`)
	p.Until(`+document.querySelector(".bubble").getAttribute("aria-setsize") >= 5000`)
	p.T.Logf("half of 5,000 messages scrolled past and drawn in %.0f ms", took)
	p.Shoot("many")
}

func (p *stage) retriesTheDead() {
	p.View("faults")
	p.switchFault("refuse", "as", "rate_limited", "action", "send", "how many", "-1", "seconds", "1")
	p.Until(`document.querySelector("[data-fault=refuse] [aria-checked=true]")`)
	p.openChat(discord)
	p.write("refused for now")
	p.Says(".sent", "waiting")
	p.View("books")
	p.Says("section[aria-labelledby=b-waiting]", "refused for now")
	p.Says("section[aria-labelledby=b-waiting]", "rate limited")
	p.Shoot("waiting")
	p.Says("section[aria-labelledby=b-dead]", "refused for now") // after DORMOUSE_GIVE_UP_AFTER
	p.Says(".views .count.bad", "1")
	p.Shoot("dead")
	p.View("faults")
	p.switchFault("refuse")
	p.Until(`document.querySelector("[data-fault=refuse] [aria-checked=false]")`)
	p.View("books")
	p.Click("section[aria-labelledby=b-dead] [aria-label='Retry refused for now']")
	p.Says("section[aria-labelledby=b-dead]", "Nothing is dead")
	p.openChat(discord)
	p.Says(".bubble.bot .text", "You said: refused for now")
	// The agent refuses for good: dead, and dropped after it was asked.
	p.write("no")
	p.Says(".sent.s-dead", "dead")
	p.View("books")
	p.Click("section[aria-labelledby=b-dead] [data-focus=drop-some]")
	p.Says("#dialog", "Drop this message?")
	p.Shoot("asked-first")
	p.Click("#dialog button.quiet") // no
	p.Says("section[aria-labelledby=b-dead]", "no")
	p.Click("section[aria-labelledby=b-dead] [data-focus=drop-some]")
	p.Click("#dialog button.bad")
	p.Says("section[aria-labelledby=b-dead]", "Nothing is dead")
}

// switchesEveryFault switches each once, by the page, while the gateway is connected, and looks whether it answers afterwards.
func (p *stage) switchesEveryFault() {
	p.View("faults")
	known := pagetest.Eval[[]string](p.Browser, `[...document.querySelectorAll("[data-fault]")].map((el) => el.dataset.fault)`)
	for _, name := range devconnector.FaultNames() {
		if !slices.Contains(known, name) {
			p.T.Errorf("the connector's fault %s has no switch", name)
		}
	}
	for _, name := range devtable.FaultNames() {
		if !slices.Contains(known, "table_"+name) {
			p.T.Errorf("the table's fault %s has no switch", name)
		}
	}
	p.Shoot("faults")
	p.takesTheWaysOfAnother()
	short := map[string][]string{
		"suspend": {"seconds", "0.2"}, "ghost": {"seconds", "0.2"}, "down": {"seconds", "0.2"}, "freeze": {"seconds", "0.2"}, "oversize": {"bytes", "500000"},
		"delay_results": {"seconds", "0.1"}, "delay_idle_ack": {"seconds", "0.1"}, "table_slow": {"seconds", "0.05"}, "unanswered": {"action", "react"},
	}
	cutting := []string{"drop", "expire", "forget", "suspend", "ghost", "down", "restart", "withhold_descriptor", "kill", "shutdown", "freeze", "table_down",
		"table_lost", "kick"}
	last := []string{"kick", "revoke", "restore"} // 1000 and revoke end the gateway's run
	slices.SortStableFunc(known, func(a, b string) int { return slices.Index(last, a) - slices.Index(last, b) })
	p.restart() // without what the parts before have left: an apology that waits, a backoff
	for n, id := range known {
		card := fmt.Sprintf(`document.querySelector('[data-fault=%q]')`, id)
		for try := 1; ; try++ { // it may fall asleep just before
			p.connected(100*n + try)
			p.switchFault(id, short[id]...)
			p.Until(card + `.querySelector(".why") || /used/.test(` + card + `.innerText)`)
			why := pagetest.Eval[string](p.Browser, card+`.querySelector(".why")?.innerText || ""`)
			if why == "" {
				break
			}
			if try == 5 || !strings.Contains(why, "not connected") && !strings.Contains(why, "no process") {
				p.T.Fatalf("%s: %s", id, why)
			}
		}
		if pagetest.Eval[bool](p.Browser, fmt.Sprintf(`!!document.querySelector('[data-fault=%q] [aria-checked=true]')`, id)) && id != "revoke" {
			p.switchFault(id)
			p.Until(fmt.Sprintf(`document.querySelector('[data-fault=%q] [aria-checked=false]')`, id))
		}
		if id == "withhold_descriptor" || id == "lose_poke" { // of the next time, which is not to be now
			p.act("fault", map[string]any{"id": id, "off": true})
		}
		if slices.Contains(cutting, id) {
			p.restart() // a run that has lost its socket takes its time with the next
		}
	}
	p.View("books")
	p.Says(".notice", "Disabled")
	p.Says("#state", "disabled")
	p.Shoot("disabled")
	p.Click(".notice button")
	p.Until(`document.documentElement.dataset.word !== "disabled"`)
	p.openChat(telegram)
	p.isAnswered("still there?")
}

func (p *stage) pleasesAxe() {
	p.openChat(telegram)
	way := pagetest.Eval[string](p.Browser, `fetch("/api/way/delivery-1").then((r) => r.json()).then((w) => w.id)`)
	p.Axe("chats", "life", "messages/"+way, "faults", "books", "settings")
}

// restart ends drain's process, if there is one.
func (p *stage) restart() {
	p.T.Helper()
	if err := p.scene.stage.Host().Shutdown(rig.Drain); err != nil {
		p.T.Fatal(err)
	}
	p.asleep()
}

// takesTheWaysOfAnother has the connector be like another, and back.
func (p *stage) takesTheWaysOfAnother() {
	for _, preset := range []string{"rustcell", "hosted"} {
		p.View("faults")
		p.Click(fmt.Sprintf(`input[value=%s]`, preset))
		p.Until(fmt.Sprintf(`document.querySelector("input[value=%s]").checked`, preset))
		p.openChat(telegram)
		p.act("arm", struct{}{})
		p.isAnswered("hello " + preset)
		p.asleep()
	}
	p.View("faults")
	p.Until(`document.querySelector("[data-fault]")`)
}

// connected has the gateway connected, unless it is disabled. After a death it is neither poked nor let in for a lease's life.
func (p *stage) connected(n int) {
	p.T.Helper()
	for try := range 30 {
		if slices.Contains([]string{"connected", "disabled"}, pagetest.Eval[string](p.Browser, `document.documentElement.dataset.word`)) {
			return
		}
		p.act("arm", struct{}{})
		p.act("say", map[string]any{"chat": telegram, "text": fmt.Sprint("ping ", n, " ", try)})
		pagetest.Eval[bool](p.Browser, `new Promise((resolve) => { const end = Date.now() + 1000; const look = () => document.documentElement.dataset.word === "connected" ||
			Date.now() > end ? resolve(true) : setTimeout(look, 10); look() })`)
	}
	p.T.Fatal("the gateway does not connect")
}
