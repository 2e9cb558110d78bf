package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	starts      = 40 // of each program; a tenth as many before them do not count
	bareIs      = "bare aws-lambda-go function"
	bareRootsIs = "bare function with roots and SIGTERM"
)

// startUp is figure (c): from exec to the first request for an event. The programs are started in turn: drain, a bare
// function, and a bare function that does what every function that dials has to do, one after the other: it loads the
// certificate roots, and registers the extension by which Lambda sends SIGTERM. A fourth one is drain with the newest of the modules that go.mod pins.
func (b *bench) startUp(ctx context.Context) ([]figure, error) {
	programs := []string{"functions/drain", "bench/bare", "bench/bareroots"}
	env := []map[string]string{drainEnvironment("https://connector.example"), nil, nil} // never dialled
	var bins []string
	var err error
	for _, program := range programs {
		bin, err := b.build(ctx, program)
		if err != nil {
			return nil, err
		}
		bins = append(bins, bin)
	}
	if newest := b.newestDrain(ctx); newest != "" {
		programs, bins, env = append(programs, "the newest drain"), append(bins, newest), append(env, env[0])
	}
	for i, bin := range bins {
		if bins[i], err = unpacked(bin); err != nil {
			return nil, err
		}
	}
	took, err := startInTurn(ctx, programs, bins, env)
	if err != nil {
		return nil, err
	}
	f := figure{what: "(c) exec to first request for an event, drain", measured: spreadOf(took[0]), unit: "ms"}
	bare, roots := f.against(bareIs, spreadOf(took[1])), f.against(bareRootsIs, spreadOf(took[2]))
	figures := []figure{bare.atMost(bare.ratio, 3.0, "times"), roots.atMost(roots.ratio, 1.05, "times")}
	if len(programs) > 3 {
		newest := figure{what: "(c) the same with the newest of the pinned modules", measured: spreadOf(took[3]), unit: "ms"}
		figures = append(figures, newest.against("drain as it is", spreadOf(took[0])))
	}
	return figures, nil
}

// unpacked writes a program anew, as the unpacking of a function's archive does, and returns where. The linker writes through a
// memory map, after which the file is in the page cache in single pages: each of the many page faults of a start then costs more,
// for all programs, and most for a large one.
func unpacked(program string) (string, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	return program + ".unpacked", os.WriteFile(program+".unpacked", content, 0o755)
}

// startInTurn starts each program several times and returns how long each start took, in milliseconds.
func startInTurn(ctx context.Context, programs, bins []string, env []map[string]string) ([][]float64, error) {
	api, err := newRuntimeAPI()
	if err != nil {
		return nil, err
	}
	defer api.server.Close()
	took := make([][]float64, len(programs))
	for i := range starts + starts/10 {
		for p, bin := range bins {
			d, err := api.start(ctx, bin, env[p])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", programs[p], err)
			}
			if i >= starts/10 {
				took[p] = append(took[p], milliseconds(d))
			}
		}
	}
	return took, nil
}

// runtimeAPI sees when a function asks for its first event, and never gives it one.
type runtimeAPI struct {
	server *http.Server
	addr   string
	next   chan time.Time
}

func newRuntimeAPI() (*runtimeAPI, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	api := &runtimeAPI{addr: ln.Addr().String(), next: make(chan time.Time, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(_ http.ResponseWriter, r *http.Request) {
		api.next <- time.Now()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "bench")
		io.WriteString(w, "{}")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	api.server = &http.Server{Handler: mux}
	go api.server.Serve(ln)
	return api, nil
}

// start runs the program until it asks for an event, and says how long that took.
func (api *runtimeAPI) start(ctx context.Context, binary string, env map[string]string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + api.addr, "AWS_LAMBDA_FUNCTION_NAME=drain", "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "PATH=/usr/local/bin:/usr/bin:/bin",
	}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case at := <-api.next:
		cancel()
		<-exited
		return at.Sub(began), nil
	case err := <-exited:
		return 0, fmt.Errorf("ended without asking for an event: %w", err)
	}
}

// sizes is figure (d): the functions as they are deployed.
func (b *bench) sizes(ctx context.Context) ([]figure, error) {
	size := func(pkg string) (float64, error) {
		binary, err := b.build(ctx, pkg, "GOOS=linux", "GOARCH=arm64")
		if err != nil {
			return 0, err
		}
		info, err := os.Stat(binary)
		if err != nil {
			return 0, err
		}
		return float64(info.Size()) / 1e6, nil
	}
	bare, err := size("bench/bare")
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, function := range []string{"wake", "drain"} {
		megabytes, err := size("functions/" + function)
		if err != nil {
			return nil, err
		}
		f := figure{what: "(d) stripped arm64 size, " + function, measured: once(megabytes), unit: "MB"}
		f = f.against(bareIs, once(bare))
		if function == "drain" {
			f = f.atMost(megabytes, 11.5, "MB")
		}
		figures = append(figures, f)
	}
	return figures, nil
}
