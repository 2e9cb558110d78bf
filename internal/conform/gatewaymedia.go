package conform

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

var gatewayMediaChecks = []Check{
	{
		ID: "gateway-media", Suite: Media, Section: 15, Level: Must,
		Sentence: "it fetches an attachment that the connector keeps with its upgrade token",
		Quote:    "A re-hosted file lives about an hour: fetch it on receipt.",
		gateway:  checkGatewayMedia,
	},
	{
		ID: "gateway-media-elsewhere", Suite: Media, Section: 15, Level: Must,
		Sentence: "it shows its upgrade token to no other host, whatever the path",
		Quote:    "Otherwise the request has\nno bearer.",
		gateway:  checkGatewayElsewhere,
	},
}

var gatewayPromptChecks = []Check{
	{
		ID: "gateway-forward", Suite: Prompts, Section: 9, Level: Must,
		Sentence: "a buffered forward is acked",
		Quote:    "The contract says that a buffered forward is acked after durable handoff.",
		gateway:  checkGatewayForward,
	},
	{
		ID: "gateway-autocomplete", Suite: Prompts, Section: 9, Level: Should,
		Sentence: "an autocomplete is no message: nothing is said",
		Quote:    "a ping or an autocomplete is no message: acked, no turn",
		gateway: func(g *subject) error {
			return g.unsaid(`{"id":"i-%s","type":4,"channel_id":%q,"guild_id":"conform-scope","member":{"user":{"id":%q,"username":"c"}},` +
				`"data":{"name":"help","options":[{"name":"topic","type":3,"value":"conf","focused":true}]}}`)
		},
	},
	{
		ID: "gateway-prompt", Suite: Prompts, Section: 11, Level: Must,
		Sentence: "an answer to a prompt that is not known is not taken for chat: it is acked, and its text is not answered",
		Quote:    "Every answer to a prompt is consumed and never treated as chat",
		gateway:  checkGatewayPrompt,
	},
	{
		ID: "gateway-prompt-button", Suite: Prompts, Section: 9, Level: Must,
		Sentence: "nor is the press of a button of such a prompt",
		Quote:    "if it is a prompt token (section 11) also `prompt_response`",
		gateway: func(g *subject) error {
			return g.unsaid(`{"id":"i-%s","type":3,"channel_id":%q,"guild_id":"conform-scope","member":{"user":{"id":%q,"username":"c"}},` +
				`"message":{"id":"conform-none"},"data":{"custom_id":"hp1:ab12cd.00000001:conformyes"}}`)
		},
	},
}

// gatewayIdentityChecks come last: the last of them ends the gateway, and the one before it may leave a connector that does one
// action after another with much to do.
var gatewayIdentityChecks = []Check{
	{
		ID: "gateway-token", Suite: Identity, Section: 2, Level: Must,
		Sentence: "each of its dials has a token that verifies",
		Quote:    "A token is minted anew at EVERY dial",
		gateway: func(g *subject) error {
			if _, _, err := g.exchange(); err != nil {
				return err
			}
			if len(g.c.State().Sockets) < 2 { // no other check had it dial again
				if err := g.cut(); err != nil {
					return err
				}
				if _, _, err := g.exchange(); err != nil {
					return err
				}
			}
			if refused := g.c.State().Count(devconnector.ObsRefused); refused > 0 {
				return fmt.Errorf("%d dials were refused", refused)
			}
			return nil
		},
	},
	{
		ID: "gateway-provision", Suite: Identity, Section: 14, Level: Must,
		Sentence: "where it provisions, it does so for each platform that it fronts, with one id and the platform's bot id",
		Quote:    "One POST per fronted platform, one after another, same id",
		gateway:  checkGatewayProvision,
	},
	{
		ID: "gateway-ghost", Suite: Identity, Section: 19, Level: Must,
		Sentence: "a gateway whose seat is held by a ghost for 40 seconds dials until it is let in, and goes on",
		Quote:    "a gateway process frozen or killed without a FIN holds the seat for up to 91 s",
		needs:    needs{slow: true},
		gateway: func(g *subject) error {
			return g.outlasts(func() error { return g.c.Ghost(g.cfg.Gateway, outage) }, 0)
		},
	},
	{
		ID: "gateway-suspended", Suite: Identity, Section: 13, Level: Should,
		Sentence: "a gateway that is suspended for 40 seconds dials at most ten times meanwhile, and goes on",
		Quote:    "suspended, or too many failures from this address: back off",
		needs:    needs{slow: true},
		gateway: func(g *subject) error {
			return g.outlasts(func() error { return g.c.Suspend(g.cfg.Gateway, outage) }, 10)
		},
	},
	{
		ID: "gateway-expired", Suite: Identity, Section: 13, Level: Must,
		Sentence: "after a close 4401 expired it dials again, and takes what waits",
		Quote:    "reason exactly `expired`: ordinary reconnect",
		gateway:  checkGatewayExpired,
	},
	{
		ID: "gateway-late", Suite: Core, Section: 19, Level: Must,
		Sentence: "a send whose result takes 40 seconds is not sent again",
		Quote:    "so one `send` may take longer than our 75 s",
		needs:    needs{slow: true},
		gateway:  checkGatewayLate,
	},
	{
		ID: "gateway-revoked", Suite: Identity, Section: 13, Level: Must,
		Sentence: "a gateway that is revoked dials at most twice more in a minute",
		Quote:    "That connection accepted and then closed 4401 (not expired), or the dial itself failing with 4401: revoked, terminal.",
		needs:    needs{slow: true},
		gateway:  checkGatewayRevoked,
	},
}

const outage = 40 * time.Second

// outlasts has an outage begin, counts the dials, and wants an answer when it is over. most 0 means any number.
func (g *subject) outlasts(begin func() error, most int) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	before := dials(g.c.State())
	if err := begin(); err != nil {
		return err
	}
	g.quiet(outage)
	if n := dials(g.c.State()) - before; most > 0 && n > most {
		return fmt.Errorf("%d dials in %v", n, outage)
	}
	_, _, err := g.exchange()
	return err
}

func checkGatewayRevoked(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	before := dials(g.c.State())
	if err := g.c.Revoke(g.cfg.Gateway); err != nil {
		return err
	}
	g.write(nil)
	g.quiet(time.Minute)
	if n := dials(g.c.State()) - before; n > 2 {
		return fmt.Errorf("%d dials in a minute", n)
	}
	return nil
}

func checkGatewayForward(g *subject) error {
	if g.cfg.Platforms[0] != "discord" {
		return &skipped{"only Discord has forwards"}
	}
	if err := g.idle(); err != nil {
		return err
	}
	id := g.c.Forward(g.cfg.Gateway, forward("conform-forward"))
	if id == "" {
		return &skipped{"the connector does not buffer forwards"}
	}
	if err := g.resume(); err != nil {
		return err
	}
	return g.acked(id)
}

// unsaid forwards an interaction of Discord's, and fails if anything is said in its channel. form has the id, the channel and
// the author.
func (g *subject) unsaid(form string) error {
	if g.cfg.Platforms[0] != "discord" {
		return &skipped{"only Discord has interactions"}
	}
	if err := g.ready(); err != nil {
		return err
	}
	m := message{chat: g.newChat()}
	f := forward(m.chat)
	f.Body = fmt.Appendf(nil, form, m.chat, m.chat, author)
	g.c.Forward(g.cfg.Gateway, f)
	return g.notSaid(m, "")
}

// notSaid fails if something is said in a chat that has the words. What would be said is said by the time that a later message
// elsewhere is answered, and a moment later.
func (g *subject) notSaid(m message, words string) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	said := ""
	if g.until(g.cfg.Quiet, func(s devconnector.State) bool {
		for _, out := range sends(s, m) {
			if strings.Contains(out.Content, words) {
				said = out.Content
				return true
			}
		}
		return false
	}) {
		return fmt.Errorf("it said %.60q", said)
	}
	return nil
}

func checkGatewayPrompt(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	m := g.write(map[string]any{"text": "/conformyes", "message_type": "command", "prompt_response": map[string]any{
		"prompt_id": "ab12cd.00000001", "option_id": "conformyes", "label": "Yes", "prompt_message_id": nil,
	}})
	if err := g.notSaid(m, "conformyes"); err != nil {
		return err
	}
	if m.buffer != "" {
		return g.acked(m.buffer)
	}
	return nil
}

// attached has somebody write with a file, and returns the requests for it once the message is answered.
func (g *subject) attached(base string) (requests []devconnector.Observation, err error) {
	if base == "" {
		return nil, &skipped{"needs the URL that the gateway has of the connector"}
	}
	if !g.c.Behaviour().Media {
		return nil, &skipped{"the connector has no media"}
	}
	if err := g.ready(); err != nil {
		return nil, err
	}
	id, err := g.c.AddMedia(g.cfg.Gateway, "text/plain", "conform.txt", []byte("conform"))
	if err != nil {
		return nil, err
	}
	url := base + "/relay/media/" + id
	from := len(g.c.State().Observations)
	m := g.write(map[string]any{"message_type": "document", "media_urls": []string{url}, "media": []map[string]any{
		{"url": url, "kind": "document", "mime": "text/plain", "size": 7, "filename": "conform.txt"},
	}})
	if _, err := g.answer(m); err != nil {
		return nil, err
	}
	for _, o := range g.c.State().Observations[from:] {
		if o.What == devconnector.ObsDownload {
			requests = append(requests, o)
		}
	}
	return requests, nil
}

func checkGatewayMedia(g *subject) error {
	requests, err := g.attached(g.cfg.URL)
	switch {
	case err != nil:
		return err
	case len(requests) == 0:
		return errors.New("it did not ask for the file")
	case requests[len(requests)-1].Status != 200:
		return fmt.Errorf("it asked for the file and was answered HTTP %d", requests[len(requests)-1].Status)
	}
	return nil
}

func checkGatewayElsewhere(g *subject) error {
	requests, err := g.attached(g.cfg.Elsewhere)
	for _, o := range requests {
		if host, shown := strings.CutPrefix(o.Detail, "bearer "); shown {
			return fmt.Errorf("it showed its token to %s", host)
		}
	}
	return err
}

func checkGatewayProvision(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	provisions := g.c.State().Provisions
	if len(provisions) == 0 {
		return &skipped{"it does not provision: its credentials are pinned"}
	}
	asked := map[string]bool{}
	for _, p := range provisions {
		if p.Gateway != g.cfg.Gateway || p.BotID == "" || p.Status/100 != 2 {
			return fmt.Errorf("id %q, bot id %q, answered HTTP %d", p.Gateway, p.BotID, p.Status)
		}
		asked[p.Platform] = true
	}
	for _, platform := range g.cfg.Platforms {
		if !asked[platform] {
			return fmt.Errorf("not for %s", platform)
		}
	}
	return nil
}

func checkGatewayExpired(g *subject) error {
	if _, _, err := g.exchange(); err != nil { // so that it is connected
		return err
	}
	if err := g.idle(); err != nil {
		return err
	}
	m := g.write(nil)
	if err := g.c.Expire(g.cfg.Gateway); err != nil {
		return &skipped{"it went to sleep before its token could expire: " + err.Error()}
	}
	if m.buffer == "" {
		return &skipped{"the connector buffers nothing"}
	}
	return g.acked(m.buffer)
}
