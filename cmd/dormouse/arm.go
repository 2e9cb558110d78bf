package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

const (
	wakeURLTime = 15 * time.Second
	armingTime  = 16 * time.Minute // a drain may take 15
)

func armCommand() *cli.Command {
	cmd := drainCommand()
	cmd.Name, cmd.Category = "arm", categoryDeploy
	cmd.Metadata = example("dormouse arm --stack dormouse", "dormouse arm --stack dormouse --wait --json")
	cmd.Usage = "after a deployment: run drain once, and check that the wake URL answers"
	cmd.Description = `Invokes the drain function with the reason arm: it provisions, which tells the connector the wake URL,
dials, answers what is waiting and goes idle. Then the wake URL is tried from here, without waking anybody.
Without this, the schedule's first firing arms. A fault in the settings is shown as the function logged it. The exit code is 3 if
it is armed, but a message that waited was given up in this run.`
	cmd.Action = armAction(true)
	return cmd
}

func drainCommand() *cli.Command {
	return &cli.Command{
		Name:     "drain",
		Category: categoryOperate,
		Metadata: example("dormouse drain --stack dormouse"),
		Usage:    "run drain once, now, and say what became of each message",
		Description: `As dormouse arm, without the wake URL: the gateway dials, takes what is waiting, and goes idle. The exit code is 3 if a
message that waited was given up.`,
		Flags: []cli.Flag{
			stackFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "wait", Usage: "while another drain is at work, say whose it is, and try again until it is done"},
			&cli.StringFlag{Name: "function", DefaultText: "STACK-drain", Usage: "`NAME` or ARN of its drain function, instead"},
		},
		Action: armAction(false),
	}
}

func armAction(wakeURL bool) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		if err := noArguments(cmd); err != nil {
			return err
		}
		stack, function := cmd.String("stack"), cmd.String("function")
		if stack == "" && function == "" {
			return misuse(errors.New("which gateway: give --stack or --function"))
		}
		cloud, err := operatorConfig(ctx)
		if err != nil {
			return err
		}
		p := deployed{cloud: cloud}
		ctx, cancel := context.WithTimeout(ctx, armingTime)
		defer cancel()
		if err := p.findFunction(ctx, cmp.Or(function, stack+"-drain")); err != nil {
			return err
		}
		a := &arming{deployed: p, wait: cmd.Bool("wait"), tryURL: wakeURL, errs: cmd.Root().ErrWriter}
		a.client = lambda.NewFromConfig(cloud, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }) // no second drain
		err = a.arm(ctx)
		if cmd.Bool("json") {
			return errors.Join(printJSON(cmd.Root().Writer, a.armed), err)
		}
		return errors.Join(a.print(cmd.Root().Writer), err)
	}
}

// armed is what arming came to.
type armed struct {
	Armed    bool          `json:"armed"`
	Drain    *drain.Report `json:"drain,omitempty"`
	Messages []became      `json:"messages,omitempty"`
	WakeURL  string        `json:"wake_url,omitempty"` // what it answered
	Pinned   bool          `json:"pinned,omitempty"`
	Faults   []string      `json:"faults,omitempty"`
}

// arming runs drain once.
type arming struct {
	deployed
	armed
	client *lambda.Client
	wait   bool
	tryURL bool
	errs   io.Writer
}

// arm runs drain once and checks the wake URL. Its error joins all that is missing; it is found if nothing is missing, but a
// message died.
func (a *arming) arm(ctx context.Context) error {
	var before books
	book, noTable := a.ledger()
	if noTable == nil {
		var err error
		if before, err = readBooks(ctx, book); err != nil {
			fmt.Fprintf(a.errs, "what becomes of each message cannot be told: %v\n", err)
			noTable = err
		}
	}
	var faults []error
	report, err := a.drain(ctx)
	if err == nil {
		a.Drain = &report
		err = armedBy(report)
	}
	if err != nil {
		faults = append(faults, err)
	}
	if noTable == nil && a.Drain != nil {
		if after, err := readBooks(ctx, book); err == nil {
			a.Messages = after.since(before)
		}
	}
	if a.tryURL && ctx.Err() == nil { // else it is not the URL that does not answer
		said, err := tryWakeURL(ctx, a.variables["GATEWAY_RELAY_WAKE_URL"])
		if err != nil {
			faults = append(faults, err)
		}
		a.WakeURL = said
	}
	a.Pinned = a.variables["GATEWAY_RELAY_CREDENTIALS_ARN"] != ""
	if len(faults) > 0 {
		for _, fault := range faults {
			a.Faults = append(a.Faults, fault.Error())
		}
		what := "drained"
		if a.tryURL {
			what = "armed"
		}
		return fmt.Errorf("not %s: %w", what, errors.Join(faults...))
	}
	a.Armed = true
	if n := a.Drain.Dead; n > 0 {
		return found(fmt.Errorf("%d of its messages died in this run: dormouse dead list says why, dead retry puts them back", n))
	}
	return nil
}

// drain runs drain once. While another one is at work, it waits for that one if it is to.
func (a *arming) drain(ctx context.Context) (drain.Report, error) {
	for {
		report, err := during(a.errs, "drain runs: it answers what waits, and stays a while (15 minutes at most)", func() (drain.Report, error) {
			return invoke(ctx, a.client, a.function, ledger.Arm)
		})
		if err != nil || report.Status != drain.Taken || !a.wait {
			return report, err
		}
		held := &takenError{report}
		fmt.Fprintf(a.errs, "waiting: %s\n", held.who())
		select {
		case <-time.After(held.pause()):
		case <-ctx.Done():
			return report, nil
		}
	}
}

func (a *arming) print(out io.Writer) error {
	if r := a.Drain; r != nil {
		fmt.Fprintf(out, "drain: %s: %d received, %d recovered, %d answered, %d died, %d left\n",
			r.Status, r.Received, r.Recovered, r.Answered, r.Dead, r.Left)
		if err := tellMessages(out, a.Messages); err != nil {
			return err
		}
	}
	if a.WakeURL != "" {
		fmt.Fprintln(out, a.WakeURL)
	}
	if !a.Armed || !a.tryURL {
		return nil
	}
	if a.Pinned {
		fmt.Fprintln(out, "The credentials are pinned, so the connector was not told the wake URL: register it there, if it is not.")
	}
	fmt.Fprintln(out, "armed")
	return nil
}

// takenError says that another drain is at work, and which.
type takenError struct{ drain.Report }

func (e *takenError) Error() string {
	return e.who() + ": it takes what waits; try again when it has ended, or use --wait"
}

func (e *takenError) who() string {
	said := "drain: taken: another drain holds the lease of this gateway"
	if e.Holder != "" {
		said += " (" + e.Holder + ")"
	}
	if e.HeldUntil != nil {
		said += ", until " + stamp(*e.HeldUntil) + " unless it renews its lease"
	}
	return said
}

// pause is until the lease ends, and between 1 and 10 s.
func (e *takenError) pause() time.Duration {
	if e.HeldUntil == nil {
		return 5 * time.Second
	}
	return min(max(time.Until(*e.HeldUntil), time.Second), 10*time.Second)
}

// operatorVariables are the variables of drain that the operator's commands read. None of them is a credential, so dormouse
// host may show them by its Lambda API, which asks for no credentials.
var operatorVariables = []string{
	"GATEWAY_RELAY_URL", "GATEWAY_RELAY_WAKE_URL", "GATEWAY_RELAY_CREDENTIALS_ARN", "GATEWAY_RELAY_ID", "GATEWAY_RELAY_INSTANCE_ID",
	"DORMOUSE_TABLE", tableEndpoint,
}

// tableEndpoint is where the table of a gateway is that dormouse host runs.
const tableEndpoint = "AWS_ENDPOINT_URL_DYNAMODB"

// shownVariables are those operatorVariables of a deployed function that are set. It returns no others, so that a command
// that works on AWS also works with dormouse host.
func shownVariables(deployed *lambda.GetFunctionConfigurationOutput) map[string]string {
	if deployed.Environment == nil {
		return nil
	}
	maps.DeleteFunc(deployed.Environment.Variables, func(name, _ string) bool { return !slices.Contains(operatorVariables, name) })
	return deployed.Environment.Variables
}

// armedBy is what a drain that ended so lacks for an armed gateway; nil if nothing.
func armedBy(report drain.Report) error {
	if report.Unflipped > 0 {
		return fmt.Errorf("drain: %s, but the connector did not answer going_idle, so it does not buffer: arm again", report.Status)
	}
	if report.Status == drain.HandedOff && report.MS.Descriptor == nil {
		return errors.New("drain: handed_off before the connector let it in: see the line \"not connected\" of its log, and arm again")
	}
	switch report.Status {
	case drain.Drained, drain.Empty, drain.HandedOff:
		return nil
	case drain.Taken:
		return &takenError{report}
	case drain.Disabled:
		return errors.New("drain: disabled: the connector has refused this gateway for good, and it stays off. Have it accepted " +
			"there, or enroll it anew (dormouse rotate), then: dormouse enable, and arm again")
	case drain.Revoked:
		return fmt.Errorf("drain: revoked: the connector refuses this gateway for good, and it is off from now on (%s). Have it "+
			"accepted there, or enroll it anew (dormouse rotate), then: dormouse enable, and arm again", said(report))
	case drain.IdentityRefused:
		return fmt.Errorf("drain: identity_refused: the connector does not accept this gateway's identity (%s): dormouse doctor "+
			"compares what was shown with what the connector may want", said(report))
	case drain.Replaced, drain.SeatTaken:
		return fmt.Errorf("drain: %s: another socket has this gateway's seat at the connector (%s): stop the other deployment, or "+
			"give this one another GATEWAY_RELAY_ID", report.Status, said(report))
	}
	return fmt.Errorf("drain: %s: it did not dial: see the function's log", report.Status)
}

// said are a report's own words, for people.
func said(report drain.Report) string {
	return terminal.Line(cmp.Or(report.Error, "the line \"drain ended\" of its log says more: dormouse logs"))
}

// tryWakeURL checks from this machine that wake answers at its URL. It sends a HEAD, which starts nothing. No error shows
// the URL's path.
func tryWakeURL(ctx context.Context, raw string) (string, error) {
	if raw == "" {
		return "", errors.New("the wake URL is not known: the function has no GATEWAY_RELAY_WAKE_URL, so nobody can poke it")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", errors.New("the wake URL cannot be used: GATEWAY_RELAY_WAKE_URL is not a URL with a host")
	}
	ctx, cancel := context.WithTimeout(ctx, wakeURLTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, raw, nil)
	if err != nil {
		return "", errors.New("the wake URL cannot be used")
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL
	}
	if err != nil {
		return "", fmt.Errorf("the wake URL at %s does not answer: %w", u.Host, err)
	}
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		return "wake URL at " + u.Host + ": answers", nil
	case http.StatusNotFound, http.StatusForbidden:
		return "", fmt.Errorf("the wake URL at %s leads nowhere (HTTP %d): is it the path of this stack?", u.Host, resp.StatusCode)
	case http.StatusTooManyRequests:
		return "", fmt.Errorf("the wake URL at %s is throttled (HTTP 429): others poke it; try again, and if it stays so, "+
			"deploy another WakePath", u.Host)
	}
	return "", fmt.Errorf("the wake URL at %s answers HTTP %d, want 204: see the wake function's log", u.Host, resp.StatusCode)
}
