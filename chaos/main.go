// Command chaos runs the built drain function against the development connector and a DynamoDB server while faults are
// injected at random points, and then checks what docs/design.md promises: every message that was accepted is answered,
// dead or waiting; answered once, unless its process died with an outcome that was not written down; in order; and nothing
// else is left behind.
//
// Whose answer a text is, its first word says: the id of the message, which is session-number. If several messages were one turn,
// the text ends with the ids of the others in brackets: such an answer counts as the answer to each of them. The checker takes
// who belongs together from what was written to the table, and the agent from the turn, so that one holds the other.
//
// A run's seed decides which faults it gets and how often. Processes and timers do not repeat themselves, so the same
// seed makes a similar run, not the same one.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

const (
	region = "us-east-1"
	table  = "chaos"
)

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 50, "how many runs")
	flag.IntVar(&o.parallel, "parallel", 14, "runs side by side")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e9), "of the first run; the next ones count up")
	flag.StringVar(&o.endpoint, "table", os.Getenv("DORMOUSE_TEST_DYNAMODB"), "address of a DynamoDB server on loopback")
	flag.StringVar(&o.drain, "drain", "build/functions/drain/bootstrap", "the drain function for this machine")
	flag.StringVar(&o.until, "until", "", "end well with the first run that fails with this `text`, and badly if none does")
	flag.BoolVar(&o.verbose, "v", false, "print what the functions of a failed run logged")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chaos(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	runs, parallel  int
	seed            uint64
	endpoint, drain string
	until           string
	verbose         bool
}

// figures are what runs add up to, by name.
type figures map[string]int

func (f figures) add(other figures) {
	for name, n := range other {
		f[name] += n
	}
}

func chaos(ctx context.Context, o options) error {
	if !strings.HasPrefix(o.endpoint, "http://127.0.0.1:") {
		return errors.New("-table is no http://127.0.0.1:PORT: make chaos starts a server")
	}
	bootstrap, err := filepath.Abs(o.drain)
	if err != nil {
		return err
	}
	cfg := awsconf.New(map[string]string{
		"AWS_ENDPOINT_URL": o.endpoint, "AWS_REGION": region, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	})
	cfg.HTTPClient = &http.Client{Timeout: 20 * time.Second}
	client := dynamo.NewClient(cfg)
	definition := dynamo.Definition(table)
	if _, err := client.CreateTable(ctx, definition); err != nil {
		return fmt.Errorf("making the table: %w", err)
	}
	defer client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: definition.TableName})

	fmt.Printf("chaos: %d runs, %d side by side, from seed %d\n", o.runs, o.parallel, o.seed)
	s := series{options: o, bootstrap: bootstrap, client: client, faults: figures{}, seen: figures{}}
	start := time.Now()
	s.run(ctx)
	if o.until != "" {
		if !s.found {
			return fmt.Errorf("none of %d runs failed with %q", o.runs, o.until)
		}
		return nil
	}
	fmt.Printf("\nfaults injected\n%s\nwhat came of it, in %s\n%s", s.faults, time.Since(start).Round(time.Second), s.seen)
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.failures > 0 {
		return fmt.Errorf("%d of %d runs failed", s.failures, o.runs)
	}
	return nil
}

// series is runs, some of them side by side.
type series struct {
	options
	bootstrap string
	client    *dynamodb.Client

	mu           sync.Mutex // guards what follows
	faults, seen figures
	failures     int
	found        bool // a run has failed as until says
}

func (s *series) run(ctx context.Context) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	seeds := make(chan uint64)
	var running sync.WaitGroup
	for range s.parallel {
		running.Go(func() {
			for seed := range seeds {
				r := newRun(seed, s.endpoint, s.bootstrap, s.client)
				wrong := r.do(ctx)
				if ctx.Err() == nil && s.note(r, wrong) {
					enough()
				}
			}
		})
	}
feeding:
	for n := range s.runs {
		select {
		case seeds <- s.seed + uint64(n):
		case <-ctx.Done():
			break feeding
		}
	}
	close(seeds)
	running.Wait()
}

// note adds up a run and says what is wrong. enough reports whether no other run is needed.
func (s *series) note(r *run, wrong []string) (enough bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.add(r.injected)
	s.seen.add(r.seen)
	if len(wrong) == 0 {
		return false
	}
	s.failures++
	said := strings.Join(wrong, "\n  ")
	if s.until != "" {
		if s.found = strings.Contains(said, s.until); s.found {
			fmt.Printf("seed %d failed:\n  %s\n", r.seed, said)
		}
		return s.found
	}
	fmt.Printf("seed %d failed (again: -runs 1 -seed %d -v):\n  %s\n", r.seed, r.seed, said)
	if s.verbose {
		fmt.Println(strings.Join(r.log, "\n"))
	}
	return false
}

func (f figures) String() string {
	var b strings.Builder
	names := slices.SortedFunc(maps.Keys(f), func(x, y string) int { return cmp.Or(f[y]-f[x], cmp.Compare(x, y)) })
	for _, name := range names {
		fmt.Fprintf(&b, "%8d  %s\n", f[name], name)
	}
	return b.String()
}
