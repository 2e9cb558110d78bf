// Command relay measures relay.Conn against bare WebSocket clients on this machine, in this run:
//
//	go run ./bench/relay
//
// The connector is a process of its own and the same for all clients. Each figure is the median of several rounds, in
// which the clients take turns.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	frames  = flag.Int("frames", 200_000, "frames of a pipelined round")
	trips   = flag.Int("trips", 20_000, "round trips of a lock-step round")
	rounds  = flag.Int("rounds", 5, "rounds of each client")
	profile = flag.String("cpuprofile", "", "write the CPU profile of relay.Conn's last pipelined round to this file")

	role     = flag.String("role", "", "for the processes that this one starts: connector or client")
	client   = flag.String("client", "", "conn, gathered or plain")
	url      = flag.String("url", "", "the connector's URL")
	lockstep = flag.Bool("lockstep", false, "send one, wait for its ack")
	sockets  = flag.Int("sockets", 1, "clients that the connector waits for")

	reference = flag.String("reference", "", "measure against the reference gateway's transport instead: NAME=PYTHON, a Python that has it")
	script    = flag.String("script", "bench/relay/reference.py", "what runs that transport")
	uvloop    = flag.Bool("uvloop", false, "the reference's event loop is uvloop")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	var err error
	switch *role {
	case "connector":
		err = serve(os.Stdout)
	case "client":
		err = runClient()
	default:
		if *reference != "" {
			err = compareReference()
		} else {
			err = compare()
		}
	}
	if err != nil {
		log.Fatal(err)
	}
}

func runClient() error {
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer file.Close()
		defer pprof.StopCPUProfile()
	}
	return clients[*client](*url)
}

// compare runs all rounds and prints the figures.
func compare() error {
	pipelined, tripTime := map[string][]float64{}, map[string][]float64{}
	for round := range *rounds {
		order := []string{"conn", "gathered", "plain"}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			runs, err := measure(false, round == *rounds-1, name)
			if err != nil {
				return fmt.Errorf("pipelined, %s: %w", name, err)
			}
			pipelined[name] = append(pipelined[name], float64(*frames)/1e3/runs[name].took.Seconds())
		}
		runs, err := measure(true, false, "conn", "gathered")
		if err != nil {
			return fmt.Errorf("lock-step: %w", err)
		}
		for name, r := range runs {
			tripTime[name] = append(tripTime[name], microseconds(r.took))
		}
	}
	what := fmt.Sprintf("pipelined receive+decode+ack of %d frames of %d bytes", *frames, len(payload))
	print(what, "thousand/s", pipelined, "gathered", "bare gorilla, same decoder, gathered writes", 1.0, true)
	print(what, "thousand/s", pipelined, "plain", "bare gorilla, no decoding, one write per ack", 1.2, true)
	print(tripsOnOneCore(), "µs", tripTime, "gathered", "bare gorilla, same decoder, gathered writes", 1.10, false)
	return nil
}

// tripsOnOneCore says how round trips are measured.
func tripsOnOneCore() string {
	if !pinned() {
		return "lock-step round trip p50, NOT on one core: taskset is missing"
	}
	return "lock-step round trip p50, all processes on one core"
}

// print compares the median round of conn with that of the comparator. The ratio is the median of the rounds' ratios. A
// target of 0 is none.
func print(what, unit string, figures map[string][]float64, comparator, name string, target float64, more bool) {
	var ratios []float64
	for i, figure := range figures["conn"] {
		ratios = append(ratios, figure/figures[comparator][i])
	}
	ratio, bound, verdict := median(ratios), "at most", "pass"
	if more {
		bound = "at least"
	}
	wanted := fmt.Sprintf("%s %.2f", bound, target)
	switch {
	case target == 0:
		wanted, verdict = "none", "-"
	case more && ratio < target, !more && ratio > target:
		verdict = "short"
	}
	fmt.Printf("%s: relay.Conn %.1f %s; %s %.1f; ratio %.3f, target %s: %s\n",
		what, median(figures["conn"]), unit, name, median(figures[comparator]), ratio, wanted, verdict)
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func pinned() bool {
	_, err := exec.LookPath("taskset")
	return err == nil
}

// run is what was measured of one client.
type run struct {
	took  time.Duration // pipelined, from the first frame sent to the last ack; in lock-step, the median round trip
	start time.Duration // from the start of its process to its hello
	peak  float64       // MiB in memory at most
}

// measure runs clients against a new connector and returns what was measured of each of them.
func measure(lockstep, last bool, names ...string) (map[string]run, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := func(args ...string) *exec.Cmd {
		if lockstep && pinned() {
			args = append([]string{"taskset", "-c", "0"}, args...)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stderr = os.Stderr
		return cmd
	}
	self := []string{os.Args[0], fmt.Sprintf("-frames=%d", *frames), fmt.Sprintf("-trips=%d", *trips),
		fmt.Sprintf("-lockstep=%t", lockstep)}
	connector := command(append(self, "-role=connector", fmt.Sprintf("-sockets=%d", len(names)))...)
	out, err := connector.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := connector.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	host := lines.Text()
	running, began := map[string]*exec.Cmd{}, map[string]time.Time{}
	for _, name := range names {
		args := clientCommand(self, name, "ws://"+host+"/"+name+"/relay", last)
		began[name], running[name] = time.Now(), command(args...)
		if err := running[name].Start(); err != nil {
			cancel() // ends the others
			return nil, errors.Join(err, connector.Wait())
		}
	}
	runs := map[string]run{}
	var faults []error
	for lines.Scan() {
		var name string
		var hello, took int64
		if _, err := fmt.Sscan(lines.Text(), &name, &hello, &took); err != nil {
			faults = append(faults, err)
			continue
		}
		if name == referenceClient {
			running[name].Process.Kill() // it does not end by itself
		}
		runs[name] = run{took: time.Duration(took), start: time.Unix(0, hello).Sub(began[name])}
	}
	faults = append(faults, connector.Wait())
	for name, cmd := range running {
		if err := cmd.Wait(); name != referenceClient {
			faults = append(faults, err)
		}
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r := runs[name]
			r.peak = float64(usage.Maxrss) / 1024 // Linux counts KiB
			runs[name] = r
		}
	}
	return runs, errors.Join(faults...)
}

// clientCommand is what runs a client. self is this program with the flags of the measurement.
func clientCommand(self []string, name, url string, last bool) []string {
	if name == referenceClient {
		return referenceCommand(url)
	}
	args := append(slices.Clone(self), "-role=client", "-client="+name, "-url="+url)
	if *profile != "" && last && name == "conn" {
		args = append(args, "-cpuprofile="+*profile)
	}
	return args
}

// payload is an inbound frame of about 450 bytes. Its buffer id always has the same length.
var payload = func() []byte {
	line := `{"type":"inbound","event":{"text":"` + strings.Repeat("lorem ipsum ", 4) + `","message_type":"text",` +
		`"message_id":"1279405817232195665","reply_to_message_id":null,"source":{"platform":"discord",` +
		`"chat_id":"1279405817232195664","chat_type":"group","chat_name":"general","user_id":"301111222233334444",` +
		`"user_name":"Ada","thread_id":null,"chat_topic":null,"scope_id":"900000000000000001",` +
		`"guild_id":"900000000000000001"}},"bufferId":"b-0000000"}` + "\n"
	return []byte(line)
}()

var idAt = bytes.Index(payload, []byte("b-0000000"))
