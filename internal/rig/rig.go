// Package rig starts a gateway and what surrounds it on one machine: a connector for development, the built functions on
// a local Lambda, and the HTTP API in front of wake. Tests, chaos, bench, the demonstration and dormouse host use it.
//
// Build runs the Go compiler and blocks until it has ended. Start starts servers and their goroutines, invocations start
// processes, and Close ends both and waits for them. All methods may be called from any goroutine. Everything listens on
// loopback, unless the caller brings a listener.
package rig

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/prices"
)

// Names of the functions, unless Config gives others.
const (
	Wake  = "wake"
	Drain = "drain"
)

// Config is what Start needs. Functions are set up as template.yaml does it: what their fields leave zero is taken from
// there, and so are the variables that say where things are, unless Env sets them.
type Config struct {
	Wake  *locallambda.Function // nil: not deployed
	Drain *locallambda.Function // likewise; without DORMOUSE_TABLE one runs at a time, as its lease is in the process
	Host  locallambda.Config    // but for its Functions

	Connector *devconnector.Config             // on loopback; nil: Drain's Env says where another one is
	Before    func(http.Handler) http.Handler  // stands before the connector; nil: nothing does
	Secret    func(string)                     // is told each credential on the way to and from the connector
	Between   func(url string) (string, error) // returns what drain gets as connector URL; nil: the connector's own

	Front    net.Listener // of the wake URL; default a free port of loopback. Start takes it over, also if it fails
	WakePath string       // default /w/ and a random name; other paths are 404
	Deaf     bool         // pokes are answered 202 and start nothing
}

// Rig is what Start has started.
type Rig struct {
	*locallambda.Host
	Connector    *devconnector.Connector // nil if it was not asked for
	ConnectorURL string                  // empty without Connector
	WakeURL      string

	serving sync.WaitGroup
	servers []*http.Server
}

// Start starts everything, or nothing if there is an error.
func Start(cfg Config) (_ *Rig, err error) {
	r := &Rig{}
	defer func() {
		if err != nil {
			r.Close(context.Background())
		}
	}()
	front := cfg.Front
	if front == nil {
		if front, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listening for pokes: %w", err)
		}
	}
	path := cmp.Or(cfg.WakePath, "/w/"+rand.Text())
	r.WakeURL = LocalURL(front) + path
	if err := r.startConnector(cfg); err != nil {
		front.Close()
		return nil, err
	}
	link := r.ConnectorURL
	if cfg.Between != nil {
		if link, err = cfg.Between(link); err != nil {
			front.Close()
			return nil, err
		}
	}
	host := cfg.Host
	host.Functions = functions(cfg, link, r.WakeURL)
	if r.Host, err = locallambda.Start(host); err != nil {
		front.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	switch {
	case cfg.Deaf:
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	case cfg.Wake != nil:
		mux.Handle(path, r.Front(cmp.Or(cfg.Wake.Name, Wake)))
	}
	r.serve(front, mux)
	return r, nil
}

func (r *Rig) startConnector(cfg Config) error {
	if cfg.Connector == nil {
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for gateways: %w", err)
	}
	r.Connector = devconnector.New(*cfg.Connector)
	r.ConnectorURL = LocalURL(listener)
	var handler http.Handler = r.Connector
	if cfg.Before != nil {
		handler = cfg.Before(handler)
	}
	if cfg.Secret != nil {
		handler = Tap(handler, cfg.Secret)
	}
	r.serve(listener, handler)
	return nil
}

func (r *Rig) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	r.servers = append(r.servers, server)
	r.serving.Go(func() { server.Serve(listener) })
}

// functions sets up what is deployed.
func functions(cfg Config, connectorURL, wakeURL string) (list []locallambda.Function) {
	drainName := Drain
	if cfg.Drain != nil {
		drain := *cfg.Drain
		drain.Name = cmp.Or(drain.Name, Drain)
		drain.Memory, drain.Timeout = cmp.Or(drain.Memory, prices.DrainMemory), cmp.Or(drain.Timeout, 15*time.Minute)
		drain.Env = logging(map[string]string{"GATEWAY_RELAY_WAKE_URL": wakeURL})
		if connectorURL != "" {
			drain.Env["GATEWAY_RELAY_URL"] = connectorURL
		}
		maps.Copy(drain.Env, cfg.Drain.Env)
		if drain.Concurrency == 0 && drain.Env["DORMOUSE_TABLE"] == "" {
			drain.Concurrency = 1
		}
		drainName = drain.Name
		list = append(list, drain)
	}
	if cfg.Wake != nil {
		wake := *cfg.Wake
		wake.Name = cmp.Or(wake.Name, Wake)
		wake.Memory, wake.Timeout = cmp.Or(wake.Memory, prices.WakeMemory), cmp.Or(wake.Timeout, 15*time.Second)
		wake.Env = logging(map[string]string{"DORMOUSE_DRAIN_FUNCTION": drainName})
		maps.Copy(wake.Env, cfg.Wake.Env)
		list = append(list, wake)
	}
	return list
}

// logging adds what Lambda sets for a function whose logs are JSON, down to debug.
func logging(env map[string]string) map[string]string {
	env["AWS_LAMBDA_LOG_FORMAT"], env["AWS_LAMBDA_LOG_LEVEL"] = "JSON", "DEBUG"
	return env
}

// Close ends the functions, then the connector, then the servers. What the functions log is complete afterwards.
func (r *Rig) Close(ctx context.Context) error {
	var faults []error
	if r.Host != nil {
		faults = append(faults, r.Host.Close(ctx))
	}
	if r.Connector != nil {
		faults = append(faults, r.Connector.Close(ctx))
	}
	for _, server := range r.servers {
		server.Close()
	}
	r.serving.Wait()
	return errors.Join(faults...)
}

// LocalURL is a listener's URL as this machine reaches it.
func LocalURL(listener net.Listener) string {
	addr := listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Bootstraps are the built functions.
type Bootstraps struct{ Wake, Drain string }

// Find looks for the functions in a folder that make host has built.
func Find(dir string) (Bootstraps, error) {
	for _, name := range []string{Wake, Drain} {
		if _, err := os.Stat(Bootstrap(dir, name)); err != nil {
			return Bootstraps{}, fmt.Errorf("no function %s: %w: run make host, which builds it, or pass --functions", name, err)
		}
	}
	return Bootstraps{Wake: Bootstrap(dir, Wake), Drain: Bootstrap(dir, Drain)}, nil
}

// Bootstrap is where a function is that was built into dir.
func Bootstrap(dir, function string) string { return filepath.Join(dir, function, "bootstrap") }
