package devconnector_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// sends sends an action and returns the result that comes back.
func (p *peer) sends(n int, action string) map[string]any {
	p.send(outbound(fmt.Sprintf("%032x", n), "", "", action))
	return p.expect("outbound_result")["result"].(map[string]any)
}

func TestRefusalClasses(t *testing.T) {
	tests := map[string]struct {
		want    map[string]any
		applied bool
	}{
		"refused":           {want: map[string]any{"error": "refused by the development connector", "code": "refused"}},
		"rate_limited":      {want: map[string]any{"error": "rate limited", "code": "rate_limited", "retryable": true, "retry_after": 2.5}},
		"rate_limited_only": {want: map[string]any{"error": "slow down", "code": "rate_limited"}},
		"too_many_requests": {want: map[string]any{"error": "Too Many Requests: retry after 2.5"}},
		"flood_control":     {want: map[string]any{"error": "flood_control:2.5"}},
		"connection_closed": {want: map[string]any{"error": "Connection Closed"}},
		"not_connected":     {want: map[string]any{"error": "whatsapp is not connected (state: connecting)"}},
		"unavailable":       {want: map[string]any{"error": "503 Service Unavailable"}},
		"server_error":      {want: map[string]any{"error": "discord: 502 Bad Gateway"}},
		"retryable":         {want: map[string]any{"error": "the sender is restarting", "retryable": true}},
		"unrouted":          {want: map[string]any{"error": "chat not routed to this profile"}},
		"timed_out":         {want: map[string]any{"error": "sendMessage timed out"}, applied: true},
		"ack_lost":          {want: map[string]any{"error": "ack lost"}, applied: true},
		"ambiguous":         {want: map[string]any{"error": "relay send failed: connection reset", "ambiguous": true}, applied: true},
		"ambiguous_lost":    {want: map[string]any{"error": "relay transport connection lost", "ambiguous": true}},
		"declined": {want: map[string]any{
			"error": "discord egress declined: target not routed to an onboarded tenant", "code": "egress_declined",
		}},
		"declined_text": {want: map[string]any{"error": "Egress Declined: not yours"}},
		"markup":        {want: map[string]any{"error": "Bad Request: can't parse entities: unexpected end at byte offset 7"}},
		"unsupported":   {want: map[string]any{"error": "unsupported op: send"}},
		"permanent":     {want: map[string]any{"error": "Forbidden: bot was blocked by the user", "retryable": false}},
		"not_found":     {want: map[string]any{"error": "message to edit not found"}},
		"not_modified":  {want: map[string]any{"error": "Bad Request: message is not modified"}, applied: true},
	}
	is := is.New(t)
	for _, name := range devconnector.RefusalClasses() {
		_, ok := tests[name]
		is.True(ok) // each class is tested
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: anyRoute()})
				is.NoErr(r.c.RefuseAs(devconnector.Refusing{Class: name, Count: 1, RetryAfter: 2500 * time.Millisecond}))
				p := r.connect()
				tt.want["success"] = false
				is.Equal(p.sends(1, `{"op":"send","chat_id":"c","content":"hi"}`), tt.want)
				got := r.c.Outbounds()[0]
				is.Equal(got.Applied, tt.applied)
				is.Equal(got.MessageID != "", tt.applied)                                           // the chat has the message
				is.Equal(p.sends(2, `{"op":"send","chat_id":"c","content":"hi"}`)["success"], true) // once
			})
		})
	}
}

func anyRoute() devconnector.Preset {
	p := devconnector.Hosted()
	p.Routing = devconnector.RouteAny
	return p
}

func TestRefusalsFitByOpAndChatAndCount(t *testing.T) {
	const send, other, edit = `{"op":"send","chat_id":"c","content":"hi"}`, `{"op":"send","chat_id":"d","content":"hi"}`,
		`{"op":"edit","chat_id":"c","message_id":"m","content":"hi"}`
	tests := map[string]struct {
		faults  []string // to the control API
		actions []string
		refused []int // which of them
	}{
		"one action":             {[]string{`{"name":"refuse"}`}, []string{send, send}, []int{0}},
		"several":                {[]string{`{"name":"refuse","count":2}`}, []string{send, edit, send}, []int{0, 1}},
		"all":                    {[]string{`{"name":"refuse","count":-1}`}, []string{send, edit, other}, []int{0, 1, 2}},
		"one op":                 {[]string{`{"name":"refuse","op":"edit","count":-1}`}, []string{send, edit, send}, []int{1}},
		"one chat":               {[]string{`{"name":"refuse","chat":"d","count":-1}`}, []string{send, other, edit, other}, []int{1, 3}},
		"after some":             {[]string{`{"name":"refuse","op":"send","after":1}`}, []string{send, edit, send, send}, []int{2}},
		"two side by side":       {[]string{`{"name":"refuse","op":"edit"}`, `{"name":"refuse","chat":"d"}`}, []string{send, edit, other}, []int{1, 2}},
		"a new one, same target": {[]string{`{"name":"refuse","count":-1}`, `{"name":"refuse"}`}, []string{send, send}, []int{0}},
		"one ended":              {[]string{`{"name":"refuse","op":"edit"}`, `{"name":"refuse"}`, `{"name":"refuse","op":"edit","off":true}`}, []string{edit, edit}, []int{0}},
		"all ended":              {[]string{`{"name":"refuse","op":"edit"}`, `{"name":"refuse","chat":"d"}`, `{"name":"refuse","off":true}`}, []string{edit, other}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: anyRoute()})
				for _, fault := range tt.faults {
					is.Equal(control(r, "POST", "/fault", fault).Code, 204)
				}
				p := r.connect()
				for n, action := range tt.actions {
					is.Equal(p.sends(n, action)["success"], !slices.Contains(tt.refused, n))
				}
			})
		})
	}
}

func TestTheControlAPITellsTheWaitOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: anyRoute()})
		is.Equal(control(r, "POST", "/fault", `{"name":"refuse","class":"flood_control","seconds":7,"count":2}`).Code, 204)
		is.Equal(r.connect().sends(1, `{"op":"send","chat_id":"c","content":"hi"}`)["error"], "flood_control:7")
		w := control(r, "POST", "/fault", `{"name":"refuse","class":"nonsense"}`)
		is.Equal(w.Code, 400)
	})
}
