// Package pagetest shows a page to a headless Chromium, for tests. A Browser is one tab; its methods fail the test if what they
// wait for does not come. Tests skip with one line where there is no Chromium.
package pagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dormouse-relay/dormouse/internal/config"
)

const patience = time.Minute // with what is to come, on a busy machine: more than the page's own in Until and Click

// Browser is one tab of a headless Chromium.
type Browser struct {
	T      *testing.T
	ctx    context.Context
	faults *faults
}

// faults are what a browser complains about: exceptions, and what the page's policy forbids.
type faults struct {
	mu   sync.Mutex
	list []string
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// hear collects what a tab's console has of exceptions and of what was forbidden.
func (f *faults) hear(ctx context.Context) {
	for message, err := range chromedp.Console(ctx) {
		if err != nil {
			return
		}
		if message.IsException() || message.Source == "security" {
			f.mu.Lock()
			f.list = append(f.list, fmt.Sprintf("%s (%s:%d)", message.Text, message.URL, message.Line+1))
			f.mu.Unlock()
		}
	}
}

// Start starts a browser, or skips the test where there is none.
func Start(t *testing.T) *Browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium: the page is not tried in a browser (Debian: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.WindowSize(1920, 1080))
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		cancel()
		cancelAllocator()
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // the browser lives as long as this context
		t.Fatal(err)
	}
	b := &Browser{t, ctx, &faults{}}
	go b.faults.hear(ctx)
	return b
}

// Tab is another one of the same browser.
func (b *Browser) Tab() *Browser {
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.T.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		b.T.Fatal(err)
	}
	go b.faults.hear(ctx)
	return &Browser{b.T, ctx, b.faults}
}

// In is the same tab for a part of the test.
func (b *Browser) In(t *testing.T) *Browser { return &Browser{t, b.ctx, b.faults} }

// Do runs actions, or fails the test.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.T.Fatal(err)
	}
}

// Eval evaluates an expression of JavaScript.
func Eval[T any](b *Browser, expression string) T {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.T.Fatalf("%.300s: %v", expression, err)
	}
	return value
}

// Until waits for a condition of JavaScript, or fails the test with what the page shows.
func (b *Browser) Until(condition string) {
	b.T.Helper()
	if !Eval[bool](b, `new Promise((resolve) => {
		const end = Date.now() + 50000;
		const look = () => { let ok = false; try { ok = !!(`+condition+`) } catch {} ; if (ok || Date.now() > end) resolve(ok); else setTimeout(look, 15) };
		look();
	})`) {
		b.T.Fatalf("it does not come to %s\nthe page shows: %.3000s\nthe console: %q", condition, Eval[string](b, `document.body.innerText`), b.faults.all())
	}
}

// Says waits for a text in what a selector finds.
func (b *Browser) Says(selector, text string) {
	b.T.Helper()
	b.Until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((el) => el.innerText.includes(%q))`, selector, text))
}

// Click clicks the first element of a selector, once it is there and stays, and again if it was drawn anew under the mouse.
func (b *Browser) Click(selector string) {
	b.T.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		at := Eval[[]float64](b, fmt.Sprintf(`new Promise((resolve) => {
			const end = Date.now() + 50000;
			const look = () => {
				const el = document.querySelector(%[1]q);
				el?.scrollIntoView({block: "center"});
				setTimeout(() => {
					const box = el === document.querySelector(%[1]q) && !el?.disabled && el?.getBoundingClientRect();
					if (box?.width) {
						window.clicked = false;
						window.addEventListener("click", (e) => { window.clicked = !!e.target.closest(%[1]q) }, {capture: true, once: true});
						resolve([box.x + box.width / 2, box.y + box.height / 2]);
					} else if (Date.now() > end) resolve([]);
					else look();
				}, 40);
			};
			look();
		})`, selector))
		if len(at) == 0 {
			break
		}
		b.Do(chromedp.MouseClickXY(at[0], at[1]))
		if Eval[bool](b, `window.clicked`) {
			return
		}
	}
	b.T.Fatalf("there is no %s to be clicked, or it does not stay\nthe page shows: %.3000s", selector, Eval[string](b, `document.body.innerText`))
}

// Type clicks a field and types a text into it.
func (b *Browser) Type(selector, text string) {
	b.T.Helper()
	b.Click(selector)
	b.Press(strings.Split(text, "")...)
}

// Press presses keys where the focus is, as a keyboard does: a key that the page takes for itself types nothing.
func (b *Browser) Press(keys ...string) {
	b.T.Helper()
	for _, key := range keys {
		named, ok := kb.Keys[[]rune(key)[0]]
		if !ok {
			b.T.Fatalf("no key types %q", key)
		}
		down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: named.Key, Code: named.Code, Text: named.Text,
			WindowsVirtualKeyCode: named.Windows}
		up := down
		up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
		for _, event := range []input.DispatchKeyEventParams{down, up} {
			if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, event); err != nil {
				b.T.Fatal(err)
			}
		}
	}
}

// View goes to a view.
func (b *Browser) View(where string) {
	b.T.Helper()
	Eval[string](b, fmt.Sprintf(`location.hash = %q`, where))
	b.Until(fmt.Sprintf(`document.querySelector("main").dataset.view === %q`, strings.Split(where, "/")[0]))
}

// Open goes to an address.
func (b *Browser) Open(url string) {
	b.T.Helper()
	b.Do(chromedp.Navigate(url))
}

// Complaints are what the browser has had to say: exceptions, and what the page's policy forbids.
func (b *Browser) Complaints() []string { return b.faults.all() }

// Shoot takes a picture in both themes and widths if DORMOUSE_PICTURES names a folder for them.
func (b *Browser) Shoot(name string) {
	b.T.Helper()
	dir := config.Environ()["DORMOUSE_PICTURES"]
	if dir == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		for size, pixels := range map[string][2]int64{"wide": {1920, 1080}, "narrow": {360, 740}} {
			Eval[string](b, fmt.Sprintf(`document.documentElement.dataset.theme = %q`, theme))
			b.Do(chromedp.EmulateViewport(pixels[0], pixels[1]), chromedp.Sleep(120*time.Millisecond))
			picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+"-"+theme+"-"+size+".png"), picture, 0o644)
			}
			if err != nil {
				b.T.Fatal(err)
			}
		}
	}
	b.Do(chromedp.EmulateViewport(1920, 1080))
}

// Close closes the tab.
func (b *Browser) Close() {
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.T.Error(err)
	}
}

// Axe looks at views in both themes and widths, and at the list of keys, with axe-core, which DORMOUSE_AXE names (make page
// fetches it). It skips the test without it.
func (b *Browser) Axe(views ...string) {
	b.T.Helper()
	path := config.Environ()["DORMOUSE_AXE"]
	if path == "" {
		b.T.Skip("no axe-core: accessibility is not checked (make page)")
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		b.T.Fatal(err)
	}
	Eval[bool](b, string(axe)+"; true")
	for _, view := range views {
		b.View(view)
		b.axe(view)
	}
	b.Press("?")
	b.axe("keys")
	b.Press(kb.Escape)
}

func (b *Browser) axe(what string) {
	for _, width := range []int64{1920, 360} {
		b.Do(chromedp.EmulateViewport(width, 900))
		for _, theme := range []string{"light", "dark"} {
			for _, fault := range Eval[[]string](b, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, axe.run(document, {resultTypes: ["violations"]})
				.then((r) => r.violations.map((v) => v.impact + " " + v.id + ": " + v.help + ": " +
					v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + " " + n.failureSummary).join(" | "))))`, theme)) {
				b.T.Errorf("%s, %d pixels, %s: %s", what, width, theme, fault)
			}
		}
	}
	b.Do(chromedp.EmulateViewport(1920, 1080))
}
