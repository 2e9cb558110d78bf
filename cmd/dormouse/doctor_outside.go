package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/dormouse-relay/dormouse/internal/metrics"
)

// tableSide judges what the table says: lease, messages, pokes, budget. v is what it said before the check.
func (p *deployed) tableSide(ctx context.Context, f *findings, v *view, err error) {
	if err != nil {
		if p.table == "" {
			f.add("table", strange, "there is none: the ledger is in the function's memory", "set DORMOUSE_TABLE: a crash loses what is there")
			return
		}
		f.add("table", bad, "from here: "+err.Error(), tableToDo(err.Error()))
		return
	}
	f.add("table", well, p.table+" can be read", "")
	o := v.overview
	switch {
	case o.Held && !v.Well:
		f.add("lease", bad, "held by "+o.Holder+", who has not renewed it since "+stamp(o.Beat)+": probably dead", v.Do)
	case o.Held:
		f.add("lease", well, "held by "+o.Holder, "")
	case o.Holder != "":
		f.add("lease", bad, "a drain died without giving it back: "+o.Holder, "the check, or the next drain, takes up what it left. If it happens "+
			"again, its log says why: a crash, its time, or its memory")
	default:
		f.add("lease", well, "free", "")
	}
	if v.Unpoked {
		f.add("pokes", bad, "do not arrive: a sweep found messages that no poke had told of (last poke "+stamp(v.Poked)+")",
			"does the connector have this gateway's wake URL? dormouse arm tells it one that provisions; elsewhere register it there")
	} else {
		f.add("pokes", well, "last one: "+stamp(v.Poked), "")
	}
	if day := v.Turns; day != nil {
		f.judge("budget", day.Turns < day.Most, fmt.Sprintf("%d of %d turns today", day.Turns, day.Most),
			"used up: what comes waits until 00:00 UTC; raise DORMOUSE_MAX_TURNS_PER_DAY to go on")
	}
	p.messageSide(ctx, f, v)
}

// tableToDo is what to do about an error of the table.
func tableToDo(said string) string {
	switch {
	case strings.Contains(said, "there is no table"):
		return "deploy again, which makes it, or set DORMOUSE_TABLE to the one that the stack made"
	case strings.Contains(said, "AccessDenied"):
		return "whoever reads it may not: drain's role comes with the template, yours wants dynamodb:GetItem and dynamodb:Query"
	}
	return "is DynamoDB reachable, and does it throttle?"
}

// messageSide judges what waits and what was given up, after the check: it may have answered some.
func (p *deployed) messageSide(ctx context.Context, f *findings, v *view) {
	if after, err := p.view(ctx); err == nil {
		v = after
	}
	switch {
	case len(v.Waiting) > 0:
		first := v.Waiting[0]
		f.add("waiting", strange, fmt.Sprintf("%d messages, the next try at %s: %s", len(v.Waiting), stamp(first.Next), first.Error),
			"dormouse status lists them")
	default:
		f.add("waiting", well, fmt.Sprintf("%d messages", v.Pending), "")
	}
	f.judge("dead", v.Dead == 0, fmt.Sprintf("%d messages were given up", v.Dead),
		"dormouse dead list says why; dead retry puts them back, dead drop forgets them")
}

// platformSide judges what AWS says: concurrency, errors, throttles.
func (p *deployed) platformSide(ctx context.Context, f *findings) {
	if p.local {
		return
	}
	client := lambda.NewFromConfig(p.cloud)
	for _, function := range []string{p.function, p.stack + "-wake"} {
		out, err := client.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: &function})
		switch {
		case err != nil:
			f.add("concurrency", unknown, function+": "+short(err), "may these credentials lambda:GetFunctionConcurrency?")
		case out.ReservedConcurrentExecutions == nil:
			f.add("concurrency", well, function+" reserves none: it shares the account's", "")
		default:
			n := aws.ToInt32(out.ReservedConcurrentExecutions)
			f.judge("concurrency", n > 0, fmt.Sprintf("%s reserves %d", function, n), "with 0 it cannot run: somebody has switched it off")
		}
	}
	if out, err := client.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{}); err == nil && out.AccountLimit != nil {
		n := aws.ToInt32(out.AccountLimit.UnreservedConcurrentExecutions)
		f.judge("account", n > 1, fmt.Sprintf("%d unreserved concurrent executions", n), "nothing is left to run in: ask AWS for a higher limit")
	}
	p.lastHour(ctx, f)
}

// lastHour judges what CloudWatch counted in the last hour.
func (p *deployed) lastHour(ctx context.Context, f *findings) {
	ctx, cancel := context.WithTimeout(ctx, cloudWatchTime)
	defer cancel()
	now := time.Now()
	var list []measured
	for _, function := range []string{p.function, p.stack + "-wake"} {
		for _, name := range []string{"Errors", "Throttles"} {
			list = append(list, measured{"AWS/Lambda", name, "FunctionName", function})
		}
	}
	list = append(list, measured{"AWS/Lambda", "AsyncEventsDropped", "FunctionName", p.function},
		measured{metrics.Namespace, metrics.Lost, metrics.Stack, p.stack})
	got, err := sumOf(ctx, p.cloud, now.Add(-time.Hour), now, list)
	if err != nil {
		f.add("last hour", unknown, short(errors.Unwrap(err)), "may these credentials cloudwatch:GetMetricData?")
		return
	}
	for _, m := range list {
		n := got[m.key()]
		if n == 0 {
			continue
		}
		do := map[string]string{
			"Errors":             "dormouse logs says why it failed",
			"Throttles":          "as many of it run as may: reserve less, or ask AWS for a higher limit. A throttled wake is tried again for 5 minutes",
			"AsyncEventsDropped": "Lambda gave up wakes: the next sweep looks all the same",
			metrics.Lost:         "messages that were received are lost: dormouse logs says why, docs/operations.md, incident 11, what to do",
		}[m.name]
		f.add("last hour", strange, fmt.Sprintf("%s: %.0f %s", m.value, n, m.name), do)
	}
	if sum := got; len(list) > 0 && total(sum) == 0 {
		f.add("last hour", well, "no error, no throttle, no message lost", "")
	}
}

func total(s sums) (n float64) {
	for _, v := range s {
		n += v
	}
	return n
}
