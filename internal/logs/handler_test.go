package logs_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

// requestIDs is what aws-lambda-go's handler does with a line, whose output is the process's own.
type requestIDs struct{ slog.Handler }

func (h requestIDs) Handle(ctx context.Context, r slog.Record) error {
	if c, ok := lambdacontext.FromContext(ctx); ok {
		r.AddAttrs(slog.String("requestId", c.AwsRequestID))
	}
	return h.Handler.Handle(ctx, r)
}

func (h requestIDs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestIDs{h.Handler.WithAttrs(attrs)}
}

func TestALineSaysWhoseInvocationItIs(t *testing.T) {
	is := is.New(t)
	var out bytes.Buffer
	log := slog.New(logs.At(requestIDs{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})}, slog.LevelInfo))
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "r-1"})
	of := logs.Of(ctx, log).With("epoch", 7)
	of.Info("without a context")
	is.True(strings.Contains(out.String(), `msg="without a context" epoch=7 requestId=r-1`))
	out.Reset()
	of.InfoContext(lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "r-2"}), "of another")
	is.True(strings.Contains(out.String(), "requestId=r-2"))
	is.Equal(strings.Count(out.String(), "requestId"), 1)
	out.Reset()
	of.Debug("below the level")
	is.Equal(out.String(), "")
	logs.Of(t.Context(), log).Info("outside of Lambda")
	is.True(!strings.Contains(out.String(), "requestId"))
}
