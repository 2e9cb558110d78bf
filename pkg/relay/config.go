package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
)

// DialFunc opens the connection to a host. For a wss or https URL the connection that it returns has done its TLS.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Config is what Dial needs. URL and Fronts are required; a zero duration or size means its default.
type Config struct {
	URL              string        // ws or wss, path ending in /relay (section 1)
	Token            Secret        // upgrade bearer, minted for this dial; blank dials without one
	Fronts           []Front       // what this gateway serves; one hello each, in this order
	Commands         Commands      // what Discord's hello asks the connector to register; zero: nothing
	UserAgent        string        // default "dormouse"
	HandshakeTimeout time.Duration // upgrade, hello and first descriptor together; default 30 s
	PingInterval     time.Duration // default 30 s
	PongTimeout      time.Duration // default 60 s
	OutboundTimeout  time.Duration // wait for an outbound_result; default 75 s
	SizeLimit        int           // largest frame in bytes; default 4 MiB
	NetDial          DialFunc      // nil means a net.Dialer, with TLS for wss
	Log              *slog.Logger  // nil discards

	// Arrived, if not nil, is told of each delivery as it comes, before Receive returns it: for what is not to wait behind
	// others. It must return at once, and call no method of the Conn.
	Arrived func(Delivery)

	// Unclaimed, if not nil, is told of each result that no Do waits for, as those of what was posted. It must return at once,
	// and call no method of the Conn.
	Unclaimed func(requestID string, result Result)

	// Interrupted, if not nil, is told of each interrupt as it comes, and Receive returns none. It must do as Arrived does.
	Interrupted func(Delivery)

	QueueEntries int // deliveries that may wait unreceived; default 16,384, of which most wait as they came on the wire
	QueueBytes   int // and their bytes on the wire; default 16 MiB
}

// withDefaults returns cfg with its defaults filled in, or all its faults.
func (cfg Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("relay: "+format, args...)) }
	switch u, err := url.Parse(cfg.URL); {
	case err != nil:
		fault("URL cannot be parsed; want ws://host/relay or wss://host/relay")
	case u.Scheme != "ws" && u.Scheme != "wss":
		fault("URL has scheme %q; want ws or wss", u.Scheme)
	case u.Host == "" || u.User != nil:
		fault("URL has no host, or has a user in it; want ws://host/relay or wss://host/relay")
	}
	if len(cfg.Fronts) == 0 {
		fault("no Fronts; want at least one")
	}
	for i, front := range cfg.Fronts {
		if front.Platform == "" {
			fault("Fronts[%d] has no platform", i)
		}
	}
	durations := []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"HandshakeTimeout", &cfg.HandshakeTimeout, 30 * time.Second},
		{"PingInterval", &cfg.PingInterval, 30 * time.Second},
		{"PongTimeout", &cfg.PongTimeout, 60 * time.Second},
		{"OutboundTimeout", &cfg.OutboundTimeout, 75 * time.Second},
	}
	for _, d := range durations {
		if *d.value < 0 {
			fault("%s is %v; want a positive duration, or 0 for %v", d.name, *d.value, d.standard)
		}
		*d.value = cmp.Or(*d.value, d.standard)
	}
	if cfg.SizeLimit < 0 {
		fault("SizeLimit is %d; want a positive number of bytes, or 0 for %d", cfg.SizeLimit, defaultSizeLimit)
	}
	if cfg.QueueEntries < 0 || cfg.QueueBytes < 0 {
		fault("QueueEntries is %d and QueueBytes is %d; want positive numbers, or 0 for 16,384 and 16 MiB", cfg.QueueEntries, cfg.QueueBytes)
	}
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "dormouse")
	cfg.QueueEntries = cmp.Or(cfg.QueueEntries, 16<<10)
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, 16<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg, errors.Join(faults...)
}

// redact removes our token from what the connector says: it may quote the token, and its words are logged.
func (cfg Config) redact(text string) string {
	if !cfg.Token.Usable() {
		return text
	}
	return strings.ReplaceAll(text, cfg.Token.Reveal(), redacted)
}
