package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/devissuer"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const clientSecretVariable = "DORMOUSE_ISSUER_CLIENT_SECRET"

func issuerCommand() *cli.Command {
	return &cli.Command{
		Name:     "issuer",
		Category: categoryDevelop,
		Metadata: example("dormouse issuer --audience http://127.0.0.1:8787"),
		Usage:    "run an issuer of identity tokens for development, which also stands in for AWS STS",
		Description: `It has OpenID discovery, keys of its own, made at the start, and real signatures, so that a connector verifies
its tokens as it would those of an identity provider or of an AWS account. A gateway gets one by the
client-credentials grant, by a plain GET, or, with identity aws, by GetWebIdentityToken: AWS_ENDPOINT_URL_STS
leads it here. AWS's signature of that request is not looked at, and the plain GET gives a token to whoever can
reach this: it proves nothing about anybody, and is for development.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8789", Usage: "`ADDRESS` for gateways and connectors"},
			&cli.StringFlag{Name: "url", DefaultText: "the address", Usage: "`URL` that it names itself in its tokens, under which connectors find its keys"},
			&cli.StringFlag{Name: "subject", Value: "dormouse", Usage: "`SUBJECT` of its tokens; with AWS it is the ARN of drain's role"},
			&cli.StringFlag{Name: "audience", Value: "http://127.0.0.1:8787", Usage: "`AUDIENCE` of its tokens; with identity aws the gateway names it"},
			&cli.StringFlag{Name: "client-id", Value: "dormouse", Usage: "`ID` for the client-credentials grant"},
			&cli.StringFlag{Name: "client-secret-file", DefaultText: "dev is the secret",
				Usage: "`FILE` with its secret; else $" + clientSecretVariable + " holds it"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			secret, err := secretFrom("--client-secret-file", cmd.String("client-secret-file"), clientSecretVariable)
			if err != nil {
				return err
			}
			if !secret.Usable() {
				secret = relay.NewSecret(defaultIdentity)
			}
			listener, err := net.Listen("tcp", cmd.String("listen"))
			if err != nil {
				return fmt.Errorf("listening: %w: choose another address with --listen", err)
			}
			defer listener.Close()
			url := strings.TrimRight(cmd.String("url"), "/")
			if url == "" {
				url = rig.LocalURL(listener)
			}
			issuer, err := devissuer.New(url)
			if err != nil {
				return err
			}
			issuer.Subject, issuer.Audience = cmd.String("subject"), cmd.String("audience")
			issuer.ClientID, issuer.ClientSecret = cmd.String("client-id"), secret.Reveal()
			out := cmd.Root().Writer
			introduce(out, issuer, rig.LocalURL(listener))
			return serve(ctx, func() error { return nil }, endpoint{listener, told{issuer, out}})
		},
	}
}

// introduce prints how to use the issuer.
func introduce(out io.Writer, issuer *devissuer.Issuer, at string) {
	fmt.Fprint(out, "Issuer of identity tokens for development, and a stand-in for AWS STS. Ctrl-C ends it.\n\n")
	fmt.Fprintf(out, "A connector that trusts it:\n  build/dormouse connector --oidc-issuer %s --oidc-audience %s --oidc-subject %s\n\n",
		issuer.URL, issuer.Audience, issuer.Subject)
	fmt.Fprintf(out, "A gateway with identity aws (any AWS keys will do):\n  GATEWAY_RELAY_IDENTITY=aws\n  AWS_ENDPOINT_URL_STS=%s\n\n", at)
	fmt.Fprintf(out, "A gateway with identity oidc (without id and secret a token is given, too):\n  GATEWAY_RELAY_IDP_TOKEN_URL=%s/token\n"+
		"  GATEWAY_RELAY_IDP_CLIENT_ID=%s\n  GATEWAY_RELAY_IDP_CLIENT_SECRET=(its secret)\n  DORMOUSE_ALLOW_ENV_SECRETS=1\n\n", at, issuer.ClientID)
}

// told wraps the issuer: it prints a line for each request, with what was asked for and the status.
type told struct {
	http.Handler
	out io.Writer
}

func (h told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	h.Handler.ServeHTTP(answer, r)
	fmt.Fprintf(h.out, "%s  %-5s%s  %d\n", time.Now().Format("15:04:05.000"), r.Method, r.URL.Path, answer.status)
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// secretFrom reads a secret from a file, or from a variable if no file is given. It is blank if there is neither.
func secretFrom(flag, file, variable string) (relay.Secret, error) {
	if file == "" {
		return relay.NewSecret(strings.TrimSpace(os.Getenv(variable))), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return relay.Secret{}, fmt.Errorf("%s: %w", flag, err)
	}
	secret := relay.NewSecret(strings.TrimSpace(string(content)))
	if !secret.Usable() {
		return relay.Secret{}, fmt.Errorf("%s: %s is blank: want the secret in it", flag, file)
	}
	return secret, nil
}
