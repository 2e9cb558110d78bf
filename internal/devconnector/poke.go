package devconnector

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const pokeTimeout = 10 * time.Second

// considerPoke decides whether an event that was just buffered makes the connector poke (sections 12 and 19). first means
// that the buffer was empty before it.
func (i *instance) considerPoke(first bool) {
	p := i.c.preset()
	if p.Poke == PokeWaiting {
		i.pokeWhileWaiting()
		return
	}
	if p.Poke == PokeNone || p.Poke == PokeFirst && !first {
		return
	}
	connected := i.seated()
	if connected && !i.flipped {
		return // a drain is connected
	}
	way := i.c.faults.takePokeLoss()
	switch {
	case i.ghost():
		i.losePoke("ghost")
	case connected && !p.PokeWhileConnected, way == LostInFlip:
		i.losePoke(string(LostInFlip))
	case way == LostInCooldown, !i.lastPoke.IsZero() && time.Since(i.lastPoke) < p.PokeCooldown:
		i.losePoke(string(LostInCooldown))
		if p.PokeAfterCooldown {
			i.c.later(p.PokeCooldown-time.Since(i.lastPoke), i.pokeForWaiting)
		}
	default:
		i.poke(way == LostByFailure)
	}
}

func (i *instance) losePoke(why string) {
	i.observe(Observation{What: ObsPokeLost, Detail: why})
}

// pokeWhileWaiting pokes if something waits and nobody is connected, and looks again after PokeEvery.
func (i *instance) pokeWhileWaiting() {
	if i.pokeAgain || i.seated() || len(i.byID) == 0 || i.wakeURL == "" {
		return
	}
	if way := i.c.faults.takePokeLoss(); way == LostInCooldown || way == LostInFlip {
		i.losePoke(string(way))
	} else {
		i.poke(way == LostByFailure)
	}
	i.repeatPoke(i.pokeWhileWaiting)
}

func (i *instance) repeatPoke(again func()) {
	i.pokeAgain = true
	i.c.later(i.c.preset().PokeEvery, func() {
		i.pokeAgain = false
		again()
	})
}

// poke requests the wake URL. A poke that a fault loses is not sent, and counts as answered 500.
func (i *instance) poke(lost bool) {
	c := i.c
	if i.wakeURL == "" || c.closed {
		i.losePoke("no wake URL")
		return
	}
	i.lastPoke = time.Now()
	target := i.wakeURL
	req := pokeRequest{url: target, secret: i.newestSecret()}
	at := len(c.pokes)
	c.pokes = append(c.pokes, Poke{At: i.lastPoke, Instance: i.id, Host: host(target)})
	i.observe(Observation{What: ObsPoke, Detail: host(target)})
	c.wg.Go(func() {
		status, err := http.StatusInternalServerError, error(nil)
		if !lost {
			ctx, cancel := context.WithTimeout(c.ctx, pokeTimeout)
			defer cancel()
			if c.cfg.Poke != nil {
				status, err = c.cfg.Poke(ctx, target)
			} else {
				status, err = c.httpPoke(ctx, req)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		i.poked(at, status, err)
	})
}

func (i *instance) poked(at, status int, err error) {
	c := i.c
	o := Observation{What: ObsPoked, Status: status}
	if err != nil {
		o.Status, o.Detail = 0, "no answer" // the error's text holds the URL
	}
	c.pokes[at].Status, c.pokes[at].Failed = o.Status, err != nil
	i.observe(o)
	if ok := err == nil && status/100 == 2; ok || !c.preset().PokeHeedsAnswer || i.pokeAgain {
		return
	}
	i.repeatPoke(i.pokeForWaiting)
}

// pokeForWaiting pokes if something waits and nobody is connected.
func (i *instance) pokeForWaiting() {
	if len(i.byID) > 0 && !i.seated() {
		i.poke(false)
	}
}

type pokeRequest struct {
	url    string
	secret relay.Secret
}

// newestSecret is what pokes are signed with, if the preset signs them.
func (i *instance) newestSecret() relay.Secret {
	for _, id := range i.gateways {
		if secrets := i.c.gateways[id].secrets; len(secrets) > 0 {
			return secrets[len(secrets)-1].value
		}
	}
	return relay.Secret{}
}

func (c *Connector) httpPoke(ctx context.Context, poke pokeRequest) (int, error) {
	p := c.preset()
	req, err := http.NewRequestWithContext(ctx, p.PokeMethod, poke.url, nil)
	if err != nil {
		return 0, fmt.Errorf("devconnector: poke: %w", err)
	}
	if p.PokeUserAgent != "" {
		req.Header.Set("User-Agent", p.PokeUserAgent)
	}
	if p.PokeSigned {
		mac := hmac.New(sha256.New, []byte(poke.secret.Reveal()))
		mac.Write([]byte(poke.url))
		req.Header.Set("X-Relay-Signature", hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("devconnector: poke: %w", err)
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// host leaves out a wake URL's path, which is a capability.
func host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
