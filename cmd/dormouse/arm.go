package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

const (
	wakeURLTime = 15 * time.Second
	armingTime  = 16 * time.Minute // a drain may take 15
)

func armCommand() *cli.Command {
	return &cli.Command{
		Name:     "arm",
		Category: categoryDeploy,
		Metadata: example("dormouse arm --stack dormouse"),
		Usage:    "after a deployment: run drain once, and check that the wake URL answers",
		Description: `Invokes the drain function with the reason arm: it provisions, which tells the connector the wake URL,
dials, answers what is waiting and goes idle. Then the wake URL is tried from here, without waking anybody.
Without this, the schedule's first firing arms. AWS is reached as the AWS command line would reach it.`,
		Flags: []cli.Flag{
			stackFlag(),
			&cli.BoolFlag{Name: "wait", Usage: "while another drain is at work, say whose it is, and try again until it is done"},
			&cli.StringFlag{Name: "function", DefaultText: "STACK-drain", Usage: "`NAME` or ARN of its drain function, instead"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			function := cmd.String("function")
			switch stack := cmd.String("stack"); {
			case function == "" && stack == "":
				return misuse(errors.New("which gateway: give --stack or --function"))
			case function == "":
				function = stack + "-drain"
			}
			cloud, err := operatorConfig(ctx)
			if err != nil {
				return err
			}
			client := lambda.NewFromConfig(cloud, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }) // no second drain
			return arm(ctx, client, function, cmd.Bool("wait"), cmd.Root().Writer)
		},
	}
}

// arm runs drain once and checks the wake URL. Its error joins all that is missing.
func arm(ctx context.Context, client *lambda.Client, function string, wait bool, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, armingTime)
	defer cancel()
	variables, err := variablesOf(ctx, client, function)
	if err != nil {
		return err
	}
	var faults []error
	for _, step := range []func() (string, error){
		func() (string, error) {
			for {
				said, err := runDrain(ctx, client, function)
				held, taken := errors.AsType[*takenError](err)
				if !taken || !wait {
					return said, err
				}
				fmt.Fprintf(out, "waiting: %s\n", held)
				select {
				case <-time.After(held.pause()):
				case <-ctx.Done():
					return "", err
				}
			}
		},
		func() (string, error) { return tryWakeURL(ctx, variables["GATEWAY_RELAY_WAKE_URL"]) },
	} {
		said, err := step()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		fmt.Fprintln(out, said)
	}
	if len(faults) > 0 {
		return fmt.Errorf("not armed: %w", errors.Join(faults...))
	}
	if variables["GATEWAY_RELAY_CREDENTIALS_ARN"] != "" {
		fmt.Fprintln(out, "The credentials are pinned, so the connector was not told the wake URL: register it there, if it is not.")
	}
	fmt.Fprintln(out, "armed")
	return nil
}

// takenError says that another drain is at work, and which.
type takenError struct{ drain.Report }

func (e *takenError) Error() string {
	said := "drain: taken: another drain runs for this gateway"
	if e.Holder != "" {
		said += " (" + e.Holder + ")"
	}
	if e.HeldUntil != nil {
		said += ", until " + stamp(*e.HeldUntil) + " unless it renews its lease"
	}
	return said + ": try again when it has ended, or use --wait"
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
	"GATEWAY_RELAY_WAKE_URL", "GATEWAY_RELAY_CREDENTIALS_ARN", "GATEWAY_RELAY_ID", "GATEWAY_RELAY_INSTANCE_ID", "DORMOUSE_TABLE",
}

// shownVariables are those operatorVariables of a deployed function that are set. It returns no others, so that a command
// that works on AWS also works with dormouse host.
func shownVariables(deployed *lambda.GetFunctionConfigurationOutput) map[string]string {
	if deployed.Environment == nil {
		return nil
	}
	maps.DeleteFunc(deployed.Environment.Variables, func(name, _ string) bool { return !slices.Contains(operatorVariables, name) })
	return deployed.Environment.Variables
}

// variablesOf returns those operatorVariables of a deployed function that are set.
func variablesOf(ctx context.Context, client *lambda.Client, function string) (map[string]string, error) {
	deployed, err := lookUp(ctx, client, function)
	if err != nil {
		return nil, err
	}
	return shownVariables(deployed), nil
}

// runDrain invokes drain and says how it ended.
func runDrain(ctx context.Context, client *lambda.Client, function string) (string, error) {
	payload, err := json.Marshal(drain.Request{Reason: ledger.Arm})
	if err != nil {
		return "", err
	}
	answer, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload})
	if err != nil {
		return "", fmt.Errorf("invoking %s: %w", function, err)
	}
	if answer.FunctionError != nil {
		var failure struct {
			Message string `json:"errorMessage"`
		}
		json.Unmarshal(answer.Payload, &failure)
		return "", fmt.Errorf("drain failed (%s): %.500s", aws.ToString(answer.FunctionError), failure.Message)
	}
	var report drain.Report
	if err := json.Unmarshal(answer.Payload, &report); err != nil || report.Status == "" {
		return "", fmt.Errorf("%s did not answer as a drain function does: is it the right one?", function)
	}
	if report.Unflipped > 0 {
		return "", fmt.Errorf("drain: %s, but the connector did not answer going_idle, so it does not buffer: arm again", report.Status)
	}
	if report.Status == drain.HandedOff && report.MS.Descriptor == nil {
		return "", errors.New("drain: handed_off before the connector let it in: see the line \"not connected\" of its log, and arm again")
	}
	switch report.Status {
	case drain.Drained, drain.Empty, drain.HandedOff:
		return fmt.Sprintf("drain: %s, %d received, %d turns", report.Status, report.Received, report.Turns), nil
	case drain.Taken:
		return "", &takenError{report}
	case drain.Disabled:
		return "", errors.New("drain: disabled: the connector has refused this gateway for good; enroll again or have it " +
			"accepted there, then: dormouse enable")
	case drain.Revoked:
		return "", errors.New("drain: revoked: the connector refuses this gateway for good; the line \"revoked\" of its log " +
			"(/aws/lambda/ and its name) says how")
	case drain.IdentityRefused:
		return "", errors.New("drain: identity_refused: the connector does not accept this gateway's identity, and has not for a " +
			"while; dormouse status says what was shown and since when")
	case drain.Replaced, drain.SeatTaken:
		return "", fmt.Errorf("drain: %s: another socket has this gateway's seat at the connector: stop that one, or use another id", report.Status)
	}
	return "", fmt.Errorf("drain: %s: it did not dial: see the function's log", report.Status)
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
