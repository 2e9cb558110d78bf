package page_test

import (
	"testing"

	"github.com/chromedp/chromedp"
)

func TestThePageInABrowser(t *testing.T) {
	b := start(t)
	s := open(t)
	b.do(chromedp.Navigate(s.url))
	b.until(`document.querySelector(".pane textarea")`)
	b.do(chromedp.SendKeys(chromedp.CSS(".pane textarea"), "hello **world**\r"))
	b.says(".bubble.bot", "You said")
	b.says(".bubble", "answered")
	b.shoot("chat")
	for _, v := range []string{"life", "messages", "faults", "books", "settings"} {
		b.view(v)
		if v == "messages" {
			b.click(".item-button")
			b.until(`document.querySelector(".steps li")`)
		}
		b.shoot(v)
	}
}
