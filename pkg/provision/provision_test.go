package provision_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	canaryToken  = "canary-identity-t0ken+/="
	canarySecret = "canary-5ecret+/="
)

// seen is what a connector was asked.
type seen struct {
	mu   sync.Mutex
	asks []ask
}

type ask struct {
	Path, Authorization, UserAgent, Proto string
	Body                                  struct{ GatewayID, Platform, BotID, WakeURL, InstanceID string }
}

func (s *seen) record(t *testing.T, r *http.Request) ask {
	a := ask{
		Path: r.Method + " " + r.URL.Path, Authorization: r.Header.Get("Authorization"),
		UserAgent: r.UserAgent(), Proto: r.Proto,
	}
	if err := json.NewDecoder(r.Body).Decode(&a.Body); err != nil {
		t.Error("the request's body:", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, a)
	return a
}

func (s *seen) all() []ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asks)
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func request(platforms ...string) provision.Request {
	req := provision.Request{GatewayID: "gw-1"}
	for _, platform := range platforms {
		req.Fronts = append(req.Fronts, relay.Front{Platform: platform, BotID: platform + "-bot"})
	}
	return req
}

func run(t *testing.T, cfg provision.Config, req provision.Request) (provision.Credentials, error) {
	return provision.New(cfg).Provision(t.Context(), relay.NewSecret(canaryToken), req)
}

func TestFirstPlatformComesFirstAndItsSecretWins(t *testing.T) {
	is := is.New(t)
	var log seen
	others := make(chan struct{}, 2)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		a := log.record(t, r)
		if a.Body.Platform != "discord" {
			if a.Body.Platform == "slack" { // answered only once the third is there too: side by side
				<-others
			} else {
				others <- struct{}{}
			}
		}
		fmt.Fprintf(w, `{"secret":%q,"tenant":"acme","gatewayId":"gw-1"}`, canarySecret+a.Body.Platform)
	})
	req := request("discord", "slack", "telegram")
	req.WakeURL, req.InstanceID = "https://wake.example/w/1", "inst-1"
	creds, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, req)
	is.NoErr(err)
	is.Equal(creds.Secret.Reveal(), canarySecret+"discord")
	is.Equal(creds.GatewayID, "gw-1")
	is.Equal(creds.Tenant, "acme")
	asks := log.all()
	is.Equal(len(asks), 3) // all are answered when Provision returns
	is.Equal(asks[0].Body.Platform, "discord")
	for _, a := range asks {
		is.Equal(a.Path, "POST /relay/provision")
		is.Equal(a.Authorization, "Bearer "+canaryToken)
		is.Equal(a.UserAgent, "dormouse")
		is.Equal(a.Proto, "HTTP/1.1")
		is.Equal(a.Body.GatewayID, "gw-1")
		is.Equal(a.Body.BotID, a.Body.Platform+"-bot")
		is.Equal(a.Body.WakeURL, "https://wake.example/w/1")
		is.Equal(a.Body.InstanceID, "inst-1")
	}
}

func TestOthersAreFreeToFail(t *testing.T) {
	is := is.New(t)
	var log seen
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch log.record(t, r).Body.Platform {
		case "slack":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"no such bot for %s"}`, canaryToken)
		case "telegram":
			io.WriteString(w, `{"secretIssued":false}`)
		default:
			fmt.Fprintf(w, `{"secret":%q}`, canarySecret)
		}
	})
	var lines bytes.Buffer
	creds, err := run(t, provision.Config{
		URL: relay.NewBaseURL(srv.URL), Log: slog.New(slog.NewJSONHandler(&lines, nil)),
	}, request("discord", "slack", "telegram"))
	is.NoErr(err)
	is.Equal(creds.Secret.Reveal(), canarySecret)
	is.Equal(creds.GatewayID, "gw-1")                // the one sent, as none was given
	is.Equal(strings.Count(lines.String(), "\n"), 1) // withheld is no fault
	is.True(strings.Contains(lines.String(), `"platform":"slack"`))
	is.True(strings.Contains(lines.String(), "no such bot"))
	noCanary(t, lines.String())
}

func TestWithheldStillProvisionsTheOthers(t *testing.T) {
	is := is.New(t)
	var log seen
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		log.record(t, r)
		io.WriteString(w, `{"secretIssued":false,"gatewayId":"gw-1"}`)
	})
	creds, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord", "slack"))
	is.True(errors.Is(err, provision.ErrWithheld))
	is.Equal(creds, provision.Credentials{})
	is.Equal(len(log.all()), 2)
}

func TestConnectorMayRenameTheGateway(t *testing.T) {
	is := is.New(t)
	srv := serve(t, answer(http.StatusCreated, `{"secret":"s","gatewayId":"gw-renamed"}`))
	creds, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
	is.NoErr(err)
	is.Equal(creds.GatewayID, "gw-renamed")
}

func TestEachRefusalSaysWhatToDo(t *testing.T) {
	tests := map[int]string{
		http.StatusBadRequest:         "check the gateway id",
		http.StatusUnauthorized:       "check its issuer, audience, subject and age",
		http.StatusForbidden:          "choose another id",
		http.StatusNotFound:           "this connector does not provision: enroll or pin the credentials",
		http.StatusGone:               "enable it again",
		http.StatusTooManyRequests:    "try again later",
		http.StatusBadGateway:         "try again later",
		http.StatusPermanentRedirect:  "without a usable address", // no Location
		http.StatusMultipleChoices:    "without a usable address",
		http.StatusServiceUnavailable: "try again later",
	}
	for status, want := range tests {
		t.Run(http.StatusText(status), func(t *testing.T) {
			is := is.New(t)
			words := "told:\n\x1b[31m" + canaryToken + " " + strings.Repeat("x", 500)
			body, _ := json.Marshal(map[string]string{"error": words})
			srv := serve(t, answer(status, string(body)))
			_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord", "slack"))
			refused, ok := errors.AsType[*provision.StatusError](err)
			is.True(ok)
			is.Equal(refused.Status, status)
			is.True(strings.HasPrefix(refused.Message, "told: [31m[redacted] xxx"))
			is.Equal(len(refused.Message), 200)
			is.True(strings.Contains(err.Error(), want))
			is.True(strings.Contains(err.Error(), fmt.Sprintf("HTTP %d", status)))
			noCanary(t, err.Error())
		})
	}
}

func TestJunkAnswers(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"a page":      {"<html>" + canaryToken + canarySecret, "not a JSON object"},
		"nothing":     {"", "not a JSON object"},
		"a list":      {`["` + canarySecret + `"]`, "not a JSON object"},
		"null":        {"null", "not a JSON object"},
		"two answers": {`{"secret":"` + canarySecret + `"}{}`, "not a JSON object"},
		"no secret":   {`{"gatewayId":"gw-1","canary":"` + canarySecret + `"}`, "neither a secret nor secretIssued"},
		"blank":       {`{"secret":"  "}`, "neither a secret nor secretIssued"},
		"a number":    {`{"secret":12345}`, "neither a secret nor secretIssued"},
		"too large":   {`{"secret":"` + strings.Repeat(canarySecret, 1<<17) + `"}`, "over 1048576 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, answer(http.StatusOK, tt.body))
			_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
			is.True(!errors.Is(err, provision.ErrWithheld))
			noCanary(t, err.Error())
		})
	}
}

func TestUnreadableAnswerIsNotQuoted(t *testing.T) { // net/http quotes what it cannot parse
	is := is.New(t)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 "+canaryToken+"\r\n\r\n")
	})
	_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
	is.True(err != nil && strings.Contains(err.Error(), "malformed"))
	noCanary(t, err.Error())
}

func TestAPartOfTheWakePathIsNotQuotedEither(t *testing.T) {
	const path = "canary-of-the-wake-path"
	for name, said := range map[string]string{
		"instead of a status": "HTTP/1.1 " + path + "\r\n\r\n",
		"as the error":        "HTTP/1.1 400 Bad Request\r\n\r\n" + `{"error":"no such path: ` + path + `"}`,
		"as a redirect":       "HTTP/1.1 307 Go\r\nLocation: http://elsewhere.example/" + path + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				io.WriteString(conn, said)
			})
			req := request("discord")
			req.WakeURL = "https://wake.example/w/" + path
			_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, req)
			is.True(err != nil)
			is.True(!strings.Contains(err.Error(), path))
		})
	}
}

func TestSlowConnectorMeetsTheLimit(t *testing.T) {
	for name, first := range map[string]string{"before the answer": "", "within the answer": `{"secret":`} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if first != "" {
					io.WriteString(w, first)
					http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			_, err := run(t, provision.Config{
				URL: relay.NewBaseURL(srv.URL), Timeout: 50 * time.Millisecond,
			}, request("discord", "slack"))
			is.True(errors.Is(err, context.DeadlineExceeded))
			is.True(strings.Contains(err.Error(), "no whole answer within 50ms"))
			is.True(strings.Contains(err.Error(), srv.URL))
		})
	}
}

func TestCallerMayGiveUp(t *testing.T) {
	is := is.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	client := provision.New(provision.Config{URL: relay.NewBaseURL(srv.URL)})
	_, err := client.Provision(ctx, relay.NewSecret(canaryToken), request("discord"))
	is.True(errors.Is(err, context.Canceled))
	is.True(strings.Contains(err.Error(), "given up"))
}

func TestNobodyThere(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
	is.True(err != nil && strings.Contains(err.Error(), "connect"))
	_, isStatus := errors.AsType[*provision.StatusError](err)
	is.True(!isStatus)
	_, isOp := errors.AsType[*net.OpError](err)
	is.True(isOp) // the cause is there to be matched
}

func TestEveryFaultOfTheCallIsReportedAtOnce(t *testing.T) {
	is := is.New(t)
	_, err := provision.New(provision.Config{}).Provision(t.Context(), relay.NewSecret(" "), provision.Request{})
	is.True(err != nil)
	for _, want := range []string{"connector URL", "identity token", "gateway id", "no front"} {
		is.True(strings.Contains(err.Error(), want))
	}
}

func TestCredentialsFollowNoRedirectElsewhere(t *testing.T) {
	is := is.New(t)
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the other origin was asked") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Location", elsewhere.URL+"/relay/provision?was="+r.Header.Get("Authorization"))
			w.WriteHeader(status)
		})
		_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
		is.True(err != nil && strings.Contains(err.Error(), "redirect to "+elsewhere.URL+" refused"))
		noCanary(t, err.Error())
	}
}

func TestRedirectAtHome(t *testing.T) {
	tests := map[int]string{301: "only 307 and 308", 302: "only 307 and 308", 303: "only 307 and 308", 307: "", 308: ""}
	for status, want := range tests {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			is := is.New(t)
			var log seen
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/relay/provision" {
					http.Redirect(w, r, "/v2/provision", status)
					return
				}
				log.record(t, r)
				io.WriteString(w, `{"secret":"s"}`)
			})
			_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
			if want != "" {
				is.True(err != nil && strings.Contains(err.Error(), want))
				return
			}
			is.NoErr(err)
			asks := log.all()
			is.Equal(len(asks), 1)
			is.Equal(asks[0].Path, "POST /v2/provision")
			is.Equal(asks[0].Authorization, "Bearer "+canaryToken)
			is.Equal(asks[0].Body.GatewayID, "gw-1") // the body went along
		})
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	is := is.New(t)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusPermanentRedirect)
	})
	_, err := run(t, provision.Config{URL: relay.NewBaseURL(srv.URL)}, request("discord"))
	is.True(err != nil && strings.Contains(err.Error(), "more than 3 redirects"))
}

// tlsServer offers HTTP/2, and its dialer brings the TLS up by itself.
func tlsServer(t *testing.T, handler http.HandlerFunc) (*httptest.Server, relay.DialFunc) {
	srv := httptest.NewUnstartedServer(handler)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	return srv, dialer.DialContext
}

func TestTLS(t *testing.T) {
	is := is.New(t)
	var log seen
	srv, dial := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		log.record(t, r)
		io.WriteString(w, `{"secret":"s"}`)
	})
	url := relay.NewBaseURL("wss" + strings.TrimPrefix(srv.URL, "https") + "/relay")
	creds, err := run(t, provision.Config{URL: url, NetDial: dial}, request("discord", "slack"))
	is.NoErr(err)
	is.Equal(creds.Secret.Reveal(), "s")
	is.Equal(log.all()[0].Proto, "HTTP/1.1")

	_, err = run(t, provision.Config{URL: url}, request("discord")) // by itself it trusts the system's roots only
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	is.True(isCertificate)
	noCanary(t, err.Error())
}

func noCanary(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "canary") {
		t.Errorf("a credential shows: %.300s", text)
	}
}

// endlessHeader is a network on which every server answers with a header that has no end. sent is what was read of it.
func endlessHeader(sent *atomic.Int64) relay.DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
				return
			}
			io.WriteString(far, "HTTP/1.1 200 OK\r\n")
			for i := 0; sent.Load() < 4<<20; i++ {
				n, err := fmt.Fprintf(far, "a%x:\r\n", i)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		return near, nil
	}
}

func TestAHeaderWithoutAnEndIsReadToItsLimit(t *testing.T) {
	is := is.New(t)
	var sent atomic.Int64
	_, err := run(t, provision.Config{URL: relay.NewBaseURL("http://connector"), NetDial: endlessHeader(&sent)}, request("discord"))
	is.True(err != nil)
	is.True(sent.Load() < 100<<10)
}
