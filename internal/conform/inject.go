package conform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
)

// NewInjector makes an Injector of what a user gives: an http or https URL, below which the kit posts to /deliver, /forward and
// /interrupt as to the development connector's control API, or a command that a shell runs with that word as its argument and
// the body on its standard input.
func NewInjector(given string) Injector {
	if strings.HasPrefix(given, "http://") || strings.HasPrefix(given, "https://") {
		return urlInjector(strings.TrimRight(given, "/"))
	}
	return commandInjector(given)
}

const largestAnswer = 4096

type urlInjector string

func (u urlInjector) Inject(ctx context.Context, what string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(u)+"/"+what, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("conform: --inject: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("conform: --inject: %w", err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("conform: --inject: %s answered HTTP %d: %s", u, resp.StatusCode, bytes.TrimSpace(said))
	}
	return nil
}

type commandInjector string

func (c commandInjector) Inject(ctx context.Context, what string, body []byte) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", string(c)+` "$1"`, "sh", what)
	cmd.Stdin = bytes.NewReader(body)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("conform: --inject: %s %s: %w: %s", string(c), what, err, bytes.TrimSpace(said[:min(len(said), largestAnswer)]))
	}
	return nil
}
