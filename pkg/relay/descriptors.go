package relay

import (
	"context"
	"slices"
	"time"
)

// Descriptor returns the platform's descriptor, or the session default if it has none: the first that came (section 4).
func (c *Conn) Descriptor(platform string) Descriptor {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.descriptors[platform]; ok {
		return d
	}
	return c.session
}

// descriptorWait is how long WaitDescriptors waits after the first descriptor: connectors send them all together, or not
// at all.
const descriptorWait = time.Second

// WaitDescriptors waits until every hello has its descriptor, at most one second after the first came. Before that,
// Descriptor may return the session default for a platform that is about to get its own.
func (c *Conn) WaitDescriptors(ctx context.Context) {
	select {
	case <-c.complete:
		return
	default:
	}
	c.mu.Lock()
	late := time.NewTimer(time.Until(c.readyAt.Add(descriptorWait)))
	c.mu.Unlock()
	defer late.Stop()
	select {
	case <-c.complete:
	case <-late.C:
	case <-c.done:
	case <-ctx.Done():
	}
}

// mostPlatforms is how many platforms have a descriptor of their own, beside those that are fronted: what is kept of a connector's
// words is bounded.
const mostPlatforms = 64

// describe takes a descriptor. The reader calls it.
func (c *Conn) describe(d Descriptor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ready:
	default:
		c.session, c.readyAt = d, time.Now()
		close(c.ready)
	}
	if c.described++; c.described == len(c.cfg.Fronts) {
		close(c.complete)
	}
	_, known := c.descriptors[d.Platform]
	fronted := slices.ContainsFunc(c.cfg.Fronts, func(f Front) bool { return f.Platform == d.Platform })
	if d.Platform != "" && (known || fronted || len(c.descriptors) < mostPlatforms) {
		c.descriptors[d.Platform] = d
	}
}
