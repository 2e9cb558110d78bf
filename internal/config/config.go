// Package config turns environment variables into typed settings, one struct per function. The mains and the command line
// call it at their start. In a function, no other package of ours reads the process environment, and this one does so only
// in Environ.
//
// A value that is empty or blank counts as unset, so a deployment may pass every variable it knows. All faults are
// reported together, each with the variable, what is wrong with its value and what was expected. No error or warning
// shows a secret or a URL.
//
// Nothing here blocks, touches the network or starts a goroutine.
package config

//go:generate go test ../treecheck -run SettingsTable -update

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// secrets are the variables whose values must not be in the environment of a deployed function.
var secrets = []string{"GATEWAY_RELAY_SECRET", "GATEWAY_RELAY_IDENTITY_TOKEN", "GATEWAY_RELAY_IDP_CLIENT_SECRET", "DORMOUSE_AGENT_SECRET"}

// Secrets are the names of the variables that hold secrets, which a deployed function refuses.
func Secrets() []string { return slices.Clone(secrets) }

// Environ returns the process environment, variable to value, as Drain, Wake and awsconf.New take it.
func Environ() map[string]string { return env.ToMap(os.Environ()) }

// Scrub removes the variables that hold secrets from the process environment, so that child processes and dumps do not
// have them. Call it after Environ.
func Scrub() {
	for _, name := range secrets {
		os.Unsetenv(name) // fails for impossible names only
	}
}

// WakeSettings are the wake function's.
type WakeSettings struct {
	DrainFunction string     `env:"DORMOUSE_DRAIN_FUNCTION"`              // name or ARN of what a poke starts
	LogLevel      slog.Level `env:"DORMOUSE_LOG_LEVEL" envDefault:"info"` // least severe level that is logged
}

// wakeVariables adds the variable that holds others.
type wakeVariables struct {
	WakeSettings
	Settings string `env:"DORMOUSE_SETTINGS"`
}

// Wake reads the wake function's settings from environ. The error joins all faults.
func Wake(environ map[string]string) (WakeSettings, error) {
	var v wakeVariables
	s := &v.WakeSettings
	faults := &faultList{}
	values := withSettings(trimmed(environ), WakeVariables(), faults)
	parse(&v, values, faults)
	switch {
	case s.DrainFunction == "":
		faults.add("DORMOUSE_DRAIN_FUNCTION", "is not set; want the name or ARN of the function that a poke starts")
	case !isFunctionName(s.DrainFunction):
		faults.add("DORMOUSE_DRAIN_FUNCTION", "has characters that no function is named with; want a name or an ARN")
	}
	if err := faults.join(); err != nil {
		return WakeSettings{}, err
	}
	return *s, nil
}

// WakeVariables are the names of all variables that Wake reads, sorted.
func WakeVariables() []string { return variables(reflect.TypeFor[wakeVariables]()) }

// Defaults maps each variable that Drain reads to its default as it is written; empty if there is none, or if it is made from others.
func Defaults() map[string]string {
	defaults := map[string]string{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[drainVariables]()) {
		if name := field.Tag.Get("env"); name != "" && name != "-" {
			defaults[name] = field.Tag.Get("envDefault")
		}
	}
	return defaults
}

func variables(settings reflect.Type) []string {
	var names []string
	for _, name := range variableOf(settings) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// variableOf maps the fields of settings, embedded ones included, to the variables that they are read from.
func variableOf(settings reflect.Type) map[string]string {
	names := map[string]string{}
	for _, field := range reflect.VisibleFields(settings) {
		if name := field.Tag.Get("env"); name != "" && name != "-" {
			names[field.Name] = name
		}
	}
	return names
}

// trimmed is environ without blanks around values, secrets excepted, and without values that are blank.
func trimmed(environ map[string]string) map[string]string {
	values := make(map[string]string, len(environ)) // never nil: env would read the process environment instead
	for name, value := range environ {
		switch bare := strings.TrimSpace(value); {
		case bare == "":
		case slices.Contains(secrets, name):
			values[name] = value
		default:
			values[name] = bare
		}
	}
	return values
}

// parse fills the struct that settings points to from values and reports what could not be parsed.
func parse(settings any, values map[string]string, found *faultList) {
	err := env.ParseWithOptions(settings, env.Options{Environment: values})
	all, _ := errors.AsType[env.AggregateError](err)
	names := variableOf(reflect.TypeOf(settings).Elem())
	for _, err := range all.Errors {
		fault, ok := errors.AsType[env.ParseError](err)
		if !ok {
			found.errs = append(found.errs, err) // a tag that env does not know: our own mistake
			continue
		}
		name := names[fault.Name]
		found.add(name, "is %.40q; want %s", values[name], expected(fault.Type))
	}
}

// expected says what a value of a type looks like. Types that are not here take any text.
func expected(kind reflect.Type) string {
	switch kind {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 20s or 5m"
	case reflect.TypeFor[slog.Level]():
		return "debug, info, warn or error"
	default:
		return "a whole number"
	}
}

// faultList gathers at most one fault for each variable.
type faultList struct {
	names []string
	errs  []error
}

func (f *faultList) add(name, format string, args ...any) {
	if slices.Contains(f.names, name) {
		return
	}
	f.names = append(f.names, name)
	f.errs = append(f.errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
}

func (f *faultList) join() error { return errors.Join(f.errs...) }
