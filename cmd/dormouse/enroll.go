package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const enrollVariable = "GATEWAY_RELAY_ENROLL_TOKEN"

func enrollCommand() *cli.Command {
	return enrolling(false, &cli.Command{
		Name:     "enroll",
		Category: categoryDeploy,
		Metadata: example("dormouse enroll --connector-url https://connector.example --gateway-id gw-7 --token-file token.txt"),
		Usage:    "redeem an enrollment token, and store the gateway's credentials in AWS",
		Description: `Exchanges an enrollment token, which the connector's operator gives out and which is good once, for the
credentials of a gateway, and puts them into SSM Parameter Store (or, with --secret, Secrets Manager).
Nothing is printed or written to disk.

Who enrolls is shown by the same variables as the gateway's (GATEWAY_RELAY_IDENTITY, GATEWAY_RELAY_IDP_...,
see docs/settings.md). AWS is reached as the AWS command line would reach it.`,
	})
}

func enrolling(replace bool, cmd *cli.Command) *cli.Command {
	cmd.Flags = []cli.Flag{
		jsonFlag(),
		&cli.StringFlag{Name: "connector-url", Sources: cli.EnvVars("GATEWAY_RELAY_URL"), Usage: "base `URL` of the connector"},
		&cli.StringFlag{Name: "gateway-id", Sources: cli.EnvVars("GATEWAY_RELAY_ID"), Usage: "`ID` to enroll as"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the enrollment token, - for standard input; else $" + enrollVariable + " holds it"},
		&cli.StringFlag{Name: "parameter", DefaultText: "/dormouse/ID", Usage: "`NAME` of the SSM parameter that is to hold the credentials"},
		&cli.StringFlag{Name: "secret", Usage: "`NAME` of a secret in Secrets Manager that is to hold them, instead"},
		&cli.StringFlag{Name: "key", DefaultText: "AWS's own", Usage: "`KEY` of KMS that encrypts them; an SSM parameter under one wants it at each rotation"},
	}
	cmd.Action = func(ctx context.Context, cmd *cli.Command) error {
		if err := noArguments(cmd); err != nil {
			return err
		}
		return enroll(ctx, cmd, replace)
	}
	return cmd
}

// vault is where the credentials are stored.
type vault struct {
	name string
	kind string // for people
	has  func(context.Context, string) (bool, error)
	put  func(context.Context, string, relay.Secret) (arn string, err error)
}

// check sees whether the place is there, or free, as it has to be.
func (v vault) check(ctx context.Context, replace bool) error {
	there, err := v.has(ctx, v.name)
	switch {
	case err != nil:
		return fmt.Errorf("%w; nothing was redeemed", err)
	case there && !replace:
		return fmt.Errorf("%s %s is there already: to replace what it holds use dormouse rotate, or choose another name", v.kind, v.name)
	case !there && replace:
		return fmt.Errorf("%s %s is not there: for the first credentials use dormouse enroll", v.kind, v.name)
	}
	return nil
}

// enroll checks everything else before it redeems the token, because a token can be redeemed only once.
func enroll(ctx context.Context, cmd *cli.Command, replace bool) error {
	at := enrollPlace{cmd.String("connector-url"), cmd.String("gateway-id"), cmd.String("parameter"), cmd.String("secret"), ""}
	if stack := cmd.String("stack"); stack != "" {
		if err := at.fill(ctx, stack); err != nil {
			return err
		}
	}
	settings, err := enrollSettings(config.Environ(), at.connector, at.gateway)
	if err != nil {
		return err
	}
	token, err := enrollmentToken(cmd.String("token-file"), cmd.Root().Reader)
	if err != nil {
		return err
	}
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return err
	}
	store := at.store(cloud)
	store.Key = cmd.String("key")
	to, err := at.vault(store, settings.GatewayID)
	if err != nil {
		return err
	}
	if err := to.check(ctx, replace); err != nil {
		return err
	}
	source := identity.Source(settings, identity.Clients{STS: sts.NewFromConfig(cloud), Secrets: store})
	who, err := source.Token(ctx)
	if err != nil {
		return fmt.Errorf("%w; nothing was redeemed", err)
	}
	asked := time.Now()
	creds, err := provision.New(provision.Config{URL: settings.URL}).Enroll(ctx, who, token, settings.GatewayID)
	if _, answered := errors.AsType[*provision.EnrollError](err); err != nil && !answered {
		return fmt.Errorf("%w; the enrollment token may have been redeemed: if it is refused the next time, ask for a new one", err)
	}
	if err != nil {
		return err
	}
	arn, err := to.put(context.WithoutCancel(ctx), to.name, identity.Encode(creds))
	if err != nil {
		return fmt.Errorf("the connector accepted, but the credentials could not be stored and are lost: %w: "+
			"ask for a new enrollment token and try again", err)
	}
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, enrolled{creds.GatewayID, creds.Tenant, arn, replace, time.Since(asked).Milliseconds()})
	}
	tell(cmd.Root().Writer, settings, creds, to, arn, replace)
	if replace {
		tellGap(cmd.Root().Writer, time.Since(asked))
	}
	return nil
}

// enrolled is what an enrollment came to, for programs. It has no secret.
type enrolled struct {
	Gateway        string `json:"gateway_id"`
	Tenant         string `json:"tenant,omitempty"`
	CredentialsARN string `json:"credentials_arn"`
	Replaced       bool   `json:"replaced"`
	GapMS          int64  `json:"gap_ms"` // for so long the store may have held what the connector did not accept any more
}

func tell(out io.Writer, settings config.DrainSettings, creds provision.Credentials, to vault, arn string, replace bool) {
	host := ""
	if u, err := url.Parse(settings.URL.Enroll()); err == nil {
		host = u.Host
	}
	tenant := ""
	if creds.Tenant != "" {
		tenant = ", tenant " + creds.Tenant
	}
	fmt.Fprintf(out, "The connector %s has accepted %s%s.\n", host, creds.GatewayID, tenant)
	fmt.Fprintf(out, "Its credentials are now in %s %s:\n  %s\n\n", to.kind, to.name, arn)
	if replace {
		fmt.Fprintf(out, "A gateway that is deployed with this ARN takes them when the old ones are refused: nothing has to be\n"+
			"deployed. If it was switched off by a refusal, switch it on again: dormouse enable\n")
		return
	}
	fmt.Fprintf(out, "Deploy the gateway with these parameters:\n  CredentialsArn=%s\n  RelayId=%s\n\n", arn, creds.GatewayID)
	fmt.Fprintf(out, "An enrollment does not tell the connector the wake URL: register the stack's output WakeUrl there.\n")
}

// proofTime is how long a gateway goes on reading its store while the connector refuses the credentials from there.
const proofTime = time.Minute

// tellGap prints for how long the connector may have had the new credentials while the store still had the old ones.
func tellGap(out io.Writer, gap time.Duration) {
	fmt.Fprintf(out, "\nBetween connector and store lay at most %s. ", gap.Round(time.Millisecond))
	if gap < proofTime {
		fmt.Fprintf(out, "A gateway that was refused meanwhile reads them anew for %s, and goes on.\n", proofTime)
		return
	}
	fmt.Fprintf(out, "A gateway that was refused for longer than %s has taken that for\nan opt-out and is off: see dormouse status.\n", proofTime)
}

// enrollSettings reads from the gateway's variables where to enroll, and the identity to enroll with.
func enrollSettings(environ map[string]string, connector, gatewayID string) (config.DrainSettings, error) {
	environ["GATEWAY_RELAY_URL"], environ["GATEWAY_RELAY_ID"] = connector, gatewayID
	for _, other := range []string{"GATEWAY_RELAY_CREDENTIALS_ARN", "GATEWAY_RELAY_SECRET", "AWS_LAMBDA_FUNCTION_NAME"} {
		delete(environ, other)
	}
	switch {
	case strings.TrimSpace(connector) == "":
		return config.DrainSettings{}, errors.New("no connector: give --connector-url or $GATEWAY_RELAY_URL")
	case strings.TrimSpace(gatewayID) == "":
		return config.DrainSettings{}, errors.New("no gateway id: give --gateway-id or $GATEWAY_RELAY_ID")
	}
	settings, err := config.Drain(environ)
	if err != nil {
		return settings, err
	}
	if settings.Auth == config.AuthNone {
		return settings, errors.New("nothing says who enrolls: set GATEWAY_RELAY_IDENTITY to aws, oidc, secret or env, " +
			"and what belongs to it (docs/settings.md)")
	}
	return settings, nil
}

func enrollmentToken(file string, in io.Reader) (relay.Secret, error) {
	from, raw := "$"+enrollVariable, []byte(os.Getenv(enrollVariable))
	os.Unsetenv(enrollVariable)
	var err error
	switch file {
	case "":
	case "-":
		from = "standard input"
		raw, err = io.ReadAll(io.LimitReader(in, 1<<20))
	default:
		from = file
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return relay.Secret{}, fmt.Errorf("--token-file: %w", err)
	}
	token := relay.NewSecret(strings.TrimSpace(string(raw)))
	if !token.Usable() {
		return relay.Secret{}, fmt.Errorf("no enrollment token in %s: give it in --token-file or $%s", from, enrollVariable)
	}
	return token, nil
}

// enrollPlace is with which connector to enroll, as whom, and where the credentials are stored.
type enrollPlace struct {
	connector, gateway string
	parameter, secret  string // by name, or a secret by its ARN; empty: the parameter /dormouse/ID
	region             string // of them; empty: the AWS configuration's
}

func (at enrollPlace) store(cloud aws.Config) *secretstore.Store {
	cloud.Region = cmp.Or(at.region, cloud.Region)
	return secretstore.New(cloud)
}

func (at enrollPlace) vault(store *secretstore.Store, gatewayID string) (vault, error) {
	if at.parameter != "" && at.secret != "" {
		return vault{}, errors.New("--parameter and --secret are both given: the credentials go to one of them")
	}
	if at.region == "" && strings.HasPrefix(cmp.Or(at.parameter, at.secret), "arn:") {
		return vault{}, errors.New("--parameter and --secret take a name, not an ARN")
	}
	if at.secret != "" {
		return vault{at.secret, "the secret", store.HasSecret, store.PutSecret}, nil
	}
	return vault{cmp.Or(at.parameter, "/dormouse/"+gatewayID), "the SSM parameter", store.HasParameter, store.PutParameter}, nil
}
