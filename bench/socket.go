package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// printedFigure is a line that bench/relay prints.
var printedFigure = regexp.MustCompile(`^(.+): relay\.Conn ([\d.]+) (\S+); (.+) ([\d.]+); ratio ([\d.]+), target (.+): (pass|short)$`)

// socket is figures (a) and (b), which bench/relay measures.
func (b *bench) socket(ctx context.Context) ([]figure, error) {
	binary := filepath.Join(b.dir, "relay")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./bench/relay")
	build.Dir = b.root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build bench/relay: %w: %s", err, out)
	}
	out, err := output(ctx, b.dir, binary)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for line := range strings.Lines(out) {
		part := printedFigure.FindStringSubmatch(strings.TrimSpace(line))
		if part == nil {
			return nil, fmt.Errorf("bench/relay printed a line that is no figure: %s", line)
		}
		letter := "(a) "
		if strings.HasPrefix(part[1], "lock-step") {
			letter = "(b) "
		}
		f := figure{what: letter + part[1], unit: part[3], comparator: part[4], target: part[7], verdict: met}
		f.measured, f.compared = once(parse(part[2])), once(parse(part[5]))
		f.ratio = parse(part[6])
		if part[8] == "short" {
			f.verdict = short
		}
		figures = append(figures, f)
	}
	return figures, nil
}

// parse is for digits that a pattern has found.
func parse(digits string) float64 {
	value, _ := strconv.ParseFloat(digits, 64)
	return value
}
