// Command bench measures the figures that docs/benchmarks.md explains, each against its comparator, in one run:
//
//	go run ./bench
//	go run ./bench -only c,d
//
// It builds what it measures with the Makefile's flags. The table goes to stdout at the end. A figure that misses its target
// does not make the run fail.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// bench is one run.
type bench struct {
	root string // of the tree
	dir  string // for the built programs, removed at the end

	pythons string // for figure (j), as the flag has them
}

// parts measure the figures. -only chooses among them by the figures' letters.
var parts = []struct {
	letters string
	what    string
	measure func(*bench, context.Context) ([]figure, error)
}{
	{"ab", "relay.Conn against bare WebSocket clients", (*bench).socket},
	{"c", "start-up", (*bench).startUp},
	{"d", "sizes", (*bench).sizes},
	{"e", "memory", (*bench).memory},
	{"f", "poke to typing", (*bench).pokes},
	{"g", "turns on the DynamoDB ledger", (*bench).ledgers},
	{"h", "an agent's first line", (*bench).firstLines},
	{"i", "turns side by side", (*bench).agentTurns},
	{"j", "relay.Conn against the reference gateway", (*bench).references},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	only := flag.String("only", "a,b,c,d,e,f,g,h,i,j", "figures to measure, a comma list; a and b come together")
	pythons := flag.String("references", "", "for figure (j): Pythons with hermes-agent, NAME=PATH[+uvloop], a comma list")
	client := flag.String("client", "", "for the process that bench starts: be the bare client of the connector at this URL")
	messages := flag.Int("messages", drained, "that the bare client waits for; figure (e) is about the default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *client != "" {
		err = clientProcess(*client, *messages)
	} else {
		err = run(ctx, strings.Split(*only, ","), *pythons)
	}
	if err != nil {
		stop()
		log.Fatal(err)
	}
}

func run(ctx context.Context, letters []string, pythons string) error {
	for _, letter := range letters {
		if len(letter) != 1 || !strings.Contains("abcdefghij", letter) {
			return fmt.Errorf("no figure %q: -only takes letters from a to j, as in -only c,d", letter)
		}
	}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dormouse-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{root: root, dir: dir, pythons: pythons}
	start := time.Now()
	var figures []figure
	for _, part := range parts {
		if !slices.ContainsFunc(letters, func(letter string) bool { return strings.Contains(part.letters, letter) }) {
			continue
		}
		log.Printf("(%s) %s", strings.Join(strings.Split(part.letters, ""), ", "), part.what)
		measured, err := part.measure(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
		figures = append(figures, measured...)
	}
	fmt.Printf("%s; measured in %s\n\n", machine(), time.Since(start).Round(time.Second))
	printTable(os.Stdout, figures)
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	model := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// build compiles a package of the tree with the Makefile's flags for the functions, once in a run.
func (b *bench) build(ctx context.Context, pkg string, env ...string) (string, error) {
	dir := filepath.Join(b.dir, strings.Join(append(env, "build"), "-"))
	return rig.Bootstrap(dir, filepath.Base(pkg)), rig.Build(ctx, b.root, dir, env, pkg)
}

// output runs a command and returns what it prints, without blanks around it.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return strings.TrimSpace(string(out)), nil
}
