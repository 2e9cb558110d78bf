package devconnector

import (
	"encoding/json"
	"net/http"
	"time"
)

const maxBody = 1 << 20 // of a provision, enroll, policy or control request

// decodeBody reads a JSON object. If the body is none, it answers 400 and returns false.
func decodeBody(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "the body is not the JSON object that this route takes")
		return false
	}
	return true
}

// issued is the answer to a provision or an enroll (section 14).
type issued struct {
	SecretIssued *bool    `json:"secretIssued,omitempty"`
	Secret       string   `json:"secret,omitempty"`
	DeliveryKey  string   `json:"deliveryKey,omitempty"`
	Tenant       string   `json:"tenant"`
	GatewayID    string   `json:"gatewayId"`
	RouteKeys    []string `json:"routeKeys"`
}

func (c *Connector) serveProvision(w http.ResponseWriter, r *http.Request) {
	tenant, status, fault := c.identify(r.Context(), r)
	if fault != "" {
		c.refuseProvision(w, Provision{}, status, fault)
		return
	}
	var body struct {
		GatewayID       string   `json:"gatewayId"`
		Platform        string   `json:"platform"`
		BotID           string   `json:"botId"`
		GatewayEndpoint string   `json:"gatewayEndpoint"`
		RouteKeys       []string `json:"routeKeys"`
		InstanceID      string   `json:"instanceId"`
		WakeURL         string   `json:"wakeUrl"`
		DisplayName     string   `json:"displayName"`
	}
	if !decodeBody(w, r, &body) {
		return
	}
	record := Provision{
		Gateway: body.GatewayID, Platform: body.Platform, BotID: body.BotID, Instance: body.InstanceID,
		WakeHost: host(body.WakeURL), DisplayName: body.DisplayName, RouteKeys: body.RouteKeys,
	}
	if body.GatewayID == "" || body.Platform == "" {
		c.refuseProvision(w, record, http.StatusBadRequest, "gatewayId and platform are required")
		return
	}
	out, status, fault := c.provision(tenant, body.WakeURL, record)
	if fault != "" {
		c.refuseProvision(w, record, status, fault)
		return
	}
	answer(w, status, out)
}

func (c *Connector) refuseProvision(w http.ResponseWriter, record Provision, status int, fault string) {
	c.mu.Lock()
	record.Status = status
	c.recordProvision(record, fault)
	c.mu.Unlock()
	fail(w, status, fault)
}

// foreign says why a tenant may not provision this gateway and instance; "" if it may. Call with c.mu held.
func (c *Connector) foreign(tenant string, record Provision) (fault string) {
	if gw := c.gateways[record.Gateway]; gw != nil {
		switch {
		case gw.tenant != "" && gw.tenant != tenant:
			return "this gatewayId belongs to another tenant"
		case gw.inst.revoked:
			return "this gateway is revoked"
		}
	}
	if inst := c.instances[record.Instance]; record.Instance != "" && inst != nil {
		switch {
		case inst.tenant != "" && inst.tenant != tenant:
			return "this instanceId belongs to another tenant"
		case inst.revoked:
			return "this instance is revoked"
		}
	}
	return ""
}

func (c *Connector) provision(tenant, wakeURL string, record Provision) (out issued, status int, fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fault := c.foreign(tenant, record); fault != "" {
		return out, http.StatusForbidden, fault
	}
	gw := c.gateway(record.Gateway)
	if record.Instance != "" {
		c.join(gw, record.Instance)
	}
	gw.tenant, gw.inst.tenant = tenant, tenant
	if wakeURL != "" {
		gw.inst.wakeURL = wakeURL
	}
	if gw.platform == "" {
		gw.platform = record.Platform
	}

	mode := c.preset().Provision
	known := len(gw.secrets) > 0
	withhold := mode == ProvisionFirst && gw.platform != record.Platform ||
		known && (mode == ProvisionWithhold || c.faults.withholdSecret)
	out = issued{Tenant: tenant, GatewayID: gw.id, RouteKeys: record.RouteKeys}
	if out.RouteKeys == nil {
		out.RouteKeys = []string{}
	}
	if !withhold {
		out.Secret = gw.rotate(time.Now(), c.preset().RotationWindow).Reveal()
		out.DeliveryKey = randomHex(32)
	}
	if issued := !withhold; mode != ProvisionIssue || withhold {
		out.SecretIssued = &issued
	}
	record.Issued, record.Status = !withhold, http.StatusOK
	c.recordProvision(record, "")
	return out, http.StatusOK, ""
}

func (c *Connector) serveEnroll(w http.ResponseWriter, r *http.Request) {
	tenant, status, fault := c.identify(r.Context(), r)
	if fault != "" {
		fail(w, status, fault)
		return
	}
	var body struct {
		EnrollmentToken string `json:"enrollmentToken"`
		GatewayID       string `json:"gatewayId"`
	}
	if !decodeBody(w, r, &body) {
		return
	}
	out, status, fault := c.enroll(tenant, body.EnrollmentToken, body.GatewayID)
	if fault != "" {
		fail(w, status, fault)
		return
	}
	answer(w, status, out)
}

func (c *Connector) enroll(tenant, token, id string) (out issued, status int, fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	owner, known := c.enrollments[token]
	gw := c.gateways[id]
	switch {
	case id == "":
		return out, http.StatusBadRequest, "gatewayId is required"
	case !known || owner != tenant, gw != nil && gw.tenant != "" && gw.tenant != tenant:
		return out, http.StatusForbidden, "the enrollment token is invalid, used, or another tenant's"
	}
	delete(c.enrollments, token)
	gw = c.gateway(id)
	gw.tenant, gw.inst.tenant = tenant, tenant
	gw.inst.revoked = false
	secret := gw.rotate(time.Now(), c.preset().RotationWindow)
	c.observe(Observation{What: ObsEnroll, Gateway: id, Status: http.StatusOK})
	return issued{Secret: secret.Reveal(), DeliveryKey: randomHex(32), Tenant: tenant, GatewayID: id,
		RouteKeys: []string{}}, http.StatusOK, ""
}

func (c *Connector) servePolicy(w http.ResponseWriter, r *http.Request) {
	id, _, ok := c.authorized(w, r)
	if !ok {
		return
	}
	var policy Policy
	if !decodeBody(w, r, &policy) {
		return
	}
	c.mu.Lock()
	policy.At, policy.Gateway = time.Now(), id
	c.policies = append(c.policies, policy)
	c.observe(Observation{What: ObsPolicy, Gateway: id, Platform: policy.Platform})
	c.mu.Unlock()
	answer(w, http.StatusOK, map[string]bool{"ok": true})
}

// authorized finds the gateway behind a request's upgrade token. If there is none, it answers 401.
func (c *Connector) authorized(w http.ResponseWriter, r *http.Request) (id, tenant string, ok bool) {
	c.mu.Lock()
	gw, fault := c.authenticate(r)
	if gw != nil {
		id, tenant = gw.id, gw.tenant
	}
	c.mu.Unlock()
	if gw == nil {
		fail(w, http.StatusUnauthorized, fault)
	}
	return id, tenant, gw != nil
}
