package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// tellDev prints what somebody who looks at the terminal wants to know, until ctx ends: what the agent prints and how it is,
// and what the functions warn of. All else is on the page.
func tellDev(ctx context.Context, out io.Writer, log *devstage.Log) error {
	for seq := 0; ; {
		events, changed := log.Since(seq)
		for _, e := range events {
			seq = e.Seq
			if line := toldOf(e); line != "" {
				fmt.Fprintln(out, line)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// toldOf is what is printed of an event; empty for most.
func toldOf(e devstage.Event) string {
	switch {
	case e.Agent != nil && e.Agent.Why != "":
		return fmt.Sprintf("agent   is %s: %s", e.Agent.What, terminal.Line(e.Agent.Why))
	case e.Line != nil && e.Line.From == devstage.FromAgent:
		return "agent   " + terminal.Line(e.Line.Text)
	case e.Line != nil:
		var line struct {
			Level slog.Level `json:"level"`
			Msg   string     `json:"message"`
			Error string     `json:"error"`
		}
		if json.Unmarshal([]byte(e.Line.Text), &line) != nil {
			return fmt.Sprintf("%-8s%s", e.Line.From, terminal.Line(e.Line.Text))
		}
		if line.Level >= slog.LevelWarn {
			return fmt.Sprintf("%-8s%s", e.Line.From, terminal.Line(line.Msg+": "+line.Error))
		}
	}
	return ""
}
