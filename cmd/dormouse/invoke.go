package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// settingsError says that a function does not start because of its settings, and names their faults.
type settingsError struct {
	function string
	faults   []string
}

func (e *settingsError) Error() string {
	said := fmt.Sprintf("%s does not start, as its settings have faults:", e.function)
	for _, fault := range e.faults {
		said += "\n  " + fault
	}
	return said + "\nPut them right in the stack's parameters and deploy again (docs/settings.md explains each)"
}

// drainError is how an invocation of drain failed, in its own words.
type drainError struct{ kind, said string }

func (e *drainError) Error() string { return fmt.Sprintf("drain failed (%s): %.600s", e.kind, e.said) }

// invoke runs drain once, for a reason, and waits for its report.
func invoke(ctx context.Context, client *lambda.Client, function string, reason ledger.Reason) (drain.Report, error) {
	payload, err := json.Marshal(drain.Request{Reason: reason})
	if err != nil {
		return drain.Report{}, err
	}
	return invokeWith(ctx, client, function, payload)
}

// invokeWith is invoke with a payload.
func invokeWith(ctx context.Context, client *lambda.Client, function string, payload []byte) (drain.Report, error) {
	answer, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload, LogType: types.LogTypeTail})
	if err != nil {
		return drain.Report{}, notInvoked(function, err)
	}
	if answer.FunctionError != nil {
		if faults := settingsFaults(answer.LogResult); len(faults) > 0 {
			return drain.Report{}, &settingsError{function, faults}
		}
		var failure struct {
			Message string `json:"errorMessage"`
		}
		json.Unmarshal(answer.Payload, &failure)
		return drain.Report{}, &drainError{aws.ToString(answer.FunctionError), failure.Message}
	}
	var report drain.Report
	if err := json.Unmarshal(answer.Payload, &report); err != nil || report.Status == "" {
		return drain.Report{}, fmt.Errorf("%s did not answer as a drain function does: is it the right one?", function)
	}
	return report, nil
}

// notInvoked says why Lambda did not run a function.
func notInvoked(function string, err error) error {
	if _, throttled := errors.AsType[*types.TooManyRequestsException](err); throttled {
		return fmt.Errorf("invoking %s: throttled: as many of it run as may, by its reserved concurrency or the account's limit, which "+
			"dormouse doctor shows; with dormouse host it is one, which ends about a minute after its last message: try again: %w", function, err)
	}
	return fmt.Errorf("invoking %s: %w", function, err)
}

// settingsFaults are the faults of a function's settings that the tail of its log tells of; none if it tells of no such line.
func settingsFaults(tail *string) []string {
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(tail))
	if err != nil {
		return nil
	}
	for text := range strings.Lines(string(raw)) {
		var line struct {
			Message string `json:"message"`
			Error   string `json:"error"`
		}
		if json.Unmarshal([]byte(text), &line) == nil && line.Message == logs.SettingsUnusable {
			return strings.Split(line.Error, "\n")
		}
	}
	return nil
}
