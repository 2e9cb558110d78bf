package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// exampleConnector answers as a connector that accepts the identity token "it-is-me".
func exampleConnector() *httptest.Server {
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer who-knows" {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"error":"unknown issuer"}`)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		})
	}
	answer("/relay/provision", `{"secret":"s3cret","gatewayId":"gw-1","tenant":"acme"}`)
	answer("/relay/enroll", `{"secret":"pinned","gatewayId":"gw-2","tenant":"acme"}`)
	answer("/relay/policy", `{}`)
	answer("/token", `{"access_token":"it-is-me","expires_in":300}`)
	return httptest.NewServer(mux)
}

// An identity token goes in, the credentials that a dial needs come out.
func Example() {
	ctx := context.Background()
	connector := exampleConnector()
	defer connector.Close()
	client := provision.New(provision.Config{URL: relay.NewBaseURL(connector.URL)})

	var source provision.TokenSource = &provision.ClientCredentials{
		TokenURL: connector.URL + "/token", ClientID: "gw", ClientSecret: relay.NewSecret("client-secret"),
	}
	token, err := source.Token(ctx)
	if err != nil {
		panic(err)
	}
	credentials, err := client.Provision(ctx, token, provision.Request{
		GatewayID: "gw-1",
		Fronts:    []relay.Front{{Platform: "discord", BotID: "42"}},
		WakeURL:   "https://wake.example/some-secret-path",
	})
	fmt.Println(credentials.GatewayID, credentials.Secret, credentials.Tenant, err)
	bearer := relay.UpgradeToken(credentials.GatewayID, credentials.Secret, time.Now(), 5*time.Minute)
	fmt.Println(bearer.Usable()) // for relay.Config.Token, and for Declare
	// Output:
	// gw-1 [redacted] acme <nil>
	// true
}

// The text of a refusal says what to do, and its status lets a program decide.
func ExampleStatusError() {
	connector := exampleConnector()
	defer connector.Close()
	client := provision.New(provision.Config{URL: relay.NewBaseURL(connector.URL)})
	_, err := client.Provision(context.Background(), relay.NewSecret("who-knows"), provision.Request{
		GatewayID: "gw-1", Fronts: []relay.Front{{Platform: "discord", BotID: "42"}},
	})
	fmt.Println(err)
	if refused, ok := errors.AsType[*provision.StatusError](err); ok {
		fmt.Println(refused.Status, refused.Message)
	}
	// Output:
	// provision: the connector answered HTTP 401: the identity token was not accepted: check its issuer, audience, subject and age (it says: unknown issuer)
	// 401 unknown issuer
}

// An operator does this once, and stores what comes out.
func ExampleClient_Enroll() {
	connector := exampleConnector()
	defer connector.Close()
	client := provision.New(provision.Config{URL: relay.NewBaseURL(connector.URL)})
	credentials, err := client.Enroll(context.Background(), relay.NewSecret("it-is-me"), relay.NewSecret("enrollment-token"), "gw-2")
	fmt.Println(credentials.GatewayID, credentials.Secret.Reveal(), err)
	// Output: gw-2 pinned <nil>
}

// Only messages that mention the bot are worth a wake.
func ExampleClient_Declare() {
	connector := exampleConnector()
	defer connector.Close()
	client := provision.New(provision.Config{URL: relay.NewBaseURL(connector.URL)})
	bearer := relay.UpgradeToken("gw-1", relay.NewSecret("s3cret"), time.Now(), 5*time.Minute)
	policy := relay.Policy{Platform: "discord", RequireAddress: true, FreeResponseScopes: []string{"7"}}
	fmt.Println(client.Declare(context.Background(), bearer, []relay.Policy{policy}))
	raw, _ := json.Marshal(policy)
	fmt.Println(string(raw))
	// Output:
	// <nil>
	// {"platform":"discord","requireAddress":true,"freeResponseScopes":["7"],"allowOtherBots":false}
}

// A source of your own: Keep asks it again shortly before the token ends, or when the connector refuses the one in hand.
func ExampleKeep() {
	ctx := context.Background()
	asked := 0
	source := provision.Keep(func(context.Context) (relay.Secret, time.Time, error) {
		asked++
		return relay.NewSecret(fmt.Sprint("token-", asked)), time.Now().Add(time.Hour), nil
	})
	for range 2 {
		token, _ := source.Token(ctx)
		fmt.Println(token.Reveal())
	}
	fmt.Println(source.Refused()) // there may be a better one
	token, _ := source.Token(ctx)
	fmt.Println(token.Reveal())
	// Output:
	// token-1
	// token-1
	// true
	// token-2
}

// A token that has ended is not shown to a connector.
func ExampleStaticToken() {
	token, err := provision.StaticToken(relay.NewSecret("it-is-me")).Token(context.Background())
	fmt.Println(token.Reveal(), err)
	_, err = provision.StaticToken(relay.NewSecret("e30.eyJleHAiOjE3MDAwMDAwMDB9.c2ln")).Token(context.Background())
	fmt.Println(errors.Is(err, provision.ErrAuthUnusable), err)
	// Output:
	// it-is-me <nil>
	// true provision: the identity cannot be used as it is set up: the identity token ended at 2023-11-14T22:13:20Z: put a new one in its place
}
