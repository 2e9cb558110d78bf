package provision

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// EnrollError is an answer of /relay/enroll that is not 2xx. Its text says what to do.
type EnrollError struct {
	Status  int    // of HTTP
	Message string // the answer's "error" field, printable and at most 200 characters; may be empty
}

func (e *EnrollError) Error() string {
	text := fmt.Sprintf("enroll: the connector answered HTTP %d: ", e.Status)
	switch {
	case e.Status == http.StatusUnauthorized:
		text += "the identity was not verified: check the identity token's issuer, audience, subject and age"
	case e.Status == http.StatusForbidden:
		text += "the enrollment token is invalid, expired, used, or another tenant's: ask the connector's operator for a new one"
	case e.Status == http.StatusNotFound:
		text += "this connector does not enroll: have its operator give you the credentials, and store them yourself"
	case e.Status == http.StatusTooManyRequests || e.Status >= 500:
		text += "try again later"
	case e.Status >= 300 && e.Status < 400:
		text += "an answer without a usable address: check the connector's URL"
	default:
		text += "it refuses the request: check the gateway id"
	}
	if e.Message != "" {
		text += fmt.Sprintf(" (it says: %s)", e.Message)
	}
	return text
}

// Enroll redeems an enrollment token, which is good once, for the credentials of a gateway, to be stored and pinned
// (section 14). Doing so for a gateway that is enrolled already replaces its credentials. A refusal is an *EnrollError.
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
