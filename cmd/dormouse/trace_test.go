package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devissuer"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// place is where somebody enrolls: an issuer that stands in for STS, moto's stores, and a connector that verifies.
type place struct {
	*devconnector.Connector
	issuer *devissuer.Issuer
	store  *secretstore.Store
	moto   string
	url    string // the connector's
	env    map[string]string

	mu       sync.Mutex
	canaries map[string]bool
	enrolled func() // runs before an enrollment is answered
}

func newPlace(t *testing.T, enrollments ...string) *place {
	t.Helper()
	is := is.New(t)
	p := &place{moto: os.Getenv("DORMOUSE_TEST_MOTO"), canaries: map[string]bool{}}
	if p.moto == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	is.True(strings.HasPrefix(p.moto, "http://127.0.0.1:")) // no test leaves this machine
	issuing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.issuer.ServeHTTP(w, r) }))
	t.Cleanup(issuing.Close)
	var err error
	p.issuer, err = devissuer.New(issuing.URL)
	is.NoErr(err)
	p.issuer.Audience, p.issuer.ClientID, p.issuer.ClientSecret = "https://connector.example", "client", "canary-of-the-client"

	cfg := devconnector.Config{Preset: devconnector.Hosted(), Enrollments: map[string]string{}, Identify: devconnector.OIDC{
		Issuer: issuing.URL, Audience: p.issuer.Audience, Subject: p.issuer.Subject, Tenant: "acme",
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}.Identify()}
	cfg.Preset.RotationWindow = 0 // what is replaced is refused at once
	for _, token := range enrollments {
		cfg.Enrollments[token] = "acme"
	}
	p.Connector = devconnector.New(cfg)
	relaying := httptest.NewServer(http.HandlerFunc(p.wire))
	t.Cleanup(func() {
		relaying.Close()
		is.NoErr(p.Connector.Close(t.Context()))
	})
	p.url = relaying.URL
	p.store = secretstore.New(aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""), BaseEndpoint: &p.moto,
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	none := filepath.Join(t.TempDir(), "none")
	p.env = map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sk", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-central-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
		"AWS_ENDPOINT_URL": p.moto, "AWS_ENDPOINT_URL_STS": issuing.URL,
		"GATEWAY_RELAY_URL": p.url, "GATEWAY_RELAY_ID": "gw-1",
	}
	return p
}

// wire is the way to the connector. It notes what is secret of what passes.
func (p *place) wire(w http.ResponseWriter, r *http.Request) {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	p.note(token)
	if r.URL.Path != "/relay/enroll" {
		p.Connector.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	p.Connector.ServeHTTP(answer, r)
	var issued struct{ Secret, DeliveryKey string }
	json.Unmarshal(answer.Body.Bytes(), &issued)
	p.note(issued.Secret, issued.DeliveryKey)
	if p.enrolled != nil {
		p.enrolled()
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

func (p *place) note(secrets ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range secrets {
		if secret != "" {
			p.canaries[secret] = true
		}
	}
}

func (p *place) search(t *testing.T, where, text string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for canary := range p.canaries {
		encoded := strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(canary)), "=")
		if strings.Contains(text, canary) || strings.Contains(text, encoded) {
			t.Errorf("%s shows %s: %s", where, canary, text)
		}
	}
}

// enroll runs enroll or rotate as a process of its own, and looks for secrets in stdout, stderr, arguments, environment,
// and files: it has a folder for all that it might write.
func (p *place) enroll(t *testing.T, token string, args ...string) (code int, out, errs string) {
	t.Helper()
	is := is.New(t)
	p.note(token)
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "--token-file", "-")...)
	cmd.Dir, cmd.Stdin = temp, strings.NewReader(token+"\n")
	cmd.Env = []string{"HOME=" + temp, "TMPDIR=" + temp, "GORACE=atexit_sleep_ms=0"}
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	started := make(chan int, 1)
	seen := map[string]string{}
	p.enrolled = func() { // while it runs, all secrets in hand but the new ones
		pid := <-started
		for _, file := range []string{"cmdline", "environ"} {
			raw, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
			seen[file] = string(raw)
		}
	}
	is.NoErr(cmd.Start())
	started <- cmd.Process.Pid
	err := cmd.Wait()
	is.True(err == nil || cmd.ProcessState.ExitCode() == 1)

	if _, err := os.Stat("/proc/self/environ"); err == nil && cmd.ProcessState.ExitCode() == 0 {
		is.True(seen["cmdline"] != "" && seen["environ"] != "")
	}
	p.search(t, "stdout", stdout.String())
	p.search(t, "stderr", stderr.String())
	p.search(t, "the arguments", seen["cmdline"])
	for variable := range strings.SplitSeq(seen["environ"], "\x00") {
		name, _, _ := strings.Cut(variable, "=")
		if name != "GATEWAY_RELAY_IDENTITY_TOKEN" && name != "GATEWAY_RELAY_IDP_CLIENT_SECRET" { // where it was given one
			p.search(t, "the environment", variable)
		}
	}
	is.NoErr(filepath.WalkDir(temp, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("it has written %s", path) // nothing at all goes to disk
		}
		return err
	}))
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestAnEnrollmentLeavesNoTrace(t *testing.T) {
	t.Parallel()
	identities := map[string]func(t *testing.T, p *place) map[string]string{
		"aws": func(_ *testing.T, p *place) map[string]string {
			return map[string]string{"GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": p.issuer.Audience}
		},
		"oidc": func(_ *testing.T, p *place) map[string]string {
			return map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": p.issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
				"GATEWAY_RELAY_IDP_CLIENT_SECRET": p.issuer.ClientSecret}
		},
		"oidc, plain": func(_ *testing.T, p *place) map[string]string {
			return map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": p.issuer.URL + "/token"}
		},
		"oidc, stored": func(t *testing.T, p *place) map[string]string {
			arn, err := p.store.PutSecret(t.Context(), "client-"+rand.Text(), relay.NewSecret(p.issuer.ClientSecret))
			is.New(t).NoErr(err)
			return map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": p.issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
				"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": arn}
		},
		"secret": func(t *testing.T, p *place) map[string]string {
			arn, err := p.store.PutParameter(t.Context(), "/token/"+rand.Text(), relay.NewSecret(p.issuer.Token("ES384", p.issuer.Audience)))
			is.New(t).NoErr(err)
			return map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN_ARN": arn}
		},
		"env": func(_ *testing.T, p *place) map[string]string {
			return map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": p.issuer.Token("RS256", p.issuer.Audience)}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(identities)) {
		for _, flag := range []string{"--parameter", "--secret"} {
			t.Run(name+" "+flag, func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				p := newPlace(t, "canary-of-the-first", "canary-of-the-second")
				p.note(p.issuer.ClientSecret)
				maps.Copy(p.env, identities[name](t, p))
				in := "dormouse/" + rand.Text()
				if flag == "--parameter" {
					in = "/" + in
				}
				code, out, errs := p.enroll(t, "canary-of-the-first", "enroll", flag, in)
				is.Equal(errs, "")
				is.Equal(code, 0)
				is.True(strings.HasPrefix(out, "The connector "+strings.TrimPrefix(p.url, "http://")+" has accepted gw-1, tenant acme.\n"))
				arn := regexp.MustCompile(`(?m)^  CredentialsArn=(arn:aws:(ssm|secretsmanager):\S+)\n  RelayId=gw-1$`).FindStringSubmatch(out)
				is.Equal(arn[2], map[string]string{"--parameter": "ssm", "--secret": "secretsmanager"}[flag])
				first, err := p.store.Get(t.Context(), arn[1])
				is.NoErr(err)

				code, out, errs = p.enroll(t, "canary-of-the-second", "rotate", flag, in)
				is.Equal(errs, "")
				is.Equal(code, 0)
				is.True(strings.Contains(out, arn[1])) // replaced where it is
				second, err := p.store.Get(t.Context(), arn[1])
				is.NoErr(err)
				is.True(first.Reveal() != second.Reveal())

				code, _, errs = p.enroll(t, "canary-of-the-second", "rotate", flag, in)
				is.Equal(code, 1)
				is.Equal(errs, "dormouse: enroll: the connector answered HTTP 403: the enrollment token is invalid, expired, used, or another "+
					"tenant's: ask the connector's operator for a new one (it says: the enrollment token is invalid, used, or another tenant's)\n")
				p.issuer.Subject = "somebody else"
				if name != "secret" && name != "env" { // whose tokens are made already
					code, _, errs = p.enroll(t, "canary-of-the-third", "rotate", flag, in)
					is.Equal(code, 1)
					is.Equal(errs, "dormouse: enroll: the connector answered HTTP 401: the identity was not verified: check the identity "+
						"token's issuer, audience, subject and age (it says: identity not verified)\n")
				}
				again, err := p.store.Get(t.Context(), arn[1])
				is.NoErr(err)
				is.Equal(again, second) // a refusal costs nothing
			})
		}
	}
}

// From an enrollment to an answer, and over a rotation and an opt-out, with the commands that the documentation names.
func TestAnOperatorsWay(t *testing.T) {
	is := is.New(t)
	p := newPlace(t, "canary-1", "canary-2", "canary-3")
	p.note("canary-1", "canary-2", "canary-3")
	table := "way-" + rand.Text()
	client := dynamo.NewClient(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &p.moto, Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	_, err := client.CreateTable(t.Context(), dynamo.Definition(table))
	is.NoErr(err)
	maps.Copy(p.env, map[string]string{
		"AWS_PROFILE": "", "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": p.issuer.Audience,
		"GATEWAY_RELAY_PLATFORMS": "telegram", "GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`, "DORMOUSE_TABLE": table,
		"DORMOUSE_EMPTY_AFTER": "100ms", "DORMOUSE_IDLE_AFTER": "100ms", "DORMOUSE_POKE_COOLDOWN": "0",
	})
	for name, value := range p.env {
		t.Setenv(name, value)
	}
	said := ""
	do := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := dormouse(t.Context(), args...)
		said += out + errs
		if code != want {
			t.Fatalf("%q ended with %d: %s%s", args, code, out, errs)
		}
		return out + errs
	}
	t.Setenv(enrollVariable, "canary-1")
	parameter := "/dormouse/" + rand.Text()
	out := do(0, "enroll", "--parameter", parameter)
	arn := regexp.MustCompile(`CredentialsArn=(\S+)`).FindStringSubmatch(out)[1]
	hosted := func(arn, secret string) *running {
		t.Setenv("GATEWAY_RELAY_CREDENTIALS_ARN", arn)
		t.Setenv("GATEWAY_RELAY_SECRET", secret)
		t.Setenv("DORMOUSE_ALLOW_ENV_SECRETS", "1")
		t.Setenv("GATEWAY_RELAY_IDENTITY", map[bool]string{true: "aws"}[secret == ""])
		host := start(t, "host", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0")
		t.Setenv("AWS_ENDPOINT_URL_LAMBDA", host.until(`AWS_ENDPOINT_URL_LAMBDA=(\S+)`)[1])
		return host
	}
	host := hosted(arn, "")
	is.True(strings.HasPrefix(do(0, "status", "--stack", "local"), "gw-1: never run\n"))
	out = do(0, "arm", "--stack", "local")
	is.True(strings.HasSuffix(out, "so the connector was not told the wake URL: register it there, if it is not.\narmed\n"))
	is.True(strings.HasPrefix(do(0, "status", "--stack", "local"), "gw-1: asleep\n  connector   knows it as gw-1, heard last 2"))

	t.Setenv(enrollVariable, "canary-2") // the old secret is refused from now on, and nothing is deployed
	is.True(strings.Contains(do(0, "rotate", "--parameter", parameter, "--json"), `"replaced": true`))
	is.True(strings.HasPrefix(do(0, "arm", "--stack", "local"), "drain: empty"))

	// A secret in a variable cannot have been replaced meanwhile: its refusal is an opt-out at once, and not after a minute.
	stored, err := p.store.Get(t.Context(), arn)
	is.NoErr(err)
	var credentials struct{ Secret string }
	is.NoErr(json.Unmarshal([]byte(stored.Reveal()), &credentials))
	host.stop()
	logs := host.out.String() + host.errs.String()
	host = hosted("", credentials.Secret)
	is.NoErr(p.Revoke("gw-1"))
	out = do(1, "arm", "--stack", "local")
	is.True(strings.HasPrefix(out, "drain: revoked: 0 received, 0 recovered, 0 answered, 0 died, 0 left\n"+
		"wake URL at "+host.until(`http://(127\.0\.0\.1:\d+)/w/`)[1]+": answers\n"))
	is.True(regexp.MustCompile(`dormouse: not armed: drain: revoked: the connector refuses this gateway for good, and it is off from now on ` +
		`\(drain: .*4401 "[a-z]+"\)\. Have it accepted there, or enroll it anew \(dormouse rotate\), then: dormouse enable, and arm again\n$`).MatchString(out))
	out = do(0, "status", "--stack", "local") // a state of its own, and no error
	is.True(regexp.MustCompile(`^gw-1: disabled since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ
  because     drain: the connector refuses this gateway for good: relay: connector closed the socket: 4401 "[a-z]+"
  so          nothing is dialled, provisioned or retried\. Once the connector accepts it again: dormouse enable, then dormouse arm
`).MatchString(out))
	is.True(strings.Contains(do(1, "arm", "--stack", "local"), "not armed: drain: disabled: the connector has refused this gateway for good"))

	host.stop()
	logs += host.out.String() + host.errs.String()
	host = hosted(arn, "")
	t.Setenv(enrollVariable, "canary-3") // whoever enrolls anew is accepted anew
	do(0, "rotate", "--parameter", parameter)
	is.Equal(do(0, "enable", "--stack", "local"), "gw-1: enabled; see whether it is accepted: dormouse arm\n")
	is.True(strings.HasSuffix(do(0, "arm", "--stack", "local"), "armed\n"))
	host.stop()
	p.search(t, "a command", said)
	p.search(t, "the functions' log", logs+host.out.String()+host.errs.String())
}
