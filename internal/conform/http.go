package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// reply is what an HTTP route answered.
type reply struct {
	status int
	body   []byte
	kind   string // Content-Type
	object map[string]any
}

// ok says whether the status is 2xx.
func (r reply) ok() bool { return r.status/100 == 2 }

// secret is the one that a provision or an enrollment answered.
func (r reply) secret() relay.Secret { return relay.NewSecret(textOf(r.object, "secret")) }

// missing says whether the route is not there, which is no deviation of a route that a connector may leave out.
func (r reply) missing() bool {
	return r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed
}

func (r reply) String() string {
	if said := textOf(r.object, "error"); said != "" {
		return fmt.Sprintf("HTTP %d: %s", r.status, said)
	}
	return fmt.Sprintf("HTTP %d", r.status)
}

// told is an answer for Result.Frames: an object's members without their values, which may be secrets.
func (r reply) told() string {
	if r.object == nil {
		return fmt.Sprintf("%v, %d bytes", r, len(r.body))
	}
	return fmt.Sprintf("%v {%s}", r, strings.Join(slices.Sorted(maps.Keys(r.object)), ", "))
}

// request is what the kit asks of a route.
type request struct {
	method, path string // path below /relay
	bearer       relay.Secret
	headers      map[string]string
	body         []byte
	patience     time.Duration // zero: Config.Wait
}

// ask sends a request to the connector.
func (t *trial) ask(q request) (reply, error) {
	if q.patience <= 0 {
		q.patience = t.cfg.Wait
	}
	ctx, cancel := context.WithTimeout(t.ctx, q.patience)
	defer cancel()
	base := strings.TrimSuffix(relay.NewBaseURL(t.cfg.URL).Provision(), "/provision")
	req, err := http.NewRequestWithContext(ctx, q.method, base+q.path, bytes.NewReader(q.body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range q.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("User-Agent", "dormouse-conform")
	if q.bearer.Usable() {
		req.Header.Set("Authorization", "Bearer "+q.bearer.Reveal())
	}
	t.trace(">", fmt.Sprintf("%s /relay%s, %d bytes", q.method, q.path, len(q.body)))
	client := &http.Client{Transport: &http.Transport{DialContext: t.cfg.NetDial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("%s /relay%s: %w", q.method, q.path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestFile+1))
	if err != nil {
		return reply{}, fmt.Errorf("%s /relay%s: %w", q.method, q.path, err)
	}
	r := reply{status: resp.StatusCode, body: body, kind: resp.Header.Get("Content-Type")}
	if json.Unmarshal(body, &r.object) != nil {
		r.object = nil
	}
	t.trace("<", r.told())
	return r, nil
}

// askJSON posts an object.
func (t *trial) askJSON(path string, bearer relay.Secret, body map[string]any) (reply, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return reply{}, err
	}
	return t.ask(request{method: http.MethodPost, path: path, bearer: bearer, body: raw, headers: map[string]string{"Content-Type": "application/json"}})
}

// bearer is the kit's gateway's token, for a request.
func (t *trial) bearer() relay.Secret { return relay.NewSecret(t.token()) }

// gateway is one that the kit has provisioned.
type gateway struct {
	id     string
	secret relay.Secret
}

func (g gateway) token() relay.Secret {
	return relay.UpgradeToken(g.id, g.secret, time.Now(), 5*time.Minute)
}

// newID is that of a gateway that no other check uses, nor an earlier run.
func (t *trial) newID() string {
	t.chats++
	return fmt.Sprintf("conform-%s-%x-%d", t.check.ID, time.Now().UnixNano(), t.chats)
}

// provision asks for a gateway's credentials (section 14).
func (t *trial) provision(identity relay.Secret, id, platform string, more map[string]any) (reply, error) {
	body := map[string]any{"gatewayId": id, "platform": platform, "botId": t.cfg.BotID, "gatewayEndpoint": "", "routeKeys": []string{}}
	maps.Copy(body, more)
	r, err := t.askJSON("/provision", identity, body)
	if err == nil && r.missing() {
		t.facts.note("provision", "none")
		err = &skipped{"there is no /relay/provision: credentials are pinned or enrolled"}
	}
	return r, err
}

// fresh provisions a gateway of its own.
func (t *trial) fresh(identity relay.Secret, more map[string]any) (gateway, error) {
	g := gateway{id: t.newID()}
	r, err := t.provision(identity, g.id, t.cfg.Platforms[0], more)
	switch {
	case err != nil:
		return g, err
	case !r.ok():
		return g, fmt.Errorf("provisioning %s: %v", g.id, r)
	case !r.secret().Usable():
		return g, fmt.Errorf("provisioning %s: no secret", g.id)
	}
	if id := textOf(r.object, "gatewayId"); id != "" {
		g.id = id
	}
	g.secret = r.secret()
	return g, nil
}

// seat connects as a gateway.
func (t *trial) seat(g gateway) (*peer, error) {
	p, err := t.dialWith(g.token().Reveal(), "")
	if err != nil {
		return nil, err
	}
	p.hello(t.cfg.Platforms[0])
	_, err = p.expect(relay.TypeDescriptor)
	return p, err
}

// letIn fails unless a gateway can connect.
func (t *trial) letIn(g gateway, when string) error {
	p, err := t.seat(g)
	if err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	p.leave()
	return nil
}
