package provision

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrAuthUnusable means that a TokenSource gives no token until somebody changes something. Do not try again.
var ErrAuthUnusable = errors.New("provision: the identity cannot be used as it is set up")

// StatusError is an answer of /relay/provision that is not 2xx. Its text says what to do.
type StatusError struct {
	Status  int    // the HTTP status
	Message string // the answer's "error" field, printable and at most 200 characters; may be empty
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("provision: the connector answered HTTP %d: %s", e.Status, advice(e.Status))
	if e.Message != "" {
		text += fmt.Sprintf(" (it says: %s)", e.Message)
	}
	return text
}

func advice(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "the identity token was not accepted: check its issuer, audience, subject and age"
	case status == http.StatusForbidden:
		return "this identity may not have this gateway id: check whose it is, or choose another id"
	case status == http.StatusNotFound:
		return "this connector does not provision: enroll or pin the credentials"
	case status == http.StatusGone:
		return "this gateway was removed there: have its operator enable it again, or choose another id"
	case status == http.StatusTooManyRequests || status >= 500:
		return "try again later"
	case status >= 300 && status < 400:
		return "an answer without a usable address: check the connector's URL"
	default:
		return "it refuses the request: check the gateway id, platforms and bot ids"
	}
}

// ErrWithheld means that the connector knows the gateway id already, so it gave no secret (section 14, secretIssued).
// Credentials that you have stay valid. If you have none, enroll and pin what you get.
var ErrWithheld = errors.New("provision: the connector knows this gateway id and withholds its secret: " +
	"credentials in hand stay good; with none, enroll and pin the credentials")

// EnrollError is an answer of /relay/enroll that is not 2xx. Its text says what to do.
type EnrollError struct {
	Status  int    // the HTTP status
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
