// Package metrics writes what a run came to in CloudWatch's embedded metric format: one line of the log, out of which
// CloudWatch makes metrics. There is no request for it, and nothing to be reached.
//
// A metric costs by the hour in which it has a value. So a line has only what is not zero, the dimensions are the stack and,
// for one metric, how the run ended, and a run that was not due writes none.
//
// It starts no goroutines and blocks on nothing but the handler that it is given.
package metrics

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

// Namespace is the metrics' own. Stack and Status are the dimensions: the deployed stack's name, and how a run ended.
const (
	Namespace = "Dormouse"
	Stack     = "Stack"
	Status    = "Status"
)

// Names of metrics. Definitions says what each counts.
const (
	Drains          = "Drains"
	Wakes           = "Wakes"
	Coalesced       = "CoalescedPokes"
	PokeToAck       = "PokeToFirstAck"
	PokeToReply     = "PokeToFirstReply"
	Received        = "Received"
	Answered        = "Answered"
	Refused         = "Refused"
	RefusedPrefix   = "Refused" // and a class, with a capital
	Cosmetic        = "RefusedCosmetic"
	Dead            = "Dead"
	Waiting         = "Waiting"
	OldestWaiting   = "OldestWaiting"
	Unknown         = "Unknown"
	Unwritten       = "Unwritten"
	Limited         = "Limited"
	Postponed       = "Postponed"
	Overflowed      = "Overflowed"
	Lost            = "Lost"
	Revoked         = "Revoked"
	IdentityRefused = "IdentityRefused"
	Malformed       = "MalformedFrames"
	BilledSeconds   = "BilledSeconds"
)

// Units of CloudWatch's.
const (
	Count        = "Count"
	Seconds      = "Seconds"
	Milliseconds = "Milliseconds"
)

// Definition is a metric.
type Definition struct {
	Name, Unit string
	By         []string // its dimensions
}

// Definitions are all metrics, in the order of a line.
func Definitions() []Definition {
	list := []Definition{{Drains, Count, []string{Stack, Status}}}
	for _, m := range [][2]string{
		{Wakes, Count}, {Coalesced, Count}, {PokeToAck, Milliseconds}, {PokeToReply, Milliseconds}, {Received, Count},
		{Answered, Count}, {Refused, Count}, {Class("transient"), Count}, {Class("declined"), Count}, {Class("permanent"), Count},
		{Class("markup"), Count}, {Class("unclear"), Count}, {Class("unknown"), Count}, {Class("done"), Count}, {Cosmetic, Count},
		{Dead, Count}, {Waiting, Count}, {OldestWaiting, Seconds}, {Unknown, Count}, {Unwritten, Count}, {Limited, Count},
		{Postponed, Count}, {Overflowed, Count}, {Lost, Count}, {Revoked, Count}, {IdentityRefused, Count}, {Malformed, Count}, {BilledSeconds, Seconds},
	} {
		list = append(list, Definition{m[0], m[1], []string{Stack}})
	}
	return list
}

// Class is the metric of the refusals of a class.
func Class(class string) string {
	if class == "" {
		return RefusedPrefix
	}
	return RefusedPrefix + strings.ToUpper(class[:1]) + class[1:]
}

// Values are what a run came to, by the name of the metric.
type Values map[string]float64

type metadata struct {
	Timestamp         int64 // Unix milliseconds
	CloudWatchMetrics []directive
}

type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []metric
}

type metric struct{ Name, Unit string }

// Log writes the line of a run of a stack that ended as status at a time. It passes by the handler's level: who wants fewer
// lines wants the metrics all the same. What is zero is left out.
func Log(ctx context.Context, h slog.Handler, at time.Time, stack, status string, v Values) error {
	line := slog.NewRecord(at, slog.LevelInfo, logs.Metrics, 0)
	byStack := directive{Namespace: Namespace, Dimensions: [][]string{{Stack}}}
	byStatus := directive{Namespace: Namespace, Dimensions: [][]string{{Stack, Status}}}
	line.AddAttrs(slog.String(Stack, stack), slog.String(Status, status))
	for _, d := range Definitions() {
		value := v[d.Name]
		if value == 0 {
			continue
		}
		line.AddAttrs(slog.Float64(d.Name, value))
		to := &byStack
		if len(d.By) > 1 {
			to = &byStatus
		}
		to.Metrics = append(to.Metrics, metric{d.Name, d.Unit})
	}
	about := metadata{Timestamp: at.UnixMilli()}
	for _, d := range []directive{byStack, byStatus} {
		if len(d.Metrics) > 0 {
			about.CloudWatchMetrics = append(about.CloudWatchMetrics, d)
		}
	}
	if len(about.CloudWatchMetrics) == 0 {
		return nil
	}
	line.AddAttrs(slog.Any("_aws", about))
	return h.Handle(ctx, line)
}

// StackOf is the name of the stack whose drain function has this name; the function's own for one that no template made.
func StackOf(function string) string {
	if function == "" {
		return "local"
	}
	return strings.TrimSuffix(function, "-drain")
}
