package devconnector

import (
	"maps"
	"net/http"
	"time"
)

// What a kit for conformance does to gateways, beside the faults of real connectors.

// Behaviour is how the connector behaves now, for Become.
func (c *Connector) Behaviour() Preset { return *c.preset() }

// Descriptor is what a hello for that platform is answered.
func (c *Connector) Descriptor(platform string) map[string]any {
	return maps.Clone(c.preset().descriptor(platform))
}

// Describe has hellos from now on be answered with these members of the descriptor, beside the usual ones. Sockets stay.
func (c *Connector) Describe(members map[string]any) {
	p := *c.preset()
	p.Descriptor = members
	c.behaviour.Store(&p)
	c.set("describe", func(*faults) {})
}

// Resume ends the flip of a gateway as a dial does, whether it is connected or not: what is buffered is sent.
func (c *Connector) Resume(gateway string) error {
	return c.onInstance("resume", gateway, func(i *instance) {
		i.flipped = false
		i.pump()
	})
}

// DelayResults delays every outbound_result by d; 0 ends it.
func (c *Connector) DelayResults(d time.Duration) {
	c.DelayResultsOf("", d)
}

// DelayResultsOf is DelayResults for an op alone.
func (c *Connector) DelayResultsOf(op string, d time.Duration) {
	c.set("delay_results", func(f *faults) { f.delayResults, f.delayOp = d, op })
}

// IgnoreAcks ignores the next n acks, as if they had been lost on the way; 0 ends it.
func (c *Connector) IgnoreAcks(n int) { c.set("ignore_acks", func(f *faults) { f.ignoreAcks = n }) }

// Chop cuts the next n deliveries: each comes in two messages, the first of which also has a blank line and a frame of an
// unknown type.
func (c *Connector) Chop(n int) { c.set("chop", func(f *faults) { f.chop = n }) }

// chopped is a line in two messages.
func chopped(line []byte) [][]byte {
	head := append([]byte("\n{\"type\":\"no_such_frame\"}\n"), line[:len(line)/2]...)
	return [][]byte{head, line[len(line)/2:]}
}

// download notes a request for a file. Detail is the host that was asked, and "bearer" before it if it was shown a token.
func (c *Connector) download(r *http.Request, gateway string, status int) {
	shown := ""
	if r.Header.Get("Authorization") != "" {
		shown = "bearer "
	}
	c.observe(Observation{What: ObsDownload, Gateway: gateway, Status: status, Detail: shown + r.Host})
}
