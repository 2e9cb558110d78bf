package main

import (
	"context"
	"crypto/rand"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

// running is a command that goes on in this process until stop.
type running struct {
	t     *testing.T
	out   *buffer
	grown chan struct{}
	ended chan int
	errs  *buffer
	end   context.CancelFunc
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	r := &running{t: t, grown: make(chan struct{}, 1), ended: make(chan int, 1), errs: &buffer{}, end: cancel}
	r.out = &buffer{grown: func(string) {
		select {
		case r.grown <- struct{}{}:
		default:
		}
	}}
	go func() {
		r.ended <- run(ctx, append([]string{"dormouse"}, args...), strings.NewReader(""), r.out, r.errs)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// until waits for what the command prints.
func (r *running) until(pattern string) []string {
	r.t.Helper()
	want := regexp.MustCompile(pattern)
	for {
		if match := want.FindStringSubmatch(r.out.String()); match != nil {
			return match
		}
		select {
		case <-r.grown:
		case code := <-r.ended:
			r.ended <- code
			r.t.Fatalf("ended with %d before %s: %s%s", code, pattern, r.out, r.errs)
		}
	}
}

func (r *running) stop() {
	r.end()
	if code := <-r.ended; code != 0 {
		r.t.Errorf("ended with %d: %s", code, r.errs)
	}
	r.ended <- 0
}

// noAccount makes AWS what the tests name, and nothing else.
func noAccount(t *testing.T, more map[string]string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sk", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-central-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_PROFILE": "",
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	for name, value := range more {
		t.Setenv(name, value)
	}
}

// What issuer and connector print is what a gateway needs, word for word, and the connector believes no other token.
func TestAnIdentityCanBeTriedByHand(t *testing.T) {
	noAccount(t, map[string]string{
		clientSecretVariable: "canary-of-the-client", "GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_PLATFORMS": "telegram",
		"GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`, "DORMOUSE_EMPTY_AFTER": "100ms", "DORMOUSE_IDLE_AFTER": "100ms",
		"DORMOUSE_POKE_COOLDOWN": "0",
	})
	is := is.New(t)
	const subject = "arn:aws:iam::123456789012:role/drain"
	issuer := start(t, "issuer", "--listen", "127.0.0.1:0", "--subject", subject, "--audience", "https://connector.example")
	trust := issuer.until(`A connector that trusts it:\n  build/dormouse (.*)\n`)[1]
	is.True(strings.HasSuffix(trust, " --oidc-audience https://connector.example --oidc-subject "+subject))
	connector := start(t, append(append(strings.Fields(trust), "--poke-cooldown", "0s"), loopback[1:]...)...)
	relayURL := connector.until(`GATEWAY_RELAY_URL=(\S+)\n  export GATEWAY_RELAY_IDENTITY=aws `)[1]

	status, _ := request(t, "POST", relayURL+"/relay/provision", defaultIdentity, `{"gatewayId":"gw-1","platform":"telegram"}`)
	is.Equal(status, 401) // dev is no identity where tokens are verified

	set := regexp.MustCompile(`(?m)^  ([A-Z_]+)=(\S+)`)
	settings := map[string]map[string]string{}
	for _, identity := range []string{"aws", "oidc"} {
		block := issuer.until(`(?s)A gateway with identity ` + identity + ` .*?\n\n`)[0]
		settings[identity] = map[string]string{"GATEWAY_RELAY_URL": relayURL}
		for _, match := range set.FindAllStringSubmatch(block, -1) {
			settings[identity][match[1]] = match[2]
		}
	}
	settings["aws"]["GATEWAY_RELAY_IDENTITY_AUDIENCE"] = "https://connector.example" // this connector is not at its own origin
	settings["oidc"]["GATEWAY_RELAY_IDP_CLIENT_SECRET"] = "canary-of-the-client"
	settings["plain"] = map[string]string{"GATEWAY_RELAY_URL": relayURL, "GATEWAY_RELAY_IDP_TOKEN_URL": settings["oidc"]["GATEWAY_RELAY_IDP_TOKEN_URL"]}
	for identity, variables := range settings {
		t.Run(identity, func(t *testing.T) {
			is := is.New(t)
			for name, value := range variables {
				t.Setenv(name, value)
			}
			host := start(t, "host", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0")
			line := host.until(`(?m)^  export AWS_ENDPOINT_URL_LAMBDA=(\S+)\n  build/dormouse (arm .*)$`)
			t.Setenv("AWS_ENDPOINT_URL_LAMBDA", line[1])
			code, out, errs := dormouse(t.Context(), strings.Fields(line[2])...)
			is.Equal(errs, "")
			is.Equal(code, 0)
			is.True(strings.HasPrefix(out, "drain: empty: 0 received, 0 recovered, 0 answered, 0 died, 0 left\nwake URL at 127.0.0.1:"))
			is.True(strings.HasSuffix(out, ": answers\narmed\n"))
			code, out, errs = dormouse(t.Context(), "status", "--stack", "local") // of the table that host has itself
			is.Equal(errs, "")
			is.Equal(code, 0)
			is.True(strings.HasPrefix(out, "gw-1: asleep\n"))

			// The whole way: the connector pokes the wake URL, and the answer comes back.
			curl := connector.until(`(?s)curl (\S+) -d '(.*?)'\n`)
			status, _ := request(t, "POST", curl[1], "", strings.Replace(curl[2], `"message_id":"1"`, `"message_id":"`+identity+`"`, 1))
			is.Equal(status, 200)
			connector.until(`(?m)^\S+  outbound .*send`)
			host.until(`(?m)^drain .*"status":"drained"`)
			host.stop()
			all := host.out.String() + issuer.out.String() + connector.out.String()
			is.True(!strings.Contains(all, "canary"))
			is.True(!strings.Contains(all, "eyJ")) // no token
		})
	}
	is.True(strings.Contains(issuer.out.String(), "  POST /  200\n"))
	is.True(strings.Contains(issuer.out.String(), "  GET  /.well-known/openid-configuration  200\n"))
}

func TestAHostMayBeWithoutATable(t *testing.T) {
	noAccount(t, map[string]string{"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_URL": "http://127.0.0.1:1"})
	is := is.New(t)
	dir := filepath.Join(t.TempDir(), "not made")
	host := start(t, "host", "--no-table", "--dir", dir, "--functions", rigtest.Functions(t), "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0")
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", host.until(`status needs a table(?s:.*)AWS_ENDPOINT_URL_LAMBDA=(\S+)`)[1])
	code, _, errs := dormouse(t.Context(), "status", "--stack", "local")
	is.Equal(code, 1)
	is.Equal(errs, "dormouse: local-drain has no table: its ledger is in its memory and cannot be read from here\n")
	_, err := os.Stat(dir)
	is.True(os.IsNotExist(err))
}

// Somebody may run two of them side by side.
func TestATableThatIsInUseIsReplacedForTheTimeBeing(t *testing.T) {
	noAccount(t, map[string]string{"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_URL": "http://127.0.0.1:1"})
	is := is.New(t)
	t.Chdir(t.TempDir())
	functions := rigtest.Functions(t)
	args := []string{"host", "--functions", functions, "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0"}
	start(t, args...).until(`The table: in .dormouse/host.db\n`)
	second := start(t, args...)
	second.until(`The table: for this time only, .*--dir DIR`)
	code, _, errs := dormouse(t.Context(), append(args, "--dir", ".dormouse")...)
	is.Equal(code, 1) // who names a folder means it
	is.True(strings.Contains(errs, "another process has this table"))
}

func TestHostEndsWithAGoodbye(t *testing.T) {
	noAccount(t, map[string]string{
		"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_PLATFORMS": "telegram", "GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`,
		"GATEWAY_RELAY_IDENTITY_TOKEN": defaultIdentity, "DORMOUSE_ALLOW_ENV_SECRETS": "1", "DORMOUSE_EMPTY_AFTER": "1h",
	})
	connector := start(t, loopback...)
	t.Setenv("GATEWAY_RELAY_URL", connector.until(`GATEWAY_RELAY_URL=(\S+)`)[1])
	host := start(t, "host", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0", "--schedule", "10ms")
	host.until(`"message":"descriptor"`) // the schedule has fired, and drain is at work
	host.stop()
	connector.until(`(?m)^\S+  going_idle_ack `)
	connector.until(`(?m)^\S+  closed .*by gateway  1000$`)
}

// Whoever stops host, by Ctrl-C or otherwise, need not wait for a lease of nobody's: the next drain gets it at once.
func TestAHostThatIsStoppedGivesItsLeaseBack(t *testing.T) {
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	for name, stop := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM} {
		for _, at := range []string{"while it waits", "in a turn"} {
			t.Run(name+" "+at, func(t *testing.T) {
				is := is.New(t)
				table := "host-" + rand.Text()
				asked := make(chan struct{}, 1)
				agent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
					asked <- struct{}{}
					<-r.Context().Done()
				}))
				defer agent.Close()
				noAccount(t, map[string]string{
					"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_PLATFORMS": "telegram", "GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`,
					"GATEWAY_RELAY_IDENTITY_TOKEN": defaultIdentity, "DORMOUSE_ALLOW_ENV_SECRETS": "1", "DORMOUSE_EMPTY_AFTER": "1h",
					"DORMOUSE_TABLE": table, "AWS_ENDPOINT_URL_DYNAMODB": endpoint, "DORMOUSE_AGENT": agent.URL, "DORMOUSE_LEASE": "10m",
				})
				client := dynamo.NewClient(aws.Config{
					Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
				})
				_, err := client.CreateTable(t.Context(), dynamo.Definition(table))
				is.NoErr(err)
				connector := start(t, loopback...)
				t.Setenv("GATEWAY_RELAY_URL", connector.until(`GATEWAY_RELAY_URL=(\S+)`)[1])

				var errs buffer
				cmd := exec.CommandContext(t.Context(), os.Args[0], "host", "--functions", rigtest.Functions(t),
					"--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0", "--schedule", "10ms")
				cmd.Stderr, cmd.Stdout = &errs, io.Discard
				is.NoErr(cmd.Start())
				connector.until(`(?m)^\S+  descriptor `) // the schedule has fired, and drain is at work
				book := dynamo.New(client, table, "gw-1")
				if at == "in a turn" {
					curl := connector.until(`(?s)curl (\S+) -d '(.*?)'\n`)
					status, _ := request(t, "POST", curl[1], "", curl[2])
					is.Equal(status, 200)
					<-asked
				}
				o, err := book.Overview(t.Context())
				is.NoErr(err)
				is.True(o.Held)

				is.NoErr(cmd.Process.Signal(stop))
				is.NoErr(cmd.Wait()) // exit code 0
				is.Equal(errs.String(), "")
				connector.until(`(?m)^\S+  closed .*by gateway  1000$`)
				o, err = book.Overview(t.Context())
				is.NoErr(err)
				is.True(!o.Held)
				next, err := book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "next", Life: time.Minute})
				is.NoErr(err)
				is.True(!next.Grant().TakenOver) // it was given back, and has not run out
			})
		}
	}
}

// The Lambda API asks for no credential: any user of this machine may see what it answers.
func TestTheHostsLambdaAPIShowsNoSecret(t *testing.T) {
	noAccount(t, nil)
	is := is.New(t)
	shown := map[string]string{
		"GATEWAY_RELAY_URL": "http://127.0.0.1:1", "GATEWAY_RELAY_WAKE_URL": "http://127.0.0.1:1/w/x", "GATEWAY_RELAY_CREDENTIALS_ARN": "arn:x", "GATEWAY_RELAY_ID": "gw-1",
		"GATEWAY_RELAY_INSTANCE_ID": "i-1", "DORMOUSE_TABLE": "t",
	}
	env := maps.Clone(shown)
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GATEWAY_RELAY_SECRET", "GATEWAY_RELAY_IDENTITY_TOKEN",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET", "DORMOUSE_AGENT_SECRET", "DORMOUSE_WHATEVER_COMES",
	} {
		env[name] = "canary"
	}
	host, err := hostFunctions(rigtest.Functions(t), "127.0.0.1:0", rig.Config{}, env, io.Discard)
	is.NoErr(err)
	defer func() { is.NoErr(host.Close(context.Background())) }()
	for _, function := range []string{localWake, localDrain} {
		status, body := request(t, "GET", host.URL()+"/2015-03-31/functions/"+function+"/configuration", "", "")
		is.Equal(status, 200)
		is.True(!strings.Contains(body, "canary"))
	}

	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", host.URL())
	cloud, err := operatorConfig(t.Context())
	is.NoErr(err)
	answered, err := lookUp(t.Context(), lambda.NewFromConfig(cloud), localDrain)
	is.NoErr(err)
	got := shownVariables(answered)
	is.Equal(got, shown) // all that arm and status read
}

func TestHostSettingsAreDrainsAlone(t *testing.T) {
	is := is.New(t)
	got := hostSettings(map[string]string{
		"HOME": "/", "GATEWAY_RELAY_URL": "https://c", "SLACK_ALLOW_BOTS": "all", secretVariable: "s", clientSecretVariable: "s",
		enrollVariable: "s", "AWS_LAMBDA_FUNCTION_NAME": "x", "AWS_ENDPOINT_URL_LAMBDA": "y", "AWS_ACCESS_KEY_ID": "AKID",
	}, "http://127.0.0.1:1/w/x")
	is.Equal(got, map[string]string{
		"GATEWAY_RELAY_URL": "https://c", "SLACK_ALLOW_BOTS": "all", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SESSION_TOKEN": "",
		"GATEWAY_RELAY_WAKE_URL": "http://127.0.0.1:1/w/x",
	})
	is.Equal(anyKeys(got), "")
	is.Equal(anyKeys(nil), " AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any")
	for args, want := range map[string]string{
		"host --listen 127.0.0.1:0 --lambda 192.0.2.1:1":      "--lambda is 192.0.2.1:1: want a loopback address",
		"host --listen 127.0.0.1:0 --functions testdata/none": "no function wake",
		"host --listen 127.0.0.1:0 --schedule 0s":             "--schedule is 0s: want more than 0",
		"host --listen 192.0.2.1:1":                           "choose another address with --listen",
		"issuer --listen 192.0.2.1:1":                         "choose another address with --listen",
		"issuer --client-secret-file testdata/none":           "--client-secret-file: open testdata/none",
		"connector --enrollment-token x=":                     "--enrollment-token or $DORMOUSE_CONNECTOR_ENROLLMENT_TOKEN: want TOKEN or TOKEN=TENANT",
	} {
		errs := &buffer{}
		code := run(t.Context(), append([]string{"dormouse"}, strings.Fields(args)...), strings.NewReader(""), io.Discard, errs)
		is.True(code == 1 || code == 2)
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %q", args, errs)
		}
	}
}

// Every command line that the documentation shows is one: its flags exist.
func TestDocumentedCommandsAreCommands(t *testing.T) {
	is := is.New(t)
	command := regexp.MustCompile("build/dormouse ([^`\n]+)")
	checked := 0
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md", "../../examples/*.md", "../../examples/*/*.md"} {
		files, err := filepath.Glob(pattern)
		is.NoErr(err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			is.NoErr(err)
			text := strings.ReplaceAll(string(content), "\\\n", "") // a line that goes on
			for _, match := range command.FindAllStringSubmatch(text, -1) {
				own, _, _ := strings.Cut(match[1], " -- ") // what is behind it is another command's
				code, _, errs := dormouse(t.Context(), append(strings.Fields(own), "--help")...)
				if code != 0 {
					t.Errorf("%s: build/dormouse %s: %s", file, match[1], errs)
				}
				checked++
			}
		}
	}
	is.True(checked > 5)
}
