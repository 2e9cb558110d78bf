package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/urfave/cli/v3"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:     "init",
		Category: categoryDeploy,
		Usage:    "prepare a deployment: ask what it needs, check it, and write samconfig.toml",
		Description: `Asks at most five things: the connector, the platforms with their bots, the agent, the identity, and where alarms
go. What a flag says is not asked. Each answer is checked: the connector is reached, the agent gets a trial turn (a
signed one if --agent-secret-arn is given, with the text "ping" and "trial" in its delivery), the identity is asked
for. Then samconfig.toml is written, with a wake path that nobody can guess. Run it in the tree that holds
template.yaml; run it again to change an answer, the rest of its file stays.

With --yes nothing is asked, and a check that needs the network only warns.`,
		Metadata: example("dormouse init",
			"dormouse init --stack dormouse --region eu-central-1 --connector https://connector.example --bot discord=1234 "+
				"--agent https://agent.example/turn --identity aws --alarms ops@example.com --yes"),
		DisableSliceFlagSeparator: true, // a value may have commas
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Usage: "`NAME` of the stack", DefaultText: "dormouse"},
			&cli.StringFlag{Name: "region", Usage: "`REGION` of AWS", DefaultText: "the AWS configuration's"},
			&cli.StringFlag{Name: "connector", Usage: "base `URL` of the connector"},
			&cli.StringSliceFlag{Name: "bot", Usage: "`PLATFORM=ID` of a bot, or the platform alone if the connector wants no id; may be repeated"},
			&cli.StringFlag{Name: "agent", Usage: "`WHO` answers: echo, an https URL, or lambda: and a function's name"},
			&cli.StringFlag{Name: "agent-secret-arn", Usage: "`ARN` of the secret that signs turns"},
			&cli.StringFlag{Name: "identity", Usage: "`KIND` of identity: aws, oidc, pinned, or none for a connector that asks for no credentials"},
			&cli.StringFlag{Name: "credentials-arn", Usage: "for pinned: `ARN` of the credentials that dormouse enroll stored"},
			&cli.StringFlag{Name: "idp-token-url", Usage: "for oidc: token endpoint `URL`"},
			&cli.StringFlag{Name: "idp-client-id", Usage: "for oidc: client `ID`"},
			&cli.StringFlag{Name: "idp-client-secret-arn", Usage: "for oidc: `ARN` of the client's secret"},
			&cli.StringFlag{Name: "alarms", Usage: "`WHERE` alarms go, an e-mail address or the ARN of an SNS topic; none for no alarms"},
			&cli.StringSliceFlag{Name: "parameter", Usage: "`NAME=VALUE` of a further parameter of template.yaml; may be repeated"},
			&cli.StringSliceFlag{Name: "set", Usage: "`NAME=VALUE` of a further setting (docs/settings.md); may be repeated"},
			&cli.StringFlag{Name: "profile", Usage: "take the settings for a connector from `FILE`, which conform connector --profile wrote"},
			&cli.StringFlag{Name: "left-over", Usage: "what to do with a table that an earlier stack of this name left: `WHAT` is import or delete"},
			&cli.BoolFlag{Name: "no-trial", Usage: "post the agent no trial turn"},
			&cli.BoolFlag{Name: "yes", Usage: "ask nothing; only warn where a check needs the network"},
			&cli.StringFlag{Name: "config-file", Value: "samconfig.toml", Usage: "`FILE` to write, for sam deploy --config-file"},
			&cli.StringFlag{Name: "template", Value: "template.yaml", Hidden: true, Usage: "`FILE` that will be deployed"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return initialize(ctx, cmd)
		},
	}
}

// preparation is one run of dormouse init.
type preparation struct {
	cmd        *cli.Command
	in         *bufio.Reader
	out, errs  io.Writer
	template   deployable
	stack      string
	parameters map[string]string // as they will be written
	warnings   []string
	elsewhere  bool // the commands of this shell would look in another region, or in none
}

var (
	stackName  = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9]*$`)
	regionName = regexp.MustCompile(`^[a-z]+(-[a-z]+)+-[0-9]+$`)
)

func initialize(ctx context.Context, cmd *cli.Command) error {
	template, err := readDeployable(cmd.String("template"))
	if err != nil {
		return err
	}
	path := cmd.String("config-file")
	old, there, err := readSamConfig(path)
	if err != nil {
		return err
	}
	root := cmd.Root()
	p := &preparation{
		cmd: cmd, in: bufio.NewReader(root.Reader), out: root.Writer, errs: root.ErrWriter, template: template,
		stack:      cmp.Or(cmd.String("stack"), old.Default.Global.Parameters.Stack, "dormouse"),
		parameters: map[string]string{},
	}
	if there {
		fmt.Fprintf(p.out, "%s is taken up: what is not answered anew stays as it is there.\n", path)
		if err := p.takeUp(old.Default.Deploy.Parameters.Overrides); err != nil {
			return err
		}
	}
	cloud, err := p.cloud(ctx, old.Default.Global.Parameters.Region)
	if err != nil {
		return err
	}
	if err := p.further(); err != nil {
		return err
	}
	for _, q := range p.questions(cloud) {
		if err := p.answer(ctx, q); err != nil {
			return err
		}
	}
	if p.parameters["WakePath"] == "" {
		secret := make([]byte, 16)
		rand.Read(secret) // never fails
		p.parameters["WakePath"] = hex.EncodeToString(secret)
	}
	if err := p.check(); err != nil {
		return err
	}
	if arn := strings.Split(p.parameters["Alarms"], ":"); len(arn) > 3 && arn[3] != cloud.Region {
		return misuse(fmt.Errorf("nothing was written: the topic for alarms is in %s, the stack in %s: CloudWatch wants both in one region",
			arn[3], cloud.Region))
	}
	if err := p.leftOver(ctx, cloud); err != nil {
		return err
	}
	if err := writeSamConfig(path, p.stack, cloud.Region, p.parameters); err != nil {
		return err
	}
	p.farewell(path, cloud.Region)
	return nil
}

// cloud is the AWS configuration in the deployment's region, in which the stack can have its name. No credentials are needed
// for it.
func (p *preparation) cloud(ctx context.Context, old string) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{}))
	region := cmp.Or(p.cmd.String("region"), old, cfg.Region)
	switch {
	case err != nil:
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	case region == "":
		return cfg, misuse(errors.New("no AWS region: give --region, or set AWS_REGION, or region in the AWS profile"))
	case !stackName.MatchString(p.stack):
		return cfg, misuse(fmt.Errorf("--stack is %q; want letters, digits and hyphens, a letter first", p.stack))
	case !regionName.MatchString(region):
		return cfg, misuse(fmt.Errorf("the region is %q; want one such as eu-central-1", region))
	}
	p.elsewhere = region != cfg.Region
	cfg, err = awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{}), awsconfig.WithRegion(region))
	if err != nil {
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	return cfg, nil
}

// takeUp starts from the parameters of an earlier run. Those that the template no longer has become settings.
func (p *preparation) takeUp(old map[string]string) error {
	settings, err := settingsOf(old["Settings"])
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		value := old[name]
		if _, ok := p.template.Parameters[name]; ok {
			p.parameters[name] = value
			continue
		}
		switch setting := formerParameters[name]; {
		case value == "":
		case setting == "":
			p.warn("the parameter %s is no longer there and is left out (docs/operations.md)", name)
		default:
			settings[setting] = value
			p.warn("the parameter %s is now the setting %s", name, setting)
		}
	}
	return p.setSettings(settings)
}

// further reads --profile, --parameter and --set.
func (p *preparation) further() error {
	if err := p.profile(); err != nil {
		return err
	}
	for _, given := range p.cmd.StringSlice("parameter") {
		name, value, ok := strings.Cut(given, "=")
		if _, there := p.template.Parameters[name]; !ok || !there {
			return misuse(fmt.Errorf("--parameter %.60q: want NAME=VALUE with a parameter of template.yaml: %s", given,
				strings.Join(slices.Sorted(maps.Keys(p.template.Parameters)), ", ")))
		}
		p.parameters[name] = value
	}
	settings, err := settingsOf(p.parameters["Settings"])
	if err != nil {
		return err
	}
	for _, given := range p.cmd.StringSlice("set") {
		name, value, ok := strings.Cut(given, "=")
		if !ok || name == "" {
			return misuse(fmt.Errorf("--set %.60q: want NAME=VALUE, for instance DORMOUSE_AGENT_TIMEOUT=2m", given))
		}
		settings[name] = value
	}
	return p.setSettings(settings)
}

func (p *preparation) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// farewell says what was written and what comes next.
func (p *preparation) farewell(path, region string) {
	for _, warning := range p.warnings {
		fmt.Fprintf(p.errs, "warning: %s\n", warning)
	}
	export := ""
	if p.elsewhere { // sam reads the file, the commands do not
		export = "  export AWS_REGION=" + region + "\n"
	}
	fmt.Fprintf(p.out, "\nWritten: %s, for the stack %s in %s. Now:\n\n%s  sam build\n  sam deploy%s\n  build/dormouse arm --stack %s\n\n",
		path, p.stack, region, export, configFileFlag(path), p.stack)
	if p.parameters["Identity"] == "aws" {
		fmt.Fprint(p.out, "Identity aws: once for the account, if it was not done before,\n  aws iam enable-outbound-web-identity-federation\n"+
			"and have the connector trust the issuer that it names and, as subject, the stack's output DrainRoleArn.\n")
	}
	if p.parameters["CredentialsArn"] != "" {
		fmt.Fprint(p.out, "Pinned credentials: the connector has to be told the stack's output WakeUrl by hand.\n")
	}
	if strings.Contains(p.parameters["Alarms"], "@") {
		fmt.Fprintf(p.out, "Alarms: AWS sends %s a mail that has to be confirmed.\n", p.parameters["Alarms"])
	}
}

func configFileFlag(path string) string {
	if path == "samconfig.toml" {
		return ""
	}
	return " --config-file " + path
}
