package relay

import "bytes"

// What tests of the package as its users see it need besides.
var (
	TextLen = textLen
)

// FeedFolded is Feed, of whose frames each delivery has waited as a line.
func (d *Decoder) FeedFolded(chunk []byte) (frames []Frame) {
	d.feed(chunk, func(f *Frame) {
		waited := *f
		if waited.line != nil {
			waited.line = bytes.Clone(f.line)
			waited.Event, waited.Forward = nil, nil
			waited.Delivery = unfold(waited.Delivery)
		}
		frames = append(frames, waited)
	})
	return frames
}
