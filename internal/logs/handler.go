package logs

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// At returns a handler that drops the lines below a level and gives the others to h. Lambda's own level is left at debug by
// the template, so that DORMOUSE_LOG_LEVEL alone decides.
func At(h slog.Handler, level slog.Level) slog.Handler { return &leveled{h, level} }

type leveled struct {
	slog.Handler
	level slog.Level
}

func (h *leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

func (h *leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &leveled{h.Handler.WithAttrs(attrs), h.level}
}

func (h *leveled) WithGroup(name string) slog.Handler {
	return &leveled{h.Handler.WithGroup(name), h.level}
}

// Of returns a logger for what one invocation does: a line that is logged without the invocation's context gets it, and with
// it the request id that aws-lambda-go's handler adds.
func Of(ctx context.Context, log *slog.Logger) *slog.Logger {
	invocation, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return log
	}
	return slog.New(&invoked{log.Handler(), invocation})
}

type invoked struct {
	slog.Handler
	invocation *lambdacontext.LambdaContext
}

func (h *invoked) Handle(ctx context.Context, r slog.Record) error {
	if _, ok := lambdacontext.FromContext(ctx); !ok {
		ctx = lambdacontext.NewContext(ctx, h.invocation)
	}
	return h.Handler.Handle(ctx, r)
}

func (h *invoked) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &invoked{h.Handler.WithAttrs(attrs), h.invocation}
}

func (h *invoked) WithGroup(name string) slog.Handler {
	return &invoked{h.Handler.WithGroup(name), h.invocation}
}
