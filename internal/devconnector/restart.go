package devconnector

import "time"

// Down closes every socket with 4503, and for d also every new one, as when the platform cannot be reached.
func (c *Connector) Down(d time.Duration) {
	c.set("down", func(f *faults) { f.downUntil = time.Now().Add(d) })
	c.everySocket(4503, "the platform is down")
}

// Restart closes every socket with 1001 and forgets what a connector has in its memory alone: who is idle, when it poked last,
// who has shown bad credentials, and which chats have written, so that actions are refused until they write again. Buffers,
// credentials and files stay.
func (c *Connector) Restart() {
	c.set("restart", func(*faults) {})
	c.everySocket(1001, "going away")
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.failures)
	for _, i := range c.order {
		clear(i.chats)
		clear(i.turns)
		i.flipped, i.lastPoke, i.ghostUntil = false, time.Time{}, time.Time{}
	}
}

func (c *Connector) everySocket(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.open {
		s.kick(code, reason)
	}
}

// TakeForIdle has the connector take the gateway for idle, as if it had said going_idle, whether it is connected or not.
func (c *Connector) TakeForIdle(gateway string) error {
	return c.onInstance("take_for_idle", gateway, func(i *instance) { i.flipped = !c.preset().LiveOnly })
}
