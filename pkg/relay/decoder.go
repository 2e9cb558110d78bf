package relay

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

const (
	defaultSizeLimit = 4 << 20
	maxID            = 1 << 10  // bytes; a longer id is no id
	maxDescriptor    = 64 << 10 // bytes of a descriptor, which stays in memory
	edge             = 4 << 10  // of an overlong line, this much of each end is searched for its bufferId
	keptBuffer       = 64 << 10 // a larger buffer is freed after the line that needed it
	mostLooks        = 16       // at an unfinished line, whether it is a whole frame
)

// What can be wrong with a frame: the values of Fault.
const (
	faultJSON      = "broken JSON"
	faultUTF8      = "broken UTF-8"
	faultNotObject = "not a JSON object"
	faultType      = "unknown type"
	faultField     = "field missing or of a wrong type"
	faultEvent     = "unusable event"
	faultForward   = "unusable forward"
	faultLongID    = "id over 1 KiB"
	faultTooLarge  = "too large"
)

// Frame is one frame from the connector (section 5). Type says which of its fields are set.
type Frame struct {
	Type string // one of the Type constants; an unknown one as it came if it is short

	// Delivery is set for inbound, passthrough_forward and interrupt_inbound, without ReceivedAt. Its Fault says of every
	// frame why it is unusable, "" if it is usable. An unusable frame whose BufferID can be found is of KindUnusable; one
	// without is no delivery, and has no Kind.
	Delivery

	Descriptor *Descriptor // descriptor
	RequestID  string      // outbound_result
	Result     *Result     // outbound_result
}

// Decoder reads frames, one a line, from a stream that comes in chunks (section 3). However the stream is cut, the
// frames are the same. The zero Decoder is ready for use.
type Decoder struct {
	Limit int // longest line in bytes, default 4 MiB; a longer one is read without being held and gives a Fault

	held  []byte // the unfinished line; once it is cut, only its two edges
	n     int    // bytes of the unfinished line, held or not
	cut   bool   // held has the two edges only
	looks int    // how often it has been looked at for a whole frame
	frame Frame  // the one that is being decoded: a new one each time would be garbage each time
}

// Feed takes the next chunk and returns the frames that it completes, nil if there are none. It keeps no part of chunk.
func (d *Decoder) Feed(chunk []byte) []Frame {
	var frames []Frame
	d.feed(chunk, func(f *Frame) {
		f.line = nil
		frames = append(frames, *f)
	})
	return frames
}

// feed is Feed for a caller that wants no slice. use must not keep its argument, which is overwritten by the next frame, nor its
// line, which is a part of chunk or of the buffer. A frame with a fault has no line.
func (d *Decoder) feed(chunk []byte, use func(*Frame)) {
	for {
		end := bytes.IndexByte(chunk, '\n')
		if end < 0 {
			d.hold(chunk)
			return
		}
		line := chunk[:end]
		chunk = chunk[end+1:]
		var blank bool
		switch {
		case d.n == 0 && len(line) <= d.limit():
			blank = d.frame.decodeLine(line)
		default:
			d.hold(line)
			line = d.held
			blank = d.decodeHeld(&d.frame)
		}
		if !blank {
			d.frame.setKind()
			if d.frame.Fault == "" {
				d.frame.line = line
			}
			use(&d.frame)
			d.frame = Frame{} // nothing of it stays in memory
		}
	}
}

// endMessage is for the end of a message. If the unfinished line is a whole object by now, it is a frame whose writer has
// forgotten the line feed: nothing that could follow would make another frame of it.
func (d *Decoder) endMessage(use func(*Frame)) {
	line := bytes.TrimRight(d.held, " \t\r")
	if d.n > d.limit() || d.looks == mostLooks || !bytes.HasSuffix(line, []byte("}")) {
		return
	}
	d.looks++
	if _, whole := parse(unmarked(line)); whole {
		d.feed([]byte("\n"), use)
	}
}

func (d *Decoder) limit() int {
	if d.Limit > 0 {
		return d.Limit
	}
	return defaultSizeLimit
}

// hold adds part to the unfinished line. Of a line over the limit it keeps only the two edges.
func (d *Decoder) hold(part []byte) {
	d.n += len(part)
	if d.n <= d.limit() {
		d.held = append(d.held, part...)
		return
	}
	for piece := range slices.Chunk(part, edge) {
		d.held = append(d.held, piece...)
		switch {
		case len(d.held) <= 2*edge:
		case !d.cut:
			d.cut = true
			d.held = slices.Concat(d.held[:edge], d.held[len(d.held)-edge:])
		default:
			copy(d.held[edge:], d.held[len(d.held)-edge:])
			d.held = d.held[:2*edge]
		}
	}
}

// decodeHeld decodes the line that hold has collected, and empties the buffer for the next.
func (d *Decoder) decodeHeld(f *Frame) (blank bool) {
	switch {
	case d.cut:
		f.Fault, f.BufferID = faultTooLarge, findBufferID(d.held[:edge], d.held[edge:])
	case d.n > d.limit():
		f.Fault, f.BufferID = faultTooLarge, findBufferID(d.held, d.held)
	default:
		blank = f.decodeLine(d.held)
	}
	d.held, d.n, d.cut, d.looks = d.held[:0], 0, false, 0
	if cap(d.held) > keptBuffer {
		d.held = nil
	}
	return blank
}

// unmarked is a line without the byte order marks before it: some writers put one before whatever they write.
func unmarked(line []byte) []byte {
	if len(line) > 0 && line[0] == '{' {
		return line
	}
	return bytes.TrimLeft(line, " \t\r\uFEFF")
}

// decodeLine decodes a whole line into an empty frame; blank says that there is nothing in it.
func (f *Frame) decodeLine(line []byte) (blank bool) {
	if len(line) == 0 || line[len(line)-1] <= ' ' { // most lines end with a bracket
		line = bytes.TrimRight(line, " \t\r")
	}
	line = unmarked(line)
	if len(line) == 0 {
		return true
	}
	in := scanner{json: line}
	if in.peek() == '{' {
		f.decodeFrame(&in)
	} else {
		in.skip()
		f.Fault = faultNotObject
	}
	broken := !in.ended()
	if broken {
		*f = Frame{Delivery: Delivery{Fault: faultJSON, BufferID: findBufferID(line, line)}}
	}
	if (broken || in.wide) && !utf8.Valid(line) {
		f.Fault = faultUTF8 // some of what was read is not what the connector meant
	}
	f.size = len(line)
	return false
}

// decodeFrame decodes a line that is an object. Which type of frame it is may come last, so what only one type has is looked at
// behind the rest; an event, which is most of its frame, is not read twice.
func (f *Frame) decodeFrame(in *scanner) {
	var kind, bufferID, requestID, sessionKey, chatID, forward, descriptor, result value
	event := inboundEvent{err: errEventNotObject}
	for name := range in.members() {
		switch string(name) {
		case "type":
			kind = in.value()
		case "bufferId":
			bufferID = in.value()
		case "requestId":
			requestID = in.value()
		case "session_key":
			sessionKey = in.value()
		case "chat_id":
			chatID = in.value()
		case "event":
			event.decode(in)
		case "forward":
			forward = in.value()
		case "descriptor":
			descriptor = in.value()
		case "result":
			result = in.value()
		}
	}
	f.Type = frameType(kind)
	f.BufferID = f.id(bufferID)
	switch f.Type {
	case TypeInbound:
		f.takeEvent(event)
	case TypePassthrough:
		f.Forward = new(Forward)
		if !forward.isObject() || f.Forward.UnmarshalJSON(forward) != nil {
			f.blame(faultForward)
		}
	case TypeResult:
		f.RequestID = f.id(requestID)
		f.Result = new(decodeResult(result)) // a missing or odd one is a failure
	case TypeInterruptIn:
		f.SessionKey, f.ChatID = f.id(sessionKey), f.id(chatID)
	case TypeDescriptor:
		f.Descriptor = new(decodeDescriptor(descriptor)) // a missing or odd one has the defaults
		switch {
		case len(descriptor) > maxDescriptor:
			f.blame(faultTooLarge)
		case len(f.Descriptor.Platform) > maxID:
			f.blame(faultLongID)
		}
	case TypeGoingIdleAck:
	default:
		f.blame(faultType)
		if len(f.Type) > 64 {
			f.Type = ""
		}
	}
}

var frameTypes = names(TypeInbound, TypeResult, TypePassthrough, TypeInterruptIn, TypeDescriptor, TypeGoingIdleAck)

func frameType(v value) string {
	if v.isString() {
		if known := v.name(frameTypes); known != "" {
			return known
		}
	}
	return v.text()
}

// setKind says which kind of delivery the frame is, if it is one.
func (f *Frame) setKind() {
	switch {
	case f.Fault != "":
		f.Delivery = Delivery{BufferID: f.BufferID, Fault: f.Fault, size: f.size}
		if f.BufferID != "" {
			f.Kind = KindUnusable
		}
	case f.Type == TypeInbound:
		f.Kind = KindInbound
	case f.Type == TypePassthrough:
		f.Kind = KindPassthrough
	case f.Type == TypeInterruptIn:
		f.Kind = KindInterrupt
	}
}

// blame sets the fault, unless there is one already.
func (f *Frame) blame(fault string) {
	if f.Fault == "" {
		f.Fault = fault
	}
}

// id reads an opaque id: a string as it is, a number as its decimal text. Missing and null are the empty id.
func (f *Frame) id(v value) string {
	switch {
	case len(v) == 0 || v.isNull():
		return ""
	case !v.isString() && !v.isNumber():
		f.blame(faultField)
		return ""
	}
	id := v.text()
	if len(id) > maxID {
		f.blame(faultLongID)
		return ""
	}
	if !utf8.Valid(v) {
		return "" // an ack could not echo it
	}
	return id
}

// inboundEvent is the event of an inbound frame as it was scanned.
type inboundEvent struct {
	*Event
	size int // bytes
	err  error
}

func (e *inboundEvent) decode(in *scanner) {
	start := in.at
	e.Event, e.err = decodeEvent(in)
	e.size = in.at - start
}

// takeEvent takes the event of an inbound frame, and checks the length of its ids.
func (f *Frame) takeEvent(e inboundEvent) {
	if e.err != nil {
		f.blame(faultEvent)
		return
	}
	f.Event = e.Event
	if e.size <= maxID {
		return
	}
	s := &e.Source
	ids := []string{
		e.MessageID, e.ReplyToMessageID, s.Platform, s.ChatID, s.UserID, s.ThreadID, s.UserIDAlt, s.ChatIDAlt, s.ScopeID,
		s.ParentChatID, s.MessageID, s.Profile, s.ProspectiveThreadID,
	}
	if p := e.PromptResponse; p != nil {
		ids = append(ids, p.PromptID, p.OptionID, p.PromptMessageID)
	}
	if slices.ContainsFunc(ids, func(id string) bool { return len(id) > maxID }) {
		f.blame(faultLongID)
	}
}
