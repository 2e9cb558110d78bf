package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var handshakeChecks = []Check{
	{
		ID: "hello-each", Suite: Core, Section: 4, Level: Must,
		Sentence: "each hello is answered by one descriptor",
		Quote:    "The connector answers one `descriptor` per hello.",
		run:      checkHelloEach,
	},
	{
		ID: "hello-platform", Suite: Core, Section: 4, Level: Should,
		Sentence: "the descriptor names the platform of its hello",
		Quote:    "each is also kept by its `platform`",
		run:      checkHelloPlatform,
	},
	{
		ID: "hello-without-bot", Suite: Core, Section: 4, Level: Should,
		Sentence: "a hello without a bot id is answered, too",
		Quote:    "A platform without entry has bot id `\"\"`",
		run: func(t *trial) error {
			p, err := t.dial()
			if err != nil {
				return err
			}
			p.send(`{"type":"hello","platform":%q,"botId":""}`, t.cfg.Platforms[0])
			if _, err = p.expect(relay.TypeDescriptor); err != nil {
				return err
			}
			result, err := p.act(t.cfg.Platforms[0], fmt.Sprintf(`{"op":"typing","chat_id":%q,%s}`, t.chat(), metadata()))
			if err == nil { // section 4: refused with a structured failure
				t.facts.note("bot-ids", strings.Contains(textOf(result, "code")+textOf(result, "error"), "bot"))
			}
			return nil
		},
	},
	{
		ID: "hello-several", Suite: Core, Section: 4, Level: Must,
		Sentence: "the descriptors of several hellos each name their platform",
		Quote:    "The FIRST one completes the handshake and is the\n   session default; each is also kept by its `platform`",
		needs:    needs{fronts: 2},
		run:      checkHelloSeveral,
	},
	{
		ID: "hello-strange", Suite: Core, Section: 21, Level: Should,
		Sentence: "a hello for a platform that is not fronted is answered, too",
		Quote:    "answer each one, also for a platform that is not fronted",
		run: func(t *trial) error {
			p, err := t.connect()
			if err != nil {
				return err
			}
			p.hello("conform-platform")
			f, err := p.expect(relay.TypeDescriptor)
			if err == nil && !strings.Contains(string(f.Desc), "conform-platform") {
				t.facts.note("platforms", t.cfg.Platforms) // there are no others
			}
			return err
		},
	},
	{
		ID: "descriptor-fields", Suite: Core, Section: 7, Level: Must,
		Sentence: "a descriptor has every required field, of its type",
		Quote:    "If a required field is missing, or the descriptor is no object, the reference raises an error and loses the connection",
		run:      checkDescriptor,
	},
	{
		ID: "descriptor-length", Suite: Core, Section: 7, Level: Must,
		Sentence: "max_message_length is a whole number above 0, and len_unit chars or utf16",
		Quote:    "A `max_message_length` that cannot be made an integer, or is not positive, becomes 4096.",
		run:      checkLength,
	},
	{
		ID: "descriptor-optional", Suite: Core, Section: 7, Level: Must,
		Sentence: "the other fields of a descriptor have their types, where they are: emoji and platform_hint text, supported_ops a list of texts, the rest bool",
		Quote:    "\"required\" is what the reference's data class demands.",
		run:      checkOptional,
	},
	{
		ID: "descriptor-ops", Suite: Core, Section: 7, Level: Should,
		Sentence: "supported_ops lists the ops, send among them",
		Quote:    "A list that is not empty is the whole truth",
		run:      checkOps,
	},
	{
		ID: "frames-known", Suite: Core, Section: 5, Level: Should,
		Sentence: "after the handshake only frames of known types come",
		Quote:    "an unknown type, so it is skipped",
		run:      checkKnownFrames,
	},
	{
		ID: "seat-one", Suite: Core, Section: 13, Level: Must,
		Sentence: "of two sockets of one gateway one is closed, by a code that says that the seat is taken",
		Quote:    "another socket took the seat",
		run:      checkOneSeat,
	},
	{
		ID: "seat-newer", Suite: Core, Section: 19, Level: Should,
		Sentence: "of two sockets of one gateway the newer one stays, so that a dead one holds no seat",
		Quote:    "a gateway process frozen or killed without a FIN holds the seat for up to 91 s",
		run:      checkNewerSeat,
	},
}

func checkHelloEach(t *trial) error {
	p, err := t.dial()
	if err != nil {
		return err
	}
	platforms := append([]string{}, t.cfg.Platforms...)
	platforms = append(platforms, t.cfg.Platforms[0]) // one that was said before is answered again
	for _, platform := range platforms {
		p.hello(platform)
	}
	for n := range platforms {
		if _, err := p.expect(relay.TypeDescriptor); err != nil {
			return fmt.Errorf("%d hellos: %d descriptors, then %w", len(platforms), n, err)
		}
	}
	if _, more := p.await(t.cfg.Quiet, func(f frame) bool { return f.Type == relay.TypeDescriptor }); more {
		return fmt.Errorf("more than one descriptor for each of %d hellos", len(platforms))
	}
	return nil
}

func checkHelloPlatform(t *trial) error {
	_, d, err := t.described()
	if err == nil && d["platform"] != t.cfg.Platforms[0] {
		err = fmt.Errorf("hello named %s, the descriptor %v", t.cfg.Platforms[0], d["platform"])
	}
	return err
}

// requiredFields are those of section 7, with a value of the type that each has.
var requiredFields = []struct {
	name string
	is   func(any) bool
}{
	{"contract_version", isNumber}, {"platform", isText}, {"label", isText}, {"max_message_length", isNumber},
	{"supports_draft_streaming", isBool}, {"supports_edit", isBool}, {"supports_threads", isBool}, {"markdown_dialect", isText},
	{"len_unit", isText},
}

func isNumber(v any) bool { _, ok := v.(float64); return ok }
func isText(v any) bool   { _, ok := v.(string); return ok }
func isBool(v any) bool   { _, ok := v.(bool); return ok }

func checkDescriptor(t *trial) error {
	_, d, err := t.described()
	if err != nil {
		return err
	}
	var faults []error
	for _, field := range requiredFields {
		switch value, there := d[field.name]; {
		case !there:
			faults = append(faults, fmt.Errorf("%s is missing", field.name))
		case !field.is(value):
			faults = append(faults, fmt.Errorf("%s is %v", field.name, value))
		}
	}
	return errors.Join(faults...)
}

func checkOptional(t *trial) error {
	_, d, err := t.described()
	if err != nil {
		return err
	}
	var faults []error
	for _, field := range []struct {
		name string
		is   func(any) bool
	}{
		{"emoji", isText}, {"platform_hint", isText}, {"pii_safe", isBool}, {"supports_context", isBool},
		{"supports_inchannel_continuable", isBool}, {"supports_block_formatting", isBool}, {"supported_ops", isTexts},
	} {
		if value := d[field.name]; value != nil && !field.is(value) {
			faults = append(faults, fmt.Errorf("%s is %v", field.name, value))
		}
	}
	return errors.Join(faults...)
}

func isTexts(v any) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(each any) bool { return each == "" || !isText(each) })
}

func checkHelloSeveral(t *trial) error {
	p, err := t.dial()
	if err != nil {
		return err
	}
	for _, platform := range t.cfg.Platforms {
		p.hello(platform)
	}
	described := map[string]bool{}
	for range t.cfg.Platforms {
		f, err := p.expect(relay.TypeDescriptor)
		if err != nil {
			return err
		}
		var d struct{ Platform string }
		if json.Unmarshal(f.Desc, &d) != nil || described[d.Platform] {
			return fmt.Errorf("a descriptor of the platform %q, once more", d.Platform)
		}
		described[d.Platform] = true
	}
	for _, platform := range t.cfg.Platforms {
		if !described[platform] {
			return fmt.Errorf("no descriptor of the platform %s", platform)
		}
	}
	return nil
}

func checkLength(t *trial) error {
	_, d, err := t.described()
	if err != nil {
		return err
	}
	if length, ok := d["max_message_length"].(float64); !ok || length < 1 || length != float64(int64(length)) {
		return fmt.Errorf("max_message_length is %v", d["max_message_length"])
	}
	if unit := d["len_unit"]; unit != "chars" && unit != "utf16" {
		return fmt.Errorf("len_unit is %v", unit)
	}
	return nil
}

func checkOps(t *trial) error {
	_, d, err := t.described()
	if err != nil {
		return err
	}
	t.facts.note("descriptor", d)
	t.facts.note("ops", listedOps(d))
	ops, ok := d["supported_ops"].([]any)
	if !ok {
		return fmt.Errorf("supported_ops is %v", d["supported_ops"])
	}
	for _, op := range ops {
		if op == "send" {
			return nil
		}
	}
	return fmt.Errorf("supported_ops has no send: %v", ops)
}

// listedOps are those that a descriptor lists; nil: it lists none.
func listedOps(d map[string]any) []string {
	if listed, ok := d["supported_ops"].([]any); !ok || len(listed) == 0 {
		return nil
	}
	return opsOf(d)
}

func checkKnownFrames(t *trial) error {
	p, err := t.dial()
	if err != nil {
		return err
	}
	p.hello(t.cfg.Platforms[0])
	known := map[string]bool{relay.TypeDescriptor: true, relay.TypeInbound: true, relay.TypePassthrough: true,
		relay.TypeInterruptIn: true, relay.TypeResult: true, relay.TypeGoingIdleAck: true}
	for {
		f, ok := p.next(t.cfg.Quiet)
		if !ok {
			return nil
		}
		if !known[f.Type] {
			t.facts.note("odd-frames", []string{f.line})
			return fmt.Errorf("a frame of the type %s", f.Type)
		}
		p.clear(f)
	}
}

// seats opens two sockets, one after the other, and says how each ended.
func (t *trial) seats() (first, second *peer, err error) {
	if first, err = t.connect(); err != nil {
		return nil, nil, err
	}
	if second, err = t.dial(); err != nil {
		return nil, nil, err
	}
	second.hello(t.cfg.Platforms[0])
	select {
	case <-first.ended:
	case <-second.ended:
	case <-after(t.cfg.Wait):
		return nil, nil, errors.New("both sockets are open")
	}
	return first, second, nil
}

func checkOneSeat(t *trial) error {
	first, second, err := t.seats()
	if err != nil {
		return err
	}
	gone, stays := first, second
	if first.open() {
		gone, stays = second, first
	}
	t.facts.note("seat", gone.end)
	if !takesSeat(gone.end) {
		return fmt.Errorf("one of them ended with %v", gone.end)
	}
	return stays.answersHello("the other one was closed")
}

func checkNewerSeat(t *trial) error {
	first, _, err := t.seats()
	if err == nil && first.open() {
		err = errors.New("the newer one was closed")
	}
	return err
}
