package relay

import "time"

// Kind says what a Delivery is.
type Kind int

const (
	KindInbound     Kind = iota + 1 // Event (section 6)
	KindPassthrough                 // Forward (section 9)
	KindInterrupt                   // SessionKey and ChatID (section 5); overtakes the others
	KindUnusable                    // a buffered frame that cannot be used: Fault says why; to be acked and set aside
)

// Delivery is something that the connector handed over. As JSON it is what is worth keeping of a message: the event or
// the forward, the buffer id and the time. A Delivery that was read from JSON has no Kind.
type Delivery struct {
	Kind       Kind      `json:"-"`
	Event      *Event    `json:"event"`
	Forward    *Forward  `json:"forward,omitempty"`
	BufferID   string    `json:"buffer_id,omitempty"` // opaque; empty on live delivery, which is not acked
	ReceivedAt time.Time `json:"received_at"`
	SessionKey string    `json:"-"`
	ChatID     string    `json:"-"`
	Fault      string    `json:"-"` // short, without the frame's content

	size int    // bytes on the wire
	line []byte // the frame as it came, if it waits as that
}

// Size is how many bytes the delivery had on the wire; 0 if it did not come over one.
func (d Delivery) Size() int { return d.size }
