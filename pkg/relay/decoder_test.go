package relay_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestDecoderReadsEveryType(t *testing.T) {
	is := is.New(t)
	var d relay.Decoder
	frames := d.Feed([]byte(`{"type":"descriptor","descriptor":{"platform":"slack","max_message_length":100}}
{"type":"inbound","event":{"text":"hi","source":{"platform":"discord","chat_id":7}},"bufferId":"b-1"}
{"bufferId":12345678901234567890,"type":"passthrough_forward","forward":{"platform":"discord","bodyB64":"e30="}}
{"type":"outbound_result","requestId":"r-1","result":{"success":true,"message_id":"m-1"}}
{"type":"outbound_result","requestId":"r-2"}
{"type":"interrupt_inbound","session_key":"agent:main:discord:dm:7"}
{"type":"going_idle_ack"}
`))
	is.Equal(len(frames), 7)
	for _, f := range frames {
		is.Equal(f.Fault, "")
	}
	is.Equal(frames[0].Descriptor.Platform, "slack")
	is.Equal(frames[0].Descriptor.MaxMessageLength, 100)
	is.Equal(frames[1].Event.Text, "hi")
	is.Equal(frames[1].Event.Source.ChatID, "7")
	is.Equal(frames[1].BufferID, "b-1")
	is.Equal(string(frames[2].Forward.Body), "{}")
	is.Equal(frames[2].BufferID, "12345678901234567890") // a number keeps its digits
	is.Equal(frames[3].RequestID, "r-1")
	is.Equal(frames[3].Result.MessageID, "m-1")
	is.True(!frames[4].Result.Success) // a missing result is a failure
	is.Equal(frames[5].SessionKey, "agent:main:discord:dm:7")
	is.Equal(frames[5].ChatID, "")
	is.Equal(frames[6].Type, relay.TypeGoingIdleAck)
}

func TestDecoderFaults(t *testing.T) {
	long := strings.Repeat("x", 1025)
	tests := map[string]struct{ line, fault, bufferID string }{
		"a byte order mark alone":  {"\ufeff{", "broken JSON", ""},
		"a byte order mark within": {"{\ufeff\"type\":\"inbound\",\"bufferId\":\"b\"}", "broken JSON", "b"},
		"no JSON":                  {`hello`, "broken JSON", ""},
		"array":                    {`[{"type":"inbound"}]`, "not a JSON object", ""},
		"number":                   {`7`, "not a JSON object", ""},
		"two values":               {`{"type":"going_idle_ack"} {}`, "broken JSON", ""},
		"no type":                  {`{"event":{},"bufferId":"b"}`, "unknown type", "b"},
		"type of a wrong type":     {`{"type":["inbound"],"bufferId":"b"}`, "unknown type", "b"},
		"unknown type":             {`{"type":"error","error":"no"}`, "unknown type", ""},
		"our own type":             {`{"type":"hello","platform":"discord"}`, "unknown type", ""},
		"no event":                 {`{"type":"inbound","bufferId":"b"}`, "unusable event", "b"},
		"event is no object":       {`{"type":"inbound","event":[],"bufferId":"b"}`, "unusable event", "b"},
		"source is no object":      {`{"type":"inbound","event":{"source":7},"bufferId":"b"}`, "unusable event", "b"},
		"no forward":               {`{"type":"passthrough_forward","bufferId":"b"}`, "unusable forward", "b"},
		"buffer id is an object":   {`{"type":"inbound","event":{},"bufferId":{}}`, "field missing or of a wrong type", ""},
		"long buffer id":           {`{"type":"inbound","event":{},"bufferId":"` + long + `"}`, "id over 1 KiB", ""},
		"long chat id": {
			`{"type":"inbound","event":{"source":{"chat_id":"` + long + `"}},"bufferId":"b"}`, "id over 1 KiB", "b",
		},
		"long request id":          {`{"type":"outbound_result","requestId":"` + long + `"}`, "id over 1 KiB", ""},
		"session key is a list":    {`{"type":"interrupt_inbound","session_key":[]}`, "field missing or of a wrong type", ""},
		"broken UTF-8":             {`{"type":"inbound","event":{"text":"` + "\xff" + `"},"bufferId":"b"}`, "broken UTF-8", "b"},
		"broken UTF-8 in the id":   {`{"type":"inbound","event":{},"bufferId":"` + "\xff" + `"}`, "broken UTF-8", ""},
		"broken UTF-8 in the open": {"{\"type\":\"inbound\",\xff\"bufferId\":\"b\"}", "broken UTF-8", "b"},
		"cut short":                {`{"type":"inbound","bufferId":"b-1","event":{"text":"ab`, "broken JSON", "b-1"},
		"cut in the id":            {`{"type":"inbound","event":{},"bufferId":"b-`, "broken JSON", ""},
		"broken, id last":          {`{"type":"inbound","event":{"text":hi}, "bufferId" : "b\"1" }`, "broken JSON", `b"1`},
		"broken, id a number":      {`{"type":"inbound","event":{"text":hi},"bufferId":77}`, "broken JSON", "77"},
		"broken, id at the end":    {`{"type":"inbound","event":x,"bufferId":"b"`, "broken JSON", "b"},
		"broken, id quoted":        {`{"type":"inbound","event":{"text":"\"bufferId\":\"b\""}`, "broken JSON", ""},
		"broken, id no value":      {`{"type":"inbound","event":x,"bufferId"`, "broken JSON", ""},
		"broken, id of a wrong type": {
			`{"type":"inbound","event":x,"bufferId":true}`, "broken JSON", "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var d relay.Decoder
			frames := d.Feed([]byte(tt.line + "\n" + `{"type":"going_idle_ack"}` + "\n"))
			is.Equal(len(frames), 2)
			is.Equal(frames[0].Fault, tt.fault)
			is.Equal(frames[0].BufferID, tt.bufferID)
			is.Equal(frames[1].Fault, "") // the next one is not touched
		})
	}
}

func TestDecoderReadsEscapedLoneSurrogates(t *testing.T) {
	is := is.New(t)
	var d relay.Decoder
	frames := d.Feed([]byte(`{"type":"inbound","event":{"text":"a\ud800b"}}` + "\n"))
	is.Equal(frames[0].Fault, "")
	is.Equal(frames[0].Event.Text, "a\uFFFDb")
}

func TestDecoderSkipsAByteOrderMark(t *testing.T) {
	is := is.New(t)
	stream := "\ufeff" + `{"type":"going_idle_ack"}` + "\n\ufeff\n \ufeff\ufeff " + `{"type":"inbound","event":{"text":"\ufeffa"},"bufferId":"b"}` + "\n"
	var whole, bytewise relay.Decoder
	got := whole.Feed([]byte(stream))
	is.Equal(len(got), 2) // a mark alone is a blank line
	is.Equal(got[0].Type, relay.TypeGoingIdleAck)
	is.Equal(got[1].BufferID, "b")
	is.Equal(got[1].Event.Text, "\ufeffa") // in a text it is text
	var again []relay.Frame
	for i := range len(stream) {
		again = append(again, bytewise.Feed([]byte(stream[i:i+1]))...)
	}
	is.Equal(again, got)
}

func TestDecoderDoesNotMindHowLinesAreCut(t *testing.T) {
	is := is.New(t)
	stream := "\n \r\n" + `{"type":"going_idle_ack"}` + "\r\n\n\t\n" +
		`{"type":"interrupt_inbound","chat_id":"ä"}` + "\n" + `{"ty`
	var whole, bytewise relay.Decoder
	want := whole.Feed([]byte(stream))
	is.Equal(len(want), 2) // blank lines are none, and the last part waits
	var got []relay.Frame
	for i := range len(stream) {
		got = append(got, bytewise.Feed([]byte(stream[i:i+1]))...)
	}
	is.Equal(got, want)
	is.Equal(len(bytewise.Feed([]byte(`pe":"going_idle_ack"}`+"\n"))), 1)
}

func TestDecoderReadsOverlongLinesToTheirEnd(t *testing.T) {
	filler := strings.Repeat(`"padding",`, 2000)
	tests := map[string]struct{ line, bufferID string }{
		"id first":     {`{"bufferId":"first","type":"inbound","x":[` + filler + `0]}`, "first"},
		"id last":      {`{"type":"inbound","x":[` + filler + `0],"bufferId":"last"}`, "last"},
		"id amidst":    {`{"x":[` + filler + `0],"bufferId":"amidst","y":[` + filler + `0]}`, ""},
		"just too big": {`{"type":"inbound","bufferId":"small","event":{"text":"` + strings.Repeat("x", 1000) + `"}}`, "small"},
		// What the two edges make when put together is not an id.
		"id at the seam": {`{"x":"` + strings.Repeat("x", 4096-6-len(`","bufferId":"one`)) + `","bufferId":"one` +
			strings.Repeat("x", 9000) + `two","y":"` + strings.Repeat("x", 4096-len(`two","y":""}`)) + `"}`, ""},
	}
	for name, tt := range tests {
		for _, size := range []int{1, 7, 1000, 4096, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d at a time", name, size), func(t *testing.T) {
				is := is.New(t)
				d := relay.Decoder{Limit: 1000}
				var frames []relay.Frame
				for part := range slices.Chunk([]byte(tt.line+"\n"+`{"type":"going_idle_ack"}`+"\n"), size) {
					frames = append(frames, d.Feed(part)...)
				}
				is.Equal(len(frames), 2)
				is.Equal(frames[0].Fault, "too large")
				is.Equal(frames[0].BufferID, tt.bufferID)
				is.Equal(frames[1].Fault, "")
			})
		}
	}
}

func TestDecoderDoesNotHoldOverlongLines(t *testing.T) {
	is := is.New(t)
	d := relay.Decoder{Limit: 64 << 10}
	d.Feed([]byte(`{"type":"inbound","x":"`))
	d.Feed(bytes.Repeat([]byte("x"), 128<<10)) // over the limit: what it needs it has from here on
	part := bytes.Repeat([]byte("x"), 64<<10)
	is.Equal(testing.AllocsPerRun(10, func() { d.Feed(part) }), 0.0)
	frames := d.Feed([]byte(`","bufferId":"b"}` + "\n"))
	is.Equal(frames[0].BufferID, "b")
}

func TestDecoderTakesALineAsLongAsTheLimit(t *testing.T) {
	is := is.New(t)
	line := `{"type":"going_idle_ack"}`
	fits, tooSmall := relay.Decoder{Limit: len(line)}, relay.Decoder{Limit: len(line) - 1}
	is.Equal(fits.Feed([]byte(line + "\n"))[0].Fault, "")
	is.Equal(tooSmall.Feed([]byte(line + "\n"))[0].Fault, "too large")

	line = `{"type":"inbound","bufferId":"b","event":{"text":"` + strings.Repeat("x", 20_000) + `"}}`
	fits, tooSmall = relay.Decoder{Limit: len(line)}, relay.Decoder{Limit: len(line) - 1}
	for d, fault := range map[*relay.Decoder]string{&fits: "", &tooSmall: "too large"} {
		is.Equal(len(d.Feed([]byte(line))), 0) // held, and not yet at its end
		is.Equal(d.Feed([]byte("\n"))[0].Fault, fault)
	}
}

func FuzzDecoder(f *testing.F) { // however the stream is cut into messages, the frames are the same, also once they have waited as lines
	f.Add([]byte(`{"type":"inb`), []byte("ound\",\"event\":{},\"bufferId\":\"b\"}\n"), uint16(0), 0)
	f.Add([]byte("{\"type\":\"going_idle_ack\"}\r\n\n"), []byte("[]\n"), uint16(0), 0)
	f.Add([]byte(`{"type":"outbound_result","requestId":"r","result":{"success":true`), []byte("}}\n"), uint16(0), 10)
	f.Add([]byte(`{"type":"descriptor","descriptor":{"label":"`), []byte("\"}}\n{\"type\":\"passthrough_forward\""), uint16(9), 0)
	f.Add([]byte("{\"type\":\"inbound\",\"event\":{\"text\":\"\xff\"},"), []byte("\"bufferId\":1e3}\n"), uint16(0), 0)
	f.Add([]byte(`{"type":"inbound","event":x,"bufferId":"\ud8`), []byte("00\"}\n"), uint16(0), 0)
	f.Add([]byte(`{"bufferId":"b","x":"`), []byte("\"}\n"), uint16(9000), 3000)
	f.Add([]byte(`{"x":"`), []byte("\",\"bufferId\":\"b\"}\n"), uint16(9000), 3000)
	f.Add([]byte(`{"type":"interrupt_inbound","session_key":"`), []byte(`","chat_id":7}`+"\n"), uint16(2000), 1<<20)
	f.Fuzz(func(t *testing.T, head, tail []byte, filler uint16, limit int) {
		is := is.New(t)
		middle := bytes.Repeat([]byte("x"), int(filler)) // lines get long without the fuzzer having to write them
		whole, parts, waiting := relay.Decoder{Limit: limit}, relay.Decoder{Limit: limit}, relay.Decoder{Limit: limit}
		want := whole.Feed(slices.Concat(head, middle, tail))
		got := append(append(parts.Feed(head), parts.Feed(middle)...), parts.Feed(tail)...)
		is.Equal(got, want)
		is.Equal(append(append(waiting.FeedFolded(head), waiting.FeedFolded(middle)...), waiting.FeedFolded(tail)...), want)
		for _, f := range got {
			is.True(len(f.BufferID) <= 1024 && len(f.RequestID) <= 1024)
			switch {
			case f.Fault != "":
			case f.Type == relay.TypeInbound:
				is.True(f.Event != nil)
			case f.Type == relay.TypePassthrough:
				is.True(f.Forward != nil)
			case f.Type == relay.TypeResult:
				is.True(f.Result != nil)
			case f.Type == relay.TypeDescriptor:
				is.True(f.Descriptor != nil)
			default:
				is.True(f.Type == relay.TypeInterruptIn || f.Type == relay.TypeGoingIdleAck)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	line := []byte(`{"type":"inbound","event":{"text":"` + strings.Repeat("lorem ipsum ", 4) + `","message_type":"text",` +
		`"message_id":"1279405817232195665","reply_to_message_id":null,"source":{"platform":"discord",` +
		`"chat_id":"1279405817232195664","chat_type":"group","chat_name":"general","user_id":"301111222233334444",` +
		`"user_name":"Ada","thread_id":null,"chat_topic":null,"scope_id":"900000000000000001",` +
		`"guild_id":"900000000000000001"}},"bufferId":"b-0000000"}` + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	var d relay.Decoder
	for b.Loop() {
		if f := d.Feed(line); f[0].Fault != "" {
			b.Fatal(f[0].Fault)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}
