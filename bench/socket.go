package main

import (
	"context"
	"fmt"
	"log"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// printedFigure is a line that bench/relay prints.
var printedFigure = regexp.MustCompile(`^(.+): relay\.Conn ([\d.]+) (\S+); (.+) ([\d.]+); ratio ([\d.]+), target (.+): (pass|short|-)$`)

// socket is figures (a) and (b), which bench/relay measures.
func (b *bench) socket(ctx context.Context) ([]figure, error) {
	binary, err := b.relay(ctx)
	if err != nil {
		return nil, err
	}
	return b.printed(ctx, func(what string) string {
		if strings.HasPrefix(what, "lock-step") {
			return "(b)"
		}
		return "(a)"
	}, binary)
}

// references is figure (j): relay.Conn against the WebSocket transport of the reference gateway, in Python.
func (b *bench) references(ctx context.Context) ([]figure, error) {
	if b.pythons == "" {
		log.Print("    skipped: no Python with hermes-agent; make bench installs it where python3 has venv")
		return nil, nil
	}
	binary, err := b.relay(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for given := range strings.SplitSeq(b.pythons, ",") {
		reference, uvloop := strings.CutSuffix(given, "+uvloop")
		args := []string{binary, "-reference", reference, "-script", filepath.Join(b.root, "bench/relay/reference.py")}
		if uvloop {
			args = append(args, "-uvloop")
		}
		measured, err := b.printed(ctx, func(string) string { return "(j)" }, args...)
		if err != nil {
			return nil, err
		}
		figures = append(figures, measured...)
	}
	return figures, nil
}

// relay builds bench/relay and returns its path.
func (b *bench) relay(ctx context.Context) (string, error) {
	binary := filepath.Join(b.dir, "relay")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./bench/relay")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bench/relay: %w: %s", err, out)
	}
	return binary, nil
}

// printed runs bench/relay and returns the figures that it prints, each under its letter.
func (b *bench) printed(ctx context.Context, letter func(what string) string, command ...string) ([]figure, error) {
	out, err := output(ctx, b.dir, command[0], command[1:]...)
	if err != nil {
		return nil, err
	}
	verdicts := map[string]string{"pass": met, "short": short, "-": free}
	var figures []figure
	for line := range strings.Lines(out) {
		part := printedFigure.FindStringSubmatch(strings.TrimSpace(line))
		if part == nil {
			return nil, fmt.Errorf("bench/relay printed a line that is no figure: %s", line)
		}
		f := figure{what: letter(part[1]) + " " + part[1], unit: part[3], comparator: part[4], target: part[7]}
		f.measured, f.compared = once(parse(part[2])), once(parse(part[5]))
		f.ratio, f.verdict = parse(part[6]), verdicts[part[8]]
		figures = append(figures, f)
	}
	return figures, nil
}

// parse is for digits that a pattern has found.
func parse(digits string) float64 {
	value, _ := strconv.ParseFloat(digits, 64)
	return value
}
