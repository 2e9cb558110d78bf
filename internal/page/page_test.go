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
	"github.com/dormouse-relay/dormouse/internal/devtable"
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
	*browser
}

// part runs a part of the test in the tab.
func (p *stage) part(t *testing.T, name string, do func(p *stage)) {
	if t.Failed() { // what comes after would only fail, too
		return
	}
	t.Run(name, func(t *testing.T) { do(&stage{p.scene, p.in(t)}) })
}

// openChat shows a chat.
func (p *stage) openChat(id string) {
	p.t.Helper()
	p.view("chats")
	p.click(fmt.Sprintf(`button[data-chat=%q]`, id))
	p.until(fmt.Sprintf(`document.querySelector('.pane[data-chat=%q] textarea')`, id))
}

// write types a message and sends it.
func (p *stage) write(text string) {
	p.t.Helper()
	p.click(".pane textarea")
	p.press(strings.Split(text, "")...)
	p.press(kb.Enter)
}

// paste puts a text into the field in place of what is there.
func (p *stage) paste(text string) {
	p.t.Helper()
	eval[bool](p.browser, fmt.Sprintf(`(() => { const el = document.querySelector(".pane textarea"); el.value = %q; el.dispatchEvent(new Event("input")); el.focus(); return true })()`, text))
}

// asleep waits for the gateway to sleep.
func (p *stage) asleep() {
	p.t.Helper()
	p.until(`document.documentElement.dataset.word === "asleep"`)
}

// switchFault puts a fault on, or does it.
func (p *stage) switchFault(id string, params ...string) {
	p.t.Helper()
	for i := 0; i < len(params); i += 2 {
		eval[bool](p.browser, fmt.Sprintf(`(() => {
			const field = [...document.querySelectorAll('[data-fault=%q] label')].find((el) => el.textContent.startsWith(%q)).querySelector("input,select");
			field.value = %q;
			field.dispatchEvent(new Event("change"));
			return true;
		})()`, id, params[i], params[i+1]))
	}
	p.click(fmt.Sprintf(`[data-fault=%q] button`, id))
}

// act does something by the page's API.
func (p *stage) act(name string, body any) {
	p.t.Helper()
	raw, _ := json.Marshal(body)
	if fault := eval[string](p.browser, fmt.Sprintf(`fetch("/api/do/%s", {method: "POST", headers: {"Content-Type": "application/json"}, body: %q})
		.then((r) => r.json()).then((b) => b.error || "")`, name, raw)); fault != "" {
		p.t.Fatalf("%s: %s", name, fault)
	}
}

func TestThePageInABrowser(t *testing.T) {
	b := start(t)
	p := &stage{open(t), b}
	p.do(chromedp.Navigate(p.url))
	p.until(`document.querySelector(".pane textarea")`)
	if at := eval[string](b, "location.search"); at != "" {
		t.Errorf("the address still has %s", at)
	}

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
	p.part(t, "every fault once", (*stage).switchesEveryFault)
	p.part(t, "axe finds nothing", (*stage).pleasesAxe)
	if faults := b.faults.all(); len(faults) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(faults, "\n"))
	}
}

func (p *stage) seesTypingAndTheReply() {
	p.openChat(telegram)
	p.write("a little later")
	p.says(".typing", "is typing")
	p.says("#state", "connected")
	p.shoot("typing")
	p.says(".bubble.bot .text", "Here I am.")
	p.says("#say", "Ada: Here I am.")          // for those who listen
	p.says(".bubble .quote", "a little later") // the reply quotes what it answers
	p.until(`!document.querySelector(".typing.on")`)
	p.says(".sent", "answered")
	p.openChat(discord)
	p.write("hello **world** and `code`")
	p.says(".bubble.bot .text", "You said: hello world and code")
	p.until(`document.querySelector(".bubble.bot .text strong").textContent === "world"`)
	p.until(`document.querySelector(".reaction")`) // the mark at the turn's end
	p.shoot("chat")
}

func (p *stage) sendsFiles() {
	p.openChat(discord)
	file := filepath.Join(p.t.TempDir(), "notes.txt")
	if err := os.WriteFile(file, []byte("twelve bytes"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.do(chromedp.SetUploadFiles(chromedp.CSS(".pane input[type=file]"), []string{file}))
	p.says(".composer-note", "notes.txt")
	p.write("look at this")
	p.says(".bubble.bot .text", "I have notes.txt with 12 bytes.")
	p.says(".bubble .attachment", "notes.txt")
	p.write("a file, please")
	p.until(`[...document.querySelectorAll(".bubble.bot img")].some((img) => img.complete && img.naturalWidth === 1)`)
	p.shoot("files")
}

func (p *stage) seesWhatChatsHave() {
	p.openChat(discord)
	p.write("grow")
	p.says(".bubble.bot", "is green.")
	p.says(".bubble.bot .meta", "edited")
	p.write("long")
	p.says(".bubble.bot .meta", "part 1 of 3")
	p.says(".bubble.bot .meta", "part 3 of 3")
	p.write("a thread")
	p.says(".chat-item", "Release 1.4")
	p.click(`button[data-chat^="discord/m-"]`)
	p.says(".pane-head", "thread in #agents")
	p.says(".bubble.bot .text", "It is out.")
	p.openChat(discord)
	p.click(`.composer > .row:nth-of-type(2) button:nth-of-type(2)`) // a command, with an option
	p.says("#dialog", "A command in #agents")
	p.shoot("command")
	p.do(chromedp.SendKeys(chromedp.CSS("#dialog .o-name"), "of"), chromedp.SendKeys(chromedp.CSS("#dialog .o-value"), "build"))
	p.click("#dialog button.main")
	p.says(".bubble.bot .text", "You said: /status build")
	p.click(`.composer .only-discord`)
	p.says("#dialog", "Send a form in")
	p.shoot("form")
	p.click("#dialog button.main")
	p.says(".bubble.bot .text", "what=It broke")
	p.write("with a tpyo")
	p.says(".bubble.bot .text", "You said: with a tpyo")
	p.click(`.bubble:not(.bot):has(.text p):nth-last-child(2) button[aria-label^="Edit"]`)
	p.paste("")
	p.write("without a typo")
	p.says(".bubble.bot .text", "You said: without a typo")
	p.says(".bubble:not(.bot) .meta", "edited")
	p.click(`.bubble:not(.bot) button[aria-label="Delete: without a typo"]`)
	p.click("#dialog button.bad")
	p.says(".bubble.deleted", "deleted")
	p.openChat(slack)
	p.write("*bold* in slack")
	p.until(`[...document.querySelectorAll(".bubble.bot .text strong")].some((el) => el.textContent === "bold")`)
	p.shoot("slack")
}

func (p *stage) pressesAButtonAfterSleep() {
	p.openChat(discord)
	p.write("ask me")
	p.until(`document.querySelector(".press")`)
	p.asleep()
	p.says("#state", "asleep")
	p.shoot("asleep")
	p.click(".press")
	p.says(".bubble.bot .text", "You chose yes.")
	p.says(".bubble", "pressed by Ann")
	p.openChat(telegram)
	p.write("ask me")
	p.until(`document.querySelector(".press")`)
	p.asleep()
	p.click(".press.danger")
	p.says(".bubble.bot .text", "You chose no.")
}

func (p *stage) stopsATurn() {
	p.openChat(discord)
	p.write("wait for it")
	p.says(".typing", "is typing")
	p.says(".sent", "the agent is asked")
	p.press(kb.Escape, "s") // the key that stops
	select {
	case <-p.stopped:
	case <-time.After(patience):
		p.t.Fatal("the agent's turn was not cancelled")
	}
	p.says(".sent", "stopped")
}

func (p *stage) seesASweepFindTheMessage() {
	p.asleep()
	p.view("faults")
	p.switchFault("lose_poke")
	p.says("[data-fault=lose_poke]", "used once")
	p.openChat(slack)
	p.write("is anybody there?")
	p.says(".sent", "buffered")
	p.says("#state", "1 buffered")
	p.view("life")
	p.says("main", "A sweep finds it")
	p.shoot("lost-poke")
	p.until(`(document.querySelector('main section button')?.click(), document.documentElement.dataset.word !== "asleep")`) // the schedule fires
	p.openChat(slack)
	p.says(".bubble.bot .text", "You said: is anybody there?")
}

func (p *stage) replays() {
	p.openChat(discord)
	p.write("only once")
	p.says(".bubble.bot .text", "You said: only once")
	replies := eval[int](p.browser, `[...document.querySelectorAll(".bubble.bot")].filter((el) => el.innerText.includes("only once")).length`)
	p.click(`.bubble:not(.bot) button[aria-label="The way of this message: only once"]`)
	p.says(".way-head", "only once")
	p.says(".steps", "send is in the chat")
	p.says(".way .json", "only once") // the turn's JSON, and the answer's beside it
	p.until(`document.querySelectorAll(".way .pair figure").length === 2`)
	p.says(".way table", "ok")
	p.says(".way .log", "journalled")
	p.shoot("way")
	p.press("r")
	p.says(".way .notice", "Seen before")
	p.says(".way .steps", "seen before")
	p.shoot("seen-before")
	p.openChat(discord)
	if now := eval[int](p.browser, `[...document.querySelectorAll(".bubble.bot")].filter((el) => el.innerText.includes("only once")).length`); now != replies {
		p.t.Errorf("%d replies, and %d after the replay", replies, now)
	}
	p.view("messages")
	p.do(chromedp.SendKeys(chromedp.CSS("input[type=search]"), "only once"))
	p.until(`document.querySelectorAll(".way-list .item").length === 2`)
	p.click(".way-list .item:last-child .item-button")
	p.click(".way-head button:nth-of-type(2)") // under a new id
	p.says(".way-head .tag", "answered")
	p.click(".way-head button:nth-of-type(3)") // changed
	p.until(`document.querySelector("#dialog textarea")?.value.includes("only once")`)
	eval[bool](p.browser, `(() => { const el = document.querySelector("#dialog textarea"); el.value = el.value.replaceAll("only once", "only once more"); return true })()`)
	p.click("#dialog button.main")
	p.says(".way-head", "only once more")
	p.says(".way-head .tag", "answered")
	for n, what := range []string{"The curl line", "The case file"} {
		p.click(fmt.Sprintf(".way-head .wrap:last-child button:nth-of-type(%d)", n+4))
		p.until(fmt.Sprintf(`document.querySelector("#toasts").innerText.includes(%[1]q) || document.querySelector("#dialog[open]")?.innerText.includes(%[1]q)`, what))
		p.press(kb.Escape)
	}
	curl := eval[string](p.browser, `fetch("/api/way/" + location.hash.split("/")[1]).then((r) => r.json()).then((w) => w.curl)`)
	if !strings.HasPrefix(curl, "curl ") || !strings.Contains(curl, "only once") {
		p.t.Errorf("the curl line is %s", curl)
	}
	kept := eval[string](p.browser, `fetch("/api/case/" + location.hash.split("/")[1]).then((r) => r.text())`)
	p.act("case", json.RawMessage(kept))
	p.until(`[...document.querySelectorAll(".way-list .tag")].filter((el) => el.innerText === "answered").length === 4`)
}

func (p *stage) seesADrain() {
	p.asleep()
	p.view("life")
	for _, what := range []string{"poke", "takes the lease", "descriptor: the link is up", "asks the agent", "send", "says going_idle", "freeze"} {
		p.says(".timeline", what)
	}
	p.until(`document.querySelector(".bar rect.p-working") && document.querySelector(".bar rect.p-lingering")`)
	p.says(".facts", "$0.0000")
	p.shoot("life")
	p.click(".drain-list li:last-child button") // an older one
	p.until(`document.querySelector(".drain-list li:last-child button[aria-current=true]")`)
	p.says("main h2", "Drain of")
	p.says(".timeline", "cold start")
	p.click("main details summary")
	p.says(".log", "descriptor")
}

func (p *stage) showsNoSecrets() {
	p.view("settings")
	p.says("main table", "DORMOUSE_IDLE_AFTER")
	p.says("main table", "the test")
	p.until(`[...document.querySelectorAll("main tr")].some((el) => el.innerText.includes("GATEWAY_RELAY_IDENTITY_TOKEN") && el.innerText.includes("not shown"))`)
	p.shoot("settings")
	p.press("/")
	p.press(strings.Split("sweep", "")...)
	p.until(`document.querySelectorAll("main tbody tr").length < 6`)
}

func (p *stage) runsNothing() {
	p.openChat(discord)
	p.write("evil")
	p.says(".bubble.bot .text", "<img src=x onerror=")
	p.paste(hostile)
	p.press(kb.Enter)
	p.says(".bubble:not(.bot) .text", "<script>")
	for _, view := range []string{"messages", "life", "books"} {
		p.view(view)
		p.until(`document.querySelector("main").children.length > 0`)
	}
	p.view("messages")
	p.click(".way-list .item-button")
	p.until(`document.querySelector(".way .json")`)
	p.openChat(discord)
	if got := eval[string](p.browser, `JSON.stringify([window.pwned ?? null, document.querySelectorAll("main script, main [onerror], main iframe").length,
		[...document.querySelectorAll("a")].filter((a) => a.protocol === "javascript:").length,
		[...document.querySelectorAll(".bubble .text img")].length, document.title.includes("title\u0007")])`); got != `[null,0,0,0,false]` {
		p.t.Errorf("what ran, scripts, links, pictures, title: %s", got)
	}
	p.says(".bubble.bot .text", "\u241b[31mred") // the escape is seen, and is none
	if strings.ContainsAny(eval[string](p.browser, `document.body.innerText`), "\x1b\x07\u202e") {
		p.t.Error("a control character is in the page")
	}
	p.shoot("evil")
}

func (p *stage) isSeenInASecondTab() {
	other := p.tab()
	other.do(chromedp.Navigate(p.base)) // it has the cookie
	other.until(`document.querySelector("[data-chat]")`)
	p.openChat(telegram)
	p.write("seen twice")
	other.until(fmt.Sprintf(`document.querySelector('button[data-chat=%q]').innerText.includes("You said: seen twice")`, telegram))
	other.close()
}

func (p *stage) isUsedByKeyboard() {
	p.view("chats")
	p.press(kb.Escape, "?")
	p.says("#keys", "replay the message")
	p.shoot("keys")
	p.press(kb.Escape)
	p.until(`!document.querySelector("#keys").open`)
	p.press("2")
	p.until(`document.querySelector("main").dataset.view === "life"`)
	p.press("1")
	p.until(`document.querySelector(".pane textarea")`)
	p.press("]", "n")
	p.until(`document.activeElement.tagName === "TEXTAREA"`)
	p.press(strings.Split("by keyboard", "")...)
	p.press(kb.Enter)
	p.says(".bubble.bot .text", "You said: by keyboard")
	p.press(kb.Escape, "3")
	p.until(`document.querySelector("main").dataset.view === "messages"`)
	p.press("j")
	p.until(`document.querySelector(".way .steps")`)
	p.press("/")
	p.until(`document.activeElement.type === "search"`)
	p.press(kb.Escape)
	for _, id := range []string{"4", "5", "6"} {
		p.press(id)
		p.until(fmt.Sprintf(`document.querySelector('#views li:nth-child(%s) a[aria-current=page]')`, id))
	}
	p.press("4")
	p.until(`document.querySelector("[data-fault]")`)
	// Every control is reached by Tab alone, and shows that it is.
	eval[string](p.browser, `(document.activeElement.blur(), "")`)
	want := eval[int](p.browser, `document.querySelectorAll("main button:not(:disabled), main select, main input:not([type=radio])").length`) + 1 // of the radios, one
	seen := map[string]bool{}
	for range want + 60 {
		p.press(kb.Tab)
		at := eval[string](p.browser, `(() => { const el = document.activeElement; if (!el.closest("main")) return "";
			const style = getComputedStyle(el); if (style.outlineStyle === "none") return "unseen focus on " + el.outerHTML.slice(0, 90);
			return [...document.querySelectorAll("main button, main select, main input")].indexOf(el) + "" })()`)
		if strings.HasPrefix(at, "unseen") {
			p.t.Error(at)
		}
		if at != "" && at != "-1" {
			seen[at] = true
		}
		if len(seen) == want {
			break
		}
	}
	if len(seen) != want {
		p.t.Errorf("%d of %d controls are reached by Tab", len(seen), want)
	}
}

func (p *stage) isReadSideBySide() {
	p.view("chats")
	for n := 4; n > 0; n-- {
		eval[bool](p.browser, fmt.Sprintf(`(() => { const el = document.querySelector(".side select"); el.value = "%d"; el.dispatchEvent(new Event("change")); return true })()`, n))
		p.until(fmt.Sprintf(`document.querySelectorAll(".pane").length === %d`, n))
		if n == 4 {
			p.until(`new Set([...document.querySelectorAll(".pane")].map((el) => el.getBoundingClientRect().left)).size === 4`)
			p.shoot("side-by-side")
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
	p.says(".bubble", "message 4999")
	if n := eval[int](p.browser, `document.querySelectorAll(".bubble").length`); n > 120 {
		p.t.Errorf("%d messages are elements", n)
	}
	took := eval[float64](p.browser, `new Promise((resolve) => { const el = document.querySelector(".messages"); const begun = performance.now();
		el.scrollTop = el.scrollHeight / 2; requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begun))) })`)
	p.until(`[...document.querySelectorAll(".bubble")].some((el) => Math.abs(+el.getAttribute("aria-posinset") - 2500) < 600)`)
	p.until(`+document.querySelector(".bubble").getAttribute("aria-setsize") >= 5000`)
	p.t.Logf("half of 5,000 messages scrolled past and drawn in %.0f ms", took)
	p.shoot("many")
}

func (p *stage) retriesTheDead() {
	p.view("faults")
	p.switchFault("refuse", "as", "rate_limited", "action", "send", "how many", "-1", "seconds", "1")
	p.until(`document.querySelector("[data-fault=refuse] [aria-checked=true]")`)
	p.openChat(discord)
	p.write("refused for now")
	p.says(".sent", "waiting")
	p.view("books")
	p.says("section[aria-labelledby=b-waiting]", "refused for now")
	p.says("section[aria-labelledby=b-waiting]", "rate limited")
	p.shoot("waiting")
	p.says("section[aria-labelledby=b-dead]", "refused for now") // after DORMOUSE_GIVE_UP_AFTER
	p.says(".views .count.bad", "1")
	p.shoot("dead")
	p.view("faults")
	p.switchFault("refuse")
	p.until(`document.querySelector("[data-fault=refuse] [aria-checked=false]")`)
	p.view("books")
	p.click("section[aria-labelledby=b-dead] [aria-label='Retry refused for now']")
	p.says("section[aria-labelledby=b-dead]", "Nothing is dead")
	p.openChat(discord)
	p.says(".bubble.bot .text", "You said: refused for now")
	// The agent refuses for good: dead, and dropped after it was asked.
	p.write("no")
	p.says(".sent.s-dead", "dead")
	p.view("books")
	p.click("section[aria-labelledby=b-dead] [data-focus=drop-some]")
	p.says("#dialog", "Drop this message?")
	p.shoot("asked-first")
	p.click("#dialog button.quiet") // no
	p.says("section[aria-labelledby=b-dead]", "no")
	p.click("section[aria-labelledby=b-dead] [data-focus=drop-some]")
	p.click("#dialog button.bad")
	p.says("section[aria-labelledby=b-dead]", "Nothing is dead")
}

// switchesEveryFault switches each once, by the page, while the gateway is connected, and looks whether it answers afterwards.
func (p *stage) switchesEveryFault() {
	p.view("faults")
	known := eval[[]string](p.browser, `[...document.querySelectorAll("[data-fault]")].map((el) => el.dataset.fault)`)
	for _, name := range devconnector.FaultNames() {
		if !slices.Contains(known, name) {
			p.t.Errorf("the connector's fault %s has no switch", name)
		}
	}
	for _, name := range devtable.FaultNames() {
		if !slices.Contains(known, "table_"+name) {
			p.t.Errorf("the table's fault %s has no switch", name)
		}
	}
	p.shoot("faults")
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
			p.until(card + `.querySelector(".why") || /used/.test(` + card + `.innerText)`)
			why := eval[string](p.browser, card+`.querySelector(".why")?.innerText || ""`)
			if why == "" {
				break
			}
			if try == 5 || !strings.Contains(why, "not connected") && !strings.Contains(why, "no process") {
				p.t.Fatalf("%s: %s", id, why)
			}
		}
		if eval[bool](p.browser, fmt.Sprintf(`!!document.querySelector('[data-fault=%q] [aria-checked=true]')`, id)) && id != "revoke" {
			p.switchFault(id)
			p.until(fmt.Sprintf(`document.querySelector('[data-fault=%q] [aria-checked=false]')`, id))
		}
		if id == "withhold_descriptor" || id == "lose_poke" { // of the next time, which is not to be now
			p.act("fault", map[string]any{"id": id, "off": true})
		}
		if slices.Contains(cutting, id) {
			p.restart() // a run that has lost its socket takes its time with the next
		}
	}
	p.view("books")
	p.says(".notice", "Disabled")
	p.says("#state", "disabled")
	p.shoot("disabled")
	p.click(".notice button")
	p.until(`document.documentElement.dataset.word !== "disabled"`)
	p.openChat(telegram)
	p.write("still there?")
	p.says(".bubble.bot .text", "You said: still there?")
}

// pleasesAxe looks at each view in both themes and widths with axe-core, which DORMOUSE_AXE names (make page fetches it).
func (p *stage) pleasesAxe() {
	path := os.Getenv("DORMOUSE_AXE")
	if path == "" {
		p.t.Skip("no axe-core: accessibility is not checked (make page)")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	eval[bool](p.browser, string(axe)+"; true")
	way := eval[string](p.browser, `fetch("/api/way/delivery-1").then((r) => r.json()).then((w) => w.id)`)
	for _, view := range []string{"chats", "life", "messages/" + way, "faults", "books", "settings", "keys"} {
		if view == "keys" {
			p.press("?")
		} else {
			p.view(view)
		}
		for _, width := range []int64{1920, 360} {
			p.do(chromedp.EmulateViewport(width, 900))
			for _, theme := range []string{"light", "dark"} {
				found := eval[[]string](p.browser, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, axe.run(document, {resultTypes: ["violations"]})
					.then((r) => r.violations.map((v) => v.impact + " " + v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + n.failureSummary).join(" | "))))`, theme))
				for _, fault := range found {
					p.t.Errorf("%s, %d pixels, %s: %s", view, width, theme, fault)
				}
			}
		}
	}
	p.press(kb.Escape)
	p.do(chromedp.EmulateViewport(1920, 1080))
}

// restart ends drain's process, if there is one.
func (p *stage) restart() {
	p.t.Helper()
	if err := p.scene.stage.Host().Shutdown(rig.Drain); err != nil {
		p.t.Fatal(err)
	}
	p.asleep()
}

// takesTheWaysOfAnother has the connector be like another, and back.
func (p *stage) takesTheWaysOfAnother() {
	for _, preset := range []string{"rustcell", "hosted"} {
		p.view("faults")
		p.click(fmt.Sprintf(`input[value=%s]`, preset))
		p.until(fmt.Sprintf(`document.querySelector("input[value=%s]").checked`, preset))
		p.openChat(telegram)
		p.act("arm", struct{}{})
		p.write("hello " + preset)
		p.says(".bubble.bot .text", "You said: hello "+preset)
		p.asleep()
	}
	p.view("faults")
	p.until(`document.querySelector("[data-fault]")`)
}

// connected has the gateway connected, unless it is disabled. After a death it is neither poked nor let in for a lease's life.
func (p *stage) connected(n int) {
	p.t.Helper()
	for try := range 30 {
		if slices.Contains([]string{"connected", "disabled"}, eval[string](p.browser, `document.documentElement.dataset.word`)) {
			return
		}
		p.act("arm", struct{}{})
		p.act("say", map[string]any{"chat": telegram, "text": fmt.Sprint("ping ", n, " ", try)})
		eval[bool](p.browser, `new Promise((resolve) => { const end = Date.now() + 1000; const look = () => document.documentElement.dataset.word === "connected" ||
			Date.now() > end ? resolve(true) : setTimeout(look, 10); look() })`)
	}
	p.t.Fatal("the gateway does not connect")
}
