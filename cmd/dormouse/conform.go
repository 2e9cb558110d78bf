package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/version"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func conformCommand() *cli.Command {
	return &cli.Command{
		Name:     "conform",
		Category: categoryDevelop,
		Usage:    "hold a connector or a gateway against the relay contract",
		Description: `The contract is docs/contract.md, and docs/conformance.md lists the checks. Each has an id that stays, the section, and
its level, MUST or SHOULD.`,
		Commands: []*cli.Command{conformConnector(), conformGateway()},
	}
}

func conformConnector() *cli.Command {
	return &cli.Command{
		Name:      "connector",
		ArgsUsage: "URL",
		Metadata: example("dormouse conform connector http://127.0.0.1:8787 --platform telegram --wake-listen 127.0.0.1:0 --inject http://127.0.0.1:8788",
			"dormouse conform connector https://connector.example --gateway-id gw-7 --secret-file secret.txt --suite core"),
		Usage: "act as a gateway of the connector at URL, and as its wake URL, and say what it does otherwise than the contract",
		Description: `It takes the seat of the gateway that it acts as: give it one of its own. The secret is in --secret-file or in
$` + secretVariable + `; with an identity token in $` + identityVariable + ` the gateway provisions instead, and its wake URL is told to the
connector; with neither it dials without a token.

Many checks need somebody to write to the gateway: --inject says how. An http URL gets POST /deliver with
{"gateway","event"}, as the control API of dormouse connector takes it; anything else is a command of the shell,
which gets the word deliver as its argument and that JSON on its standard input. It has to deliver the event as it
is, chat included. Without it those checks are skipped.

The exit code is 3 if a check fails that --baseline does not name, or if one passes that it names.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "gateway-id", Value: "conform", Usage: "act as the gateway `ID`"},
			&cli.StringFlag{Name: "secret-file", Usage: "`FILE` with its secret; else $" + secretVariable + " holds it"},
			&cli.StringFlag{Name: "identity-file", Usage: "`FILE` with an identity token to provision with; else $" + identityVariable + " holds it"},
			&cli.StringFlag{Name: "stranger-file", Usage: "`FILE` with the identity token of another tenant; else $" + strangerVariable + " holds it"},
			&cli.StringFlag{Name: "enrollment-file", Usage: "`FILE` with an enrollment token; else $" + redeemVariable + " holds it"},
			&cli.StringSliceFlag{Name: "platform", Value: []string{"discord"}, Usage: "front the platform `NAME`; may be repeated, messages come from the first"},
			&cli.StringFlag{Name: "bot-id", Value: "conform", Usage: "`ID` of the bot, in each hello"},
			&cli.StringFlag{Name: "suite", Value: string(conform.All), Usage: "run the checks of `NAME`: " + strings.Join(conform.Suites(), ", ")},
			&cli.StringSliceFlag{Name: "only", Usage: "run the check `ID` alone; may be repeated"},
			&cli.StringFlag{Name: "inject", Usage: "have somebody write: `URL` or command"},
			&cli.StringFlag{Name: "wake-listen", Usage: "be the wake URL at `ADDRESS`; without it pokes are not checked"},
			&cli.StringFlag{Name: "wake-url", Usage: "`URL` under which the connector reaches that address", DefaultText: "the address itself"},
			&cli.StringFlag{Name: "profile", Usage: "write what was met into `FILE`, for dormouse init --profile and dormouse connector --preset"},
			&cli.BoolFlag{Name: "slow", Usage: "also run checks that wait for the cooldown to end, or take long otherwise"},
			&cli.DurationFlag{Name: "cooldown", Value: 61 * time.Second, Usage: "the connector pokes at most once in `TIME`"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "wait `TIME` for what has to come"},
		}, reportFlags()...),
		Action: runConformConnector,
	}
}

// contractURL is where the contract can be read.
const contractURL = "https://github.com/dormouse-relay/dormouse/blob/main/docs/contract.md"

// reportFlags say what becomes of a report.
func reportFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "baseline", Usage: "`FILE` with what is known to deviate: {\"known\":[{\"id\",\"reason\"}]}"},
		&cli.StringFlag{Name: "junit", Usage: "write JUnit's XML into `FILE`, too"},
		&cli.StringFlag{Name: "html", Usage: "write one page to send to somebody into `FILE`, too"},
		&cli.BoolFlag{Name: "list", Usage: "print the catalogue, and run nothing"},
		jsonFlag(),
	}
}

// progress says on the error output how each check ended.
func progress(cmd *cli.Command) func(conform.Result) {
	return func(r conform.Result) { fmt.Fprintf(cmd.Root().ErrWriter, "%s %s\n", r.Status, r.ID) }
}

func runConformConnector(ctx context.Context, cmd *cli.Command) error {
	if cmd.Bool("list") {
		return listChecks(cmd, conform.Catalogue())
	}
	if cmd.Args().Len() != 1 {
		return misuse(errors.New("which connector: give its URL, as in GATEWAY_RELAY_URL: see dormouse conform connector --help"))
	}
	baseline, err := baselineOf(cmd)
	if err != nil {
		return misuse(err)
	}
	cfg, err := conformConfig(cmd)
	if err != nil {
		return err
	}
	wakeURL, stop, err := listenForPokes(cmd, &cfg)
	if err != nil {
		return err
	}
	defer stop()
	if err := provisionKit(ctx, cmd, &cfg, wakeURL); err != nil {
		return err
	}
	cfg.Progress = progress(cmd)
	report, err := conform.Run(ctx, cfg)
	if err != nil {
		if ctx.Err() == nil {
			err = misuse(err)
		}
		return err
	}
	if file := cmd.String("profile"); file != "" {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if err := writeFile(file, func(out io.Writer) error { return printJSON(out, report.Profile(name)) }); err != nil {
			return fmt.Errorf("--profile: %w", err)
		}
	}
	return tellReport(cmd, report, baseline)
}

// listChecks prints the catalogue.
func listChecks(cmd *cli.Command, checks []conform.Check) error {
	if cmd.Bool("json") {
		return printJSON(cmd.Root().Writer, map[string][]conform.Check{"checks": checks})
	}
	table := tabwriter.NewWriter(cmd.Root().Writer, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		fmt.Fprintf(table, "%s\t%s\tsection %d\t%s\t%s\n", c.ID, c.Suite, c.Section, c.Level, c.Sentence)
	}
	return table.Flush()
}

func baselineOf(cmd *cli.Command) (conform.Baseline, error) {
	file := cmd.String("baseline")
	if file == "" {
		return conform.Baseline{}, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return conform.Baseline{}, fmt.Errorf("--baseline: %w", err)
	}
	return conform.ReadBaseline(raw)
}

func conformConfig(cmd *cli.Command) (conform.Config, error) {
	cfg := conform.Config{
		URL: cmd.Args().First(), GatewayID: cmd.String("gateway-id"), Platforms: cmd.StringSlice("platform"),
		BotID: cmd.String("bot-id"), Suite: conform.Suite(cmd.String("suite")), Only: cmd.StringSlice("only"),
		Slow: cmd.Bool("slow"), Wait: cmd.Duration("timeout"), Cooldown: cmd.Duration("cooldown"),
	}
	for _, secret := range []struct {
		flag, variable string
		into           *relay.Secret
	}{
		{"secret-file", secretVariable, &cfg.Secret}, {"identity-file", identityVariable, &cfg.Identity},
		{"stranger-file", strangerVariable, &cfg.Stranger}, {"enrollment-file", redeemVariable, &cfg.Enroll},
	} {
		var err error
		if *secret.into, err = secretFrom("--"+secret.flag, cmd.String(secret.flag), secret.variable); err != nil {
			return cfg, misuse(err)
		}
	}
	if inject := cmd.String("inject"); inject != "" {
		cfg.Inject = conform.NewInjector(inject)
	}
	for name, d := range map[string]time.Duration{"--timeout": cfg.Wait, "--cooldown": cfg.Cooldown} {
		if d <= 0 {
			return cfg, misuse(fmt.Errorf("%s is %v: want more than 0", name, d))
		}
	}
	return cfg, nil
}

// listenForPokes serves the wake URL, if it is asked for.
func listenForPokes(cmd *cli.Command, cfg *conform.Config) (wakeURL string, stop func(), err error) {
	stop = func() {}
	at := cmd.String("wake-listen")
	if at == "" {
		if cmd.String("wake-url") != "" {
			err = misuse(errors.New("--wake-url is set without --wake-listen: pokes would not come here"))
		}
		return "", stop, err
	}
	ln, err := net.Listen("tcp", at)
	if err != nil {
		return "", stop, fmt.Errorf("listening for pokes: %w: choose another address with --wake-listen", err)
	}
	wakes := conform.NewWakes()
	cfg.Wakes = wakes
	server := &http.Server{Handler: wakes, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(ln)
	}()
	if wakeURL = cmd.String("wake-url"); wakeURL == "" {
		wakeURL = rig.LocalURL(ln) + "/"
	}
	return wakeURL, func() { server.Close(); <-served }, nil
}

// provisionKit gets the kit credentials, if it has an identity token instead of a secret.
func provisionKit(ctx context.Context, cmd *cli.Command, cfg *conform.Config, wakeURL string) error {
	cfg.WakeURL = wakeURL
	if cfg.Secret.Usable() || !cfg.Identity.Usable() {
		if wakeURL != "" {
			fmt.Fprintf(cmd.Root().ErrWriter, "the connector has to know the wake URL %s for the gateway %s\n", wakeURL, cfg.GatewayID)
		}
		return nil
	}
	request := provision.Request{GatewayID: cfg.GatewayID, WakeURL: wakeURL}
	for _, platform := range cfg.Platforms {
		request.Fronts = append(request.Fronts, relay.Front{Platform: platform, BotID: cfg.BotID})
	}
	credentials, err := provision.New(provision.Config{URL: relay.NewBaseURL(cfg.URL)}).Provision(ctx, cfg.Identity, request)
	if err != nil {
		return fmt.Errorf("provisioning the kit's gateway %s: %w", cfg.GatewayID, err)
	}
	cfg.GatewayID, cfg.Secret = credentials.GatewayID, credentials.Secret
	return nil
}

// tellReport prints a report, and decides how the command ends.
func tellReport(cmd *cli.Command, report conform.Report, baseline conform.Baseline) error {
	out := cmd.Root().Writer
	if file := cmd.String("junit"); file != "" {
		if err := writeFile(file, report.WriteJUnit); err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	if file := cmd.String("html"); file != "" {
		about := conform.About{What: strings.Join(cmd.Args().Slice(), " "), At: time.Now(), Version: version.String(), Sections: contractURL, Baseline: baseline}
		if about.What == "" {
			about.What = "a gateway"
		}
		if err := writeFile(file, func(out io.Writer) error { return report.WriteHTML(out, about) }); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	var err error
	if cmd.Bool("json") {
		err = printJSON(out, report)
	} else {
		err = report.WriteTable(out)
	}
	if err != nil {
		return err
	}
	news, healed := baseline.Judge(report)
	var findings []error
	if len(news) > 0 {
		findings = append(findings, fmt.Errorf("not as the contract says: %s", strings.Join(news, ", ")))
	}
	if len(healed) > 0 {
		findings = append(findings, fmt.Errorf("healed, take them out of the baseline: %s", strings.Join(healed, ", ")))
	}
	if findings != nil {
		return found(errors.Join(findings...))
	}
	return nil
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
