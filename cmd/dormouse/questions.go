package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// question is one of the five. take checks an answer and puts it into the parameters; try needs the network for it, and says
// what it found.
type question struct {
	flag, text string
	given      string // by flags
	now        string // what holds if nothing is answered
	take       func(answer string) error
	try        func(context.Context) (string, error)
}

func (p *preparation) questions(cloud aws.Config) []question {
	probe := &probe{preparation: p, cloud: cloud}
	return []question{
		{
			"--connector", "The connector's URL (its operator tells it)", p.cmd.String("connector"), p.parameters["RelayUrl"],
			p.takeConnector, probe.connector,
		}, {
			"--bot", "Platforms and bot ids, for instance discord=1234,telegram=5678 (a platform alone if its connector wants no id)",
			strings.Join(p.cmd.StringSlice("bot"), ","), p.botsNow(), p.takeBots, nil,
		}, {
			"--agent", "Who answers: echo, an https:// URL, or lambda: and a function's name", p.cmd.String("agent"),
			cmp.Or(p.parameters["Agent"], "echo"), p.takeAgent, probe.agent,
		}, {
			"--identity", "Identity: aws, oidc TOKEN_URL CLIENT_ID SECRET_ARN, pinned CREDENTIALS_ARN, or none", p.identityGiven(),
			p.identityNow(), p.takeIdentity, probe.identity,
		}, {
			"--alarms", "Where alarms go: an e-mail address, the ARN of an SNS topic, or none", p.cmd.String("alarms"),
			cmp.Or(p.parameters["Alarms"], "none"), p.takeAlarms, nil,
		},
	}
}

// answer answers a question: by its flag, with --yes by what holds already, else by asking until the answer is good.
func (p *preparation) answer(ctx context.Context, q question) error {
	answer, quiet := q.given, p.cmd.Bool("yes")
	if answer == "" && quiet {
		answer = q.now
	}
	if answer != "" || quiet {
		if err := q.take(answer); err != nil {
			return misuse(fmt.Errorf("%s: %w", q.flag, err))
		}
		return p.tried(ctx, q, quiet)
	}
	now, doubted := q.now, false
	for {
		answer, err := p.ask(q, now, doubted)
		if err != nil {
			return err
		}
		if err := q.take(answer); err != nil {
			fmt.Fprintf(p.out, "  %s\n", terminal.Line(err.Error()))
			continue
		}
		if q.try == nil || doubted && answer == now {
			return nil
		}
		said, err := p.try(ctx, q)
		if err == nil {
			p.tell(said)
			return nil
		}
		fmt.Fprintf(p.out, "  %s\n", terminal.Line(err.Error()))
		now, doubted = answer, true
	}
}

// tried tries an answer that a flag gave: a fault ends the run, or is only a warning.
func (p *preparation) tried(ctx context.Context, q question, quiet bool) error {
	if q.try == nil {
		return nil
	}
	said, err := p.try(ctx, q)
	switch {
	case err == nil:
		p.tell(said)
	case quiet:
		p.warn("%s", terminal.Line(err.Error()))
	default:
		return found(fmt.Errorf("%s: %w; to go on all the same: --yes", q.flag, err))
	}
	return nil
}

func (p *preparation) try(ctx context.Context, q question) (string, error) {
	return during(p.errs, "trying "+strings.TrimPrefix(q.flag, "--"), func() (string, error) { return q.try(ctx) })
}

func (p *preparation) tell(said string) {
	if said != "" {
		fmt.Fprintf(p.out, "  %s\n", terminal.Line(said))
	}
}

// ask prints a question and reads the line behind it. An empty line is the answer in brackets.
func (p *preparation) ask(q question, now string, doubted bool) (string, error) {
	hint := ""
	switch {
	case doubted:
		hint = " [Enter keeps " + now + "]"
	case now != "":
		hint = " [" + now + "]"
	}
	fmt.Fprintf(p.out, "%s%s: ", q.text, hint)
	line, err := p.in.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", misuse(fmt.Errorf("no answer: give %s, or --yes for what is set or usual", q.flag))
	}
	return cmp.Or(strings.TrimSpace(line), now), nil
}

func (p *preparation) takeConnector(answer string) error {
	if answer == "" {
		return errors.New("want the connector's base URL, such as https://connector.example")
	}
	return p.takeAll(map[string]string{"RelayUrl": answer})
}

// takeAll puts values into the parameters if CloudFormation and drain would take them. What is empty is left out.
func (p *preparation) takeAll(values map[string]string) error {
	with := map[string]string{"RelayUrl": cmp.Or(p.parameters["RelayUrl"], "https://connector.example"), "Identity": "none"}
	for name, value := range values {
		if value != "" {
			with[name] = value
			if fault := p.template.fault(name, value); fault != "" {
				return errors.New(fault)
			}
		}
	}
	if _, err := p.template.settings(p.stack, with); err != nil {
		return err
	}
	for name, value := range values {
		if p.parameters[name] = value; value == "" {
			delete(p.parameters, name)
		}
	}
	return nil
}

func (p *preparation) takeBots(answer string) error {
	var platforms, ids []string
	for part := range strings.SplitSeq(answer, ",") {
		platform, id, _ := strings.Cut(strings.TrimSpace(part), "=")
		platform, id = strings.TrimSpace(platform), strings.TrimSpace(id)
		switch {
		case platform == "" && id == "":
			continue
		case platform == "" || strings.ContainsAny(platform, " \t{}\":"):
			return errors.New("want PLATFORM=ID, several separated by commas, for instance discord=1234,telegram=5678")
		}
		if !slices.Contains(platforms, platform) {
			platforms = append(platforms, platform)
		}
		if id != "" {
			ids = append(ids, platform+"="+id)
		}
	}
	return p.takeAll(map[string]string{"Platforms": strings.Join(platforms, ","), "BotIds": strings.Join(ids, ",")})
}

// botsNow is what the parameters say already, in the form of an answer.
func (p *preparation) botsNow() string {
	s, err := p.template.settings("s", map[string]string{
		"RelayUrl": "https://connector.example", "Identity": "none", "Platforms": p.parameters["Platforms"], "BotIds": p.parameters["BotIds"],
	})
	if err != nil || p.parameters["Platforms"] == "" {
		return ""
	}
	var parts []string
	for _, front := range s.Fronts {
		parts = append(parts, strings.TrimSuffix(front.Platform+"="+front.BotID, "="))
	}
	return strings.Join(parts, ",")
}

func (p *preparation) takeAgent(answer string) error {
	if answer == "echo" {
		answer = ""
	}
	return p.takeAll(map[string]string{"Agent": answer, "AgentSecretArn": cmp.Or(p.cmd.String("agent-secret-arn"), p.parameters["AgentSecretArn"])})
}

func (p *preparation) identityGiven() string {
	switch kind := p.cmd.String("identity"); kind {
	case "oidc":
		return strings.TrimSpace(strings.Join([]string{
			kind, p.cmd.String("idp-token-url"), p.cmd.String("idp-client-id"), p.cmd.String("idp-client-secret-arn"),
		}, " "))
	case "pinned":
		return strings.TrimSpace(kind + " " + p.cmd.String("credentials-arn"))
	default:
		return kind
	}
}

func (p *preparation) identityNow() string {
	switch {
	case p.parameters["CredentialsArn"] != "":
		return "pinned " + p.parameters["CredentialsArn"]
	case p.parameters["IdpTokenUrl"] != "":
		return strings.Join(strings.Fields("oidc "+p.parameters["IdpTokenUrl"]+" "+p.parameters["IdpClientId"]+" "+p.parameters["IdpClientSecretArn"]), " ")
	}
	return cmp.Or(p.parameters["Identity"], "aws")
}

// identityWords is how many words an answer has at most, by its first.
var identityWords = map[string]int{"aws": 1, "none": 1, "secret": 1, "oidc": 4, "pinned": 2}

func (p *preparation) takeIdentity(answer string) error {
	words := strings.Fields(answer)
	if len(words) == 0 || len(words) > identityWords[words[0]] {
		return fmt.Errorf("%.60q: want aws, oidc, pinned or none, and what belongs to it", answer)
	}
	words = append(words, "", "", "")
	values := map[string]string{"Identity": words[0], "CredentialsArn": "", "IdpTokenUrl": "", "IdpClientId": "", "IdpClientSecretArn": ""}
	switch words[0] {
	case "secret":
		if p.parameters["IdentityTokenArn"] == "" {
			return errors.New("secret wants --parameter IdentityTokenArn=ARN, where the identity token is stored")
		}
	case "oidc":
		if words[1] == "" {
			return errors.New("oidc wants a token endpoint, and a client id and the ARN of its secret unless it gives tokens to everybody " +
				"(--idp-token-url, --idp-client-id, --idp-client-secret-arn)")
		}
		values["IdpTokenUrl"], values["IdpClientId"], values["IdpClientSecretArn"] = words[1], words[2], words[3]
	case "pinned":
		if words[1] == "" {
			return errors.New("pinned wants the ARN of the credentials, which dormouse enroll stores and prints (--credentials-arn)")
		}
		values["Identity"], values["CredentialsArn"] = "", words[1]
	}
	return p.takeAll(values)
}

func (p *preparation) takeAlarms(answer string) error {
	if answer == "none" {
		answer = ""
	}
	return p.takeAll(map[string]string{"Alarms": answer})
}
