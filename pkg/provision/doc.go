// Package provision gets the credentials of a gateway: an identity token goes in, the credentials that relay.UpgradeToken
// takes come out. Sections named in comments are those of docs/contract.md.
//
// The short way: make a TokenSource, ask it for the token, and call Client.Provision. Do so when you have no credentials,
// and when a connector refuses those you have (relay.CloseRefused). Provisioning may rotate the secret. So only one process
// at a time may provision a gateway, and it keeps the credentials.
//
//	TokenSource ----- identity token -----> Client.Provision ---> Credentials, kept by you
//	                                        Client.Enroll    ---> Credentials, stored for good; by an operator, once
//	Credentials ----- UpgradeToken -------> relay.Dial
//	            ----- UpgradeToken -------> Client.Declare        which messages the connector passes on
//
// # Where the identity token comes from
//
//   - StaticToken: the token itself.
//   - Stored: a store of secrets, read again when the token ends.
//   - ClientCredentials: an identity provider, by OAuth 2.0 client credentials.
//   - Ambient: an endpoint that gives a token to everyone who can reach it, without id and secret.
//   - awssts.Source, in a package below this one: AWS STS, for the role that the program runs as.
//   - Keep makes one of any function. Anything with a Token method will do.
//
// # Answers and errors
//
// In the order in which a caller of Provision meets them:
//
//   - ErrAuthUnusable, from a TokenSource: it gives no token until somebody changes something. Stop, and say so.
//   - Any other error of a TokenSource: the network, or the provider's answer. Try again later.
//   - Faults of the request, joined: no URL, no token, no gateway id, no front.
//   - *StatusError: the connector answered, and not with 2xx. 401: try another token if the source is an Alternative that
//     has one, else stop. 403, 404, 410: stop, its text says what to change. 429 and 5xx: try again later.
//   - ErrWithheld: the connector knows this gateway and gives no secret. Credentials that you have stay valid.
//   - Anything else: the network, the time limit, a redirect to another origin, or an answer that cannot be read.
//   - No error: Credentials with a usable Secret.
//
// Enroll returns an *EnrollError in place of the *StatusError. Declare joins the errors of all policies.
//
// Every method that takes a context may wait for the network, until its time limit or until the context ends. A TokenSource
// that still has a good token answers at once. Everything may be used from several goroutines, and nothing runs on after a
// call has returned. The package reads no environment and stores nothing. No error and no log line holds a token or a
// secret, whatever the other side answers.
package provision
