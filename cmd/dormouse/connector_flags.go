package main

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// connectorFlags reads the flags of dormouse connector and collects what is wrong with them.
type connectorFlags struct {
	*cli.Command
	faults []error
}

// connectorConfig reads the flags. It reports every fault at once, joined.
func connectorConfig(cmd *cli.Command) (devconnector.Config, error) {
	f := &connectorFlags{Command: cmd}
	cfg := devconnector.Config{Preset: f.preset(), Anonymous: f.String("anonymous")}
	f.checkControl()
	cfg.Enrollments = f.tenants("enrollment-token", redeemVariable)
	if f.String("oidc-issuer") == "" || f.IsSet("identity-token") { // with an issuer, the default token "dev" is not accepted
		cfg.Identities = f.tenants("identity-token", identityVariable)
	}
	cfg.Identify = f.identify()
	cfg.Gateways = f.gateways()
	if len(cfg.Gateways) == 0 && f.String("wake-url") != "" {
		f.fault("--wake-url is set without --gateway or --anonymous: a gateway that provisions names its wake URL itself")
	}
	if len(cfg.Gateways) == 0 && cfg.Preset.Name != "" && cfg.Preset.Provision == devconnector.ProvisionNone && !cfg.Preset.NoCredentials {
		f.fault("the preset %s does not provision, so no gateway can dial: add --gateway or --anonymous", cfg.Preset.Name)
	}
	return cfg, errors.Join(f.faults...)
}

func (f *connectorFlags) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Errorf(format, args...))
}

func (f *connectorFlags) preset() devconnector.Preset {
	preset, err := devconnector.PresetOf(f.String("preset"))
	if err != nil {
		f.fault("--preset: %w", err)
	}
	if f.IsSet("poke-cooldown") {
		if preset.PokeCooldown = f.Duration("poke-cooldown"); preset.PokeCooldown < 0 {
			f.fault("--poke-cooldown is %v: want 0 or more", preset.PokeCooldown)
		}
	}
	if f.IsSet("window") {
		if preset.Window = f.Int("window"); preset.Window < 0 {
			f.fault("--window is %d: want 0 or more", preset.Window)
		}
		preset.WindowPerChat = false
	}
	return preset
}

// checkControl refuses a control API that is not on loopback.
func (f *connectorFlags) checkControl() {
	if addr, err := net.ResolveTCPAddr("tcp", f.String("control")); err != nil {
		f.fault("--control: %w: want an address such as 127.0.0.1:8788", err)
	} else if !addr.IP.IsLoopback() {
		f.fault("--control is %s: want a loopback address, such as 127.0.0.1:8788", f.String("control"))
	}
}

// tenants reads a flag of tokens, which may be repeated, and returns token to tenant.
func (f *connectorFlags) tenants(flag, variable string) map[string]string {
	tokens := map[string]string{}
	for _, given := range f.StringSlice(flag) {
		token, tenant := given, "dev"
		if at := strings.LastIndex(given, "="); at >= 0 {
			token, tenant = given[:at], given[at+1:]
		}
		if token == "" || tenant == "" {
			f.fault("--%s or $%s: want TOKEN or TOKEN=TENANT, neither of them empty", flag, variable)
		}
		tokens[token] = tenant
	}
	return tokens
}

// identify returns what verifies an issuer's tokens; nil if no issuer is given.
func (f *connectorFlags) identify() devconnector.IdentifyFunc {
	issuer, audience, subject := f.String("oidc-issuer"), f.String("oidc-audience"), f.String("oidc-subject")
	switch {
	case issuer != "" && audience != "":
		return devconnector.OIDC{Issuer: issuer, Audience: audience, Subject: subject}.Identify()
	case issuer != "" || audience != "" || subject != "":
		f.fault("--oidc-issuer and --oidc-audience belong together: give both")
	}
	return nil
}

// gateways are those that need not provision. They start asleep, as between two drains: a message that comes before the
// first dial is buffered, and the connector pokes.
func (f *connectorFlags) gateways() (list []devconnector.Gateway) {
	secret, err := secretFrom("--secret-file", f.String("secret-file"), secretVariable)
	wakeURL, pinned, anonymous := f.String("wake-url"), f.String("gateway"), f.String("anonymous")
	switch {
	case err != nil:
		f.faults = append(f.faults, err)
	case pinned != "" && !secret.Usable():
		f.fault("--gateway has no secret: give it in --secret-file or $%s", secretVariable)
	case pinned == "" && secret.Usable():
		f.fault("--secret-file or $%s is set without --gateway: name the gateway whose secret it is", secretVariable)
	case pinned != "":
		list = append(list, devconnector.Gateway{ID: pinned, Secrets: []relay.Secret{secret}, WakeURL: wakeURL, Asleep: true})
	}
	if anonymous != "" && anonymous != pinned {
		list = append(list, devconnector.Gateway{ID: anonymous, WakeURL: wakeURL, Asleep: true})
	}
	return list
}
