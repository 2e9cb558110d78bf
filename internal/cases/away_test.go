package cases

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// hello is a message in a chat.
const hello = `{"text":"hi","message_type":"text","message_id":"m-1","source":{"platform":"discord","chat_id":"c-1",` +
	`"chat_type":"group","user_id":"u-1","user_name":"Member One","scope_id":"g-1"}}`

// The agent's absence is not its failure: what each class of status means for a message, from end to end.
func TestAnAgentThatIsAwayCostsNoMessage(t *testing.T) {
	classes := map[string]struct {
		statuses []int
		delivery string
		requests int // 0: more than the three attempts
	}{
		"away":    {[]int{302, 401, 403, 404, 407, 408, 425, 429, 502, 503, 504, 521, 522, 523, 530}, "waiting", 0},
		"failed":  {[]int{500, 501, 520}, "dead", 3},
		"refused": {[]int{400, 410, 413, 422}, "dead", 1},
	}
	for class, want := range classes {
		for _, status := range want.statuses {
			inBubble(t, class+" "+strconv.Itoa(status), func(t *testing.T, kept store) (f faults) {
				s := &script{
					descriptors: []descriptor{ordinary("discord")},
					frames:      []frame{inbound(json.RawMessage(hello), "b-1")},
					answer: func(w http.ResponseWriter, _ *http.Request, _ *request) {
						http.Error(w, "for a reason", status)
					},
				}
				o := s.play(t, kept)
				if o.delivery != want.delivery {
					f.addf("the delivery is %s, want %s", o.delivery, want.delivery)
				}
				if n := len(o.requests); want.requests > 0 && n != want.requests || want.requests == 0 && n <= 3 {
					f.addf("%d requests to the agent", n)
				}
				if o.delivery == "dead" && o.fault != "agent: 127.0.0.1 answered HTTP "+strconv.Itoa(status)+": for a reason" {
					f.addf("the error is %q", o.fault)
				}
				return f
			})
		}
	}
}

func TestAnAgentThatStartsAnewAnswersWhatCameMeanwhile(t *testing.T) {
	for _, down := range []time.Duration{8 * time.Second, 10 * time.Minute} {
		inBubble(t, down.String(), func(t *testing.T, kept store) faults {
			s := &script{
				descriptors: []descriptor{ordinary("discord")},
				frames:      []frame{inbound(json.RawMessage(hello), "b-1")},
				answer:      repeater(nil),
				down:        down,
			}
			requests := 1
			want := reply{
				Requests: &requests, Delivery: oneOf{"finished"},
				Actions: []object{{"op": "send", "chat_id": "c-1", "content": "reply to hi"}},
			}
			return want.check(s.play(t, kept), "chars")
		})
	}
}
