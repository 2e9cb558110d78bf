package page_test

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
)

// browser is one tab of a headless Chromium.
type browser struct {
	t      *testing.T
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

// start starts a browser, or skips the test where there is none.
func start(t *testing.T) *browser {
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
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
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
	b := &browser{t, ctx, &faults{}}
	go b.faults.hear(ctx)
	return b
}

// tab is another one of the same browser.
func (b *browser) tab() *browser {
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		b.t.Fatal(err)
	}
	go b.faults.hear(ctx)
	return &browser{b.t, ctx, b.faults}
}

// in is the same tab for a part of the test.
func (b *browser) in(t *testing.T) *browser { return &browser{t, b.ctx, b.faults} }

// do runs actions, or fails the test.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval evaluates an expression of JavaScript.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.300s: %v", expression, err)
	}
	return value
}

// until waits for a condition of JavaScript, or fails the test with what the page shows.
func (b *browser) until(condition string) {
	b.t.Helper()
	if !eval[bool](b, `new Promise((resolve) => {
		const end = Date.now() + 20000;
		const look = () => { let ok = false; try { ok = !!(`+condition+`) } catch {} ; if (ok || Date.now() > end) resolve(ok); else setTimeout(look, 15) };
		look();
	})`) {
		b.t.Fatalf("it does not come to %s\nthe page shows: %.3000s\nthe console: %q", condition, eval[string](b, `document.body.innerText`), b.faults.all())
	}
}

// says waits for a text in what a selector finds.
func (b *browser) says(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some((el) => el.innerText.includes(%q))`, selector, text))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)`, selector))
	eval[bool](b, fmt.Sprintf(`(document.querySelector(%q).scrollIntoView({block: "center"}), true)`, selector))
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// press presses keys where the focus is, as a keyboard does: a key that the page takes for itself types nothing.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		named, ok := kb.Keys[[]rune(key)[0]]
		if !ok {
			b.t.Fatalf("no key types %q", key)
		}
		down := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: named.Key, Code: named.Code, Text: named.Text,
			WindowsVirtualKeyCode: named.Windows}
		up := down
		up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
		for _, event := range []input.DispatchKeyEventParams{down, up} {
			if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, event); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// view goes to a view.
func (b *browser) view(where string) {
	b.t.Helper()
	eval[string](b, fmt.Sprintf(`location.hash = %q`, where))
	b.until(fmt.Sprintf(`document.querySelector("main").dataset.view === %q`, strings.Split(where, "/")[0]))
}

// shoot takes a picture in both themes and widths if DORMOUSE_PICTURES names a folder for them.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("DORMOUSE_PICTURES")
	if dir == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		for size, pixels := range map[string][2]int64{"wide": {1920, 1080}, "narrow": {360, 740}} {
			eval[string](b, fmt.Sprintf(`document.documentElement.dataset.theme = %q`, theme))
			b.do(chromedp.EmulateViewport(pixels[0], pixels[1]), chromedp.Sleep(120*time.Millisecond))
			picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+"-"+theme+"-"+size+".png"), picture, 0o644)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.do(chromedp.EmulateViewport(1920, 1080))
}

// close closes the tab.
func (b *browser) close() {
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Error(err)
	}
}
