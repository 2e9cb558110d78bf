package action

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	tokenLimit   = 64         // bytes of a prompt's button (section 11)
	optionsLimit = 25         // of one prompt; no platform has more buttons
	refLimit     = 1024       // bytes of a prompt's ref
	lifeLimit    = 90 * 86400 // seconds that a prompt may wait for its answer
)

// prompt gets its id here. Its ref leaves the action: the connector does not need it.
func (s Shaper) prompt(o *Outgoing) error {
	a := o.Action
	if !none(a, "prompt_id") {
		return errors.New("prompt_id: is made by the gateway; want ref to know the answer by")
	}
	id := s.Marker + "." + randomID()
	a["prompt_id"] = id
	if seconds, ok := a["timeout_s"].(float64); a["timeout_s"] != nil && (!ok || seconds < 1 || seconds > lifeLimit) {
		return errors.New("timeout_s: want seconds, from 1 to 7776000")
	}
	ref, ok := a["ref"].(string)
	if a["ref"] != nil && (!ok || len(ref) > refLimit) {
		return errors.New("ref: want a string of at most 1024 bytes")
	}
	o.Ref = ref
	if err := checkOptions(a, id); err != nil {
		return err
	}
	return cmp.Or(needed(a, "content"), oneOf(a, "prompt_kind", "approval", "clarify", "choice"), nullable(a, "reply_to"))
}

// checkOptions checks the options of the prompt of that id.
func checkOptions(a relay.Action, promptID string) error {
	options, ok := a["options"].([]any)
	if !ok || len(options) == 0 || len(options) > optionsLimit {
		return fmt.Errorf("options: want a list of 1 to %d", optionsLimit)
	}
	seen := map[string]bool{}
	for i, o := range options {
		option, _ := o.(map[string]any)
		optionID, _ := option["id"].(string)
		label, _ := option["label"].(string)
		token := relay.PromptToken{PromptID: promptID, OptionID: optionID}.String()
		switch _, ok := relay.ParsePromptToken(token); {
		case !ok:
			return fmt.Errorf("options[%d].id: want 1 to 32 of A-Z a-z 0-9 _ . -", i)
		case len(token) > tokenLimit:
			return fmt.Errorf("options[%d].id: makes a token of %d bytes, the platform takes %d", i, len(token), tokenLimit)
		case seen[optionID]:
			return fmt.Errorf("options[%d].id: is there twice", i)
		case label == "":
			return fmt.Errorf("options[%d].label: want a string that is not empty", i)
		}
		if _, ok := option["style"].(string); option["style"] != nil && !ok {
			return fmt.Errorf("options[%d].style: want a string", i)
		}
		seen[optionID] = true
	}
	return nil
}

// randomID is 8 hex digits.
func randomID() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}
