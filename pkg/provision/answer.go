package provision

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// decodeAnswer reads a 2xx answer (section 14). An answer with a secret gives credentials. An answer without one means that
// the connector withholds the secret only if its secretIssued is the literal false. The reference decides the same.
func decodeAnswer(raw []byte) (Credentials, error) {
	if len(raw) > maxAnswer {
		return Credentials{}, fmt.Errorf("provision: the connector's answer is over %d bytes: "+
			"check that the URL is a connector's", maxAnswer)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return Credentials{}, errors.New("provision: the connector's answer is not a JSON object: " +
			"check that the URL is a connector's")
	}
	secret := relay.NewSecret(text(fields["secret"]))
	if secret.Usable() {
		return Credentials{
			GatewayID:   text(fields["gatewayId"]),
			Secret:      secret,
			DeliveryKey: relay.NewSecret(text(fields["deliveryKey"])),
			Tenant:      text(fields["tenant"]),
		}, nil
	}
	if string(fields["secretIssued"]) == "false" {
		return Credentials{}, ErrWithheld
	}
	return Credentials{}, errors.New("provision: the connector's answer has neither a secret nor secretIssued false: " +
		"enroll and pin the credentials if this connector keeps them")
}

// errorField is the "error" of an answer, or "" if there is none or it is no string.
func errorField(raw []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return ""
	}
	return text(fields["error"])
}

// text is a JSON string's value, or "" for any other JSON.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
