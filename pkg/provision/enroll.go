package provision

import (
	"context"
	"errors"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Enroll exchanges an enrollment token, which works once, for the credentials of a gateway (section 14). Store them: the
// connector does not give them again. If the gateway is enrolled already, Enroll replaces its credentials. A refusal is an
// *EnrollError.
func (c *Client) Enroll(ctx context.Context, token, enrollment relay.Secret, gatewayID string) (Credentials, error) {
	switch {
	case c.cfg.URL == "":
		return Credentials{}, errors.New("enroll: no connector URL")
	case !token.Usable():
		return Credentials{}, errors.New("enroll: the identity token is empty or blank")
	case !enrollment.Usable():
		return Credentials{}, errors.New("enroll: the enrollment token is empty or blank")
	case gatewayID == "":
		return Credentials{}, errors.New("enroll: no gateway id")
	}
	client := newHTTPClient(c.cfg.NetDial)
	defer client.CloseIdleConnections()
	body := struct {
		EnrollmentToken string `json:"enrollmentToken"`
		GatewayID       string `json:"gatewayId"`
	}{enrollment.Reveal(), gatewayID}
	status, raw, err := c.send(ctx, client, c.cfg.URL.Enroll(), token, body, enrollment)
	if err != nil {
		return Credentials{}, err
	}
	if status < 200 || status > 299 {
		return Credentials{}, &EnrollError{status, sanitize(errorField(raw), token, enrollment)}
	}
	creds, err := decodeAnswer(raw)
	if errors.Is(err, ErrWithheld) {
		return Credentials{}, errors.New("enroll: the connector took the enrollment and gave no secret with it: " +
			"ask its operator for a new enrollment token")
	}
	if err != nil {
		return Credentials{}, err
	}
	if creds.GatewayID == "" {
		creds.GatewayID = gatewayID
	}
	return creds, nil
}
