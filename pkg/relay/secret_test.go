package relay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	const canary = "canary-7f3a"
	secret := relay.NewSecret(canary)
	type holder struct {
		Name   string
		Secret relay.Secret
		Ptr    *relay.Secret
		List   []relay.Secret
		Map    map[string]relay.Secret
		hidden relay.Secret
	}
	held := holder{"gw", secret, &secret, []relay.Secret{secret}, map[string]relay.Secret{"a": secret}, secret}

	var printed []string
	failed := fmt.Errorf("no luck with %v: %w", secret, errors.New("x"))
	for _, v := range []any{secret, &secret, held, &held, []any{secret}, failed} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%T"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		printed = append(printed, fmt.Sprint(v), fmt.Sprintln(v))
		raw, err := json.Marshal(v)
		is.New(t).NoErr(err)
		printed = append(printed, string(raw))
		for _, handler := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var log bytes.Buffer
			slog.New(handler(&log)).Info("dial", "secret", v, slog.Group("g", "secret", v))
			printed = append(printed, log.String())
		}
	}
	for _, text := range printed {
		forms := []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))}
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Errorf("prints the secret: %s", text)
			}
		}
	}
}

func TestSecretPrintsAsRedacted(t *testing.T) {
	is := is.New(t)
	secret := relay.NewSecret("s3cret")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		is.Equal(fmt.Sprintf(verb, secret), "[redacted]")
	}
	raw, err := json.Marshal(map[string]any{"secret": secret})
	is.NoErr(err)
	is.Equal(string(raw), `{"secret":"[redacted]"}`)
	is.Equal(fmt.Errorf("token %s", secret).Error(), "token [redacted]")
}

func TestSecretIsReadAndRevealed(t *testing.T) {
	is := is.New(t)
	var v struct{ Secret relay.Secret }
	is.NoErr(json.Unmarshal([]byte(`{"secret":" s3cret\n"}`), &v))
	is.Equal(v.Secret.Reveal(), " s3cret\n") // untrimmed
	is.True(v.Secret == relay.NewSecret(" s3cret\n"))
	is.True(relay.NewSecret("") == (relay.Secret{}))
	is.Equal(relay.Secret{}.Reveal(), "")
}

func TestBlankSecretIsNotUsable(t *testing.T) {
	tests := map[string]bool{"": false, "  \t\n": false, "\u00a0\u2003": false, "\x1c\x1f": false, " x ": true}
	for value, want := range tests {
		t.Run(fmt.Sprintf("%q", value), func(t *testing.T) {
			is.New(t).Equal(relay.NewSecret(value).Usable(), want)
		})
	}
}
