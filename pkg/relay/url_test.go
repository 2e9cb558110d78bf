package relay_test

import (
	"testing"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestAddressesDeriveFromTheBaseURL(t *testing.T) {
	type addresses struct {
		In        string
		RelayURL  loose `json:"relay_url"`
		Dial      loose
		Provision loose
		Policy    loose
		Media     loose
		Enroll    loose
	}
	note := func(c addresses) string { return c.In }
	eachVector(t, vectors[addresses](t, "dial_urls"), note, nil, func(c addresses) string {
		u := relay.NewBaseURL(c.In)
		got := addresses{
			In: c.In, RelayURL: loose(u), Dial: loose(u.RelayURL()), Provision: loose(u.Provision()),
			Policy: loose(u.Policy()), Media: loose(u.Media()), Enroll: loose(u.Enroll()),
		}
		again := relay.BaseURL(u.RelayURL()).RelayURL()
		return unlike("addresses", got, c) + unlike("dialling the dial address", again, u.RelayURL())
	})
}
