package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func rotateCommand() *cli.Command {
	cmd := enrolling(true, &cli.Command{
		Name:     "rotate",
		Category: categoryOperate,
		Metadata: example("dormouse rotate --stack dormouse --token-file token.txt",
			"dormouse rotate --connector-url https://connector.example --gateway-id gw-7 --token-file token.txt"),
		Usage: "enroll once more, and replace the credentials that are stored",
		Description: `As enroll, for a gateway that has credentials already: they are replaced where they are. A deployed
gateway reads them anew when the old ones are refused, so nothing has to be deployed. --stack says all but the enrollment
token and who enrolls: the connector, the gateway id and the place are those of the deployed gateway.`,
	})
	cmd.Flags = append([]cli.Flag{stackFlag()}, cmd.Flags...)
	return cmd
}

// fill takes from a deployed gateway what is not given. What is given and is not the gateway's is an error: it may be left
// over in the shell, and an enrollment token is good only once.
func (at *enrollPlace) fill(ctx context.Context, stack string) error {
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return err
	}
	p := deployed{cloud: cloud}
	if err := p.find(ctx, stack); err != nil {
		return err
	}
	where := p.variables["GATEWAY_RELAY_CREDENTIALS_ARN"]
	if where == "" {
		return fmt.Errorf("%s has no pinned credentials (parameter CredentialsArn): it gets new ones by itself, from a connector that "+
			"provisions; there is nothing to rotate", stack)
	}
	connector := p.variables["GATEWAY_RELAY_URL"]
	if at.connector != "" && relay.NewBaseURL(at.connector) != relay.NewBaseURL(connector) {
		return misuse(fmt.Errorf("the connector is %s by --connector-url or $GATEWAY_RELAY_URL, and %s by the stack %s: leave the first one out",
			at.connector, connector, stack))
	}
	at.connector = connector
	if at.parameter == "" && at.secret == "" {
		if err := at.take(where); err != nil {
			return err
		}
	}
	return at.takeGateway(ctx, secretstore.New(cloud), where)
}

// take takes the place that an ARN names.
func (at *enrollPlace) take(where string) error {
	a, err := arn.Parse(where)
	name, isParameter := strings.CutPrefix(a.Resource, "parameter/")
	switch {
	case err != nil || a.Region == "":
		return errors.New("the stack's CredentialsArn is no ARN of a parameter or a secret: give --parameter or --secret")
	case !isParameter:
		at.secret = where // Secrets Manager takes ARNs
	case strings.Contains(name, "/"):
		at.parameter = "/" + name
	default:
		at.parameter = name
	}
	at.region = a.Region
	return nil
}

// takeGateway takes the id that the stored credentials are for.
func (at *enrollPlace) takeGateway(ctx context.Context, store *secretstore.Store, where string) error {
	stored, err := store.Get(ctx, where)
	if err == nil {
		creds, broken := identity.Decode(stored)
		if err = broken; err == nil && cmp.Or(at.gateway, creds.GatewayID) != creds.GatewayID {
			return misuse(fmt.Errorf("the gateway id is %s by --gateway-id or $GATEWAY_RELAY_ID, and %s by the credentials that are stored: "+
				"leave the first one out", at.gateway, creds.GatewayID))
		}
		at.gateway = cmp.Or(at.gateway, creds.GatewayID)
	}
	if err != nil && at.gateway == "" {
		return fmt.Errorf("the id of the gateway is not known, as its credentials cannot be read: give --gateway-id: %w", err)
	}
	return nil
}
