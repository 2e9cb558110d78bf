package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:     "doctor",
		Category: categoryOperate,
		Metadata: example("dormouse doctor --stack dormouse", "dormouse doctor --stack dormouse --json"),
		Usage:    "look at all that a deployed gateway needs, and say of each what to do",
		Description: `Invokes the drain function with the reason check: where it runs, and with what it may, it fetches its identity token,
asks its agent once (a trial turn, which is in no chat), compares its clock, and runs like dormouse arm, without waiting for
better times. Messages that wait are answered. All else is looked at from here: wake URL, table, Lambda's own settings; errors,
throttles and lost messages of the last hour. Each line is a verdict (ok, warn, bad, ? for what could not be looked at), a fact, and what to do.
The exit code is 3 if something is bad.`,
		Flags: []cli.Flag{stackFlag(), jsonFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			if cmd.String("stack") == "" {
				return misuse(errors.New("which gateway: give --stack"))
			}
			cloud, err := operatorConfig(ctx)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, armingTime)
			defer cancel()
			f, err := during(cmd.Root().ErrWriter, "examining it, from inside and from here", func() (*findings, error) {
				return examine(ctx, cloud, cmd.String("stack"))
			})
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				if err := printJSON(cmd.Root().Writer, f); err != nil {
					return err
				}
			} else {
				f.print(cmd.Root().Writer)
			}
			if n := f.bad(); n > 0 {
				return found(fmt.Errorf("%d of %d are bad", n, len(f.List)))
			}
			return nil
		},
	}
}

// examine looks at a stack. The error means that there is nothing to look at.
func examine(ctx context.Context, cloud aws.Config, stack string) (*findings, error) {
	p := deployed{cloud: cloud}
	if err := p.find(ctx, stack); err != nil {
		return nil, err
	}
	f := &findings{Stack: stack}
	before, tableErr := p.view(ctx)
	report := p.check(ctx, f)
	p.wakeSide(ctx, f)
	if report != nil {
		inside(f, *report, p)
	}
	p.tableSide(ctx, f, before, tableErr)
	p.platformSide(ctx, f)
	f.Well = f.bad() == 0
	return f, nil
}

// view is what the table says before the gateway is asked.
func (p *deployed) view(ctx context.Context) (*view, error) {
	book, err := p.ledger()
	if err != nil {
		return nil, err
	}
	v, err := look(ctx, book, p.instance, time.Now())
	return &v, err
}

// check invokes drain with the reason check, and says whether it starts at all. It returns nil if there is no report.
func (p *deployed) check(ctx context.Context, f *findings) *drain.Report {
	client := lambda.NewFromConfig(p.cloud, func(o *lambda.Options) { o.RetryMaxAttempts = 1 })
	report, err := invoke(ctx, client, p.function, ledger.Check)
	if faults, is := errors.AsType[*settingsError](err); is {
		for _, fault := range faults.faults {
			f.add("settings", bad, fault, "put it right in the stack's parameters and deploy again (docs/settings.md)")
		}
		return nil
	}
	if failed, is := errors.AsType[*drainError](err); is {
		f.add("settings", well, p.function+" starts", "")
		failure(f, failed.said, p)
		return nil
	}
	if err != nil {
		f.add("invoke", bad, err.Error(), "may these AWS credentials invoke "+p.function+"? If it is throttled, run doctor again in a minute")
		return nil
	}
	f.add("settings", well, p.function+" starts", "")
	if report.Check == nil {
		f.add("version", bad, p.function+" is older than this command, and cannot examine itself", "deploy the version of this command")
	}
	return &report
}

// failure is what a drain said that failed before it could examine anything.
func failure(f *findings, said string, p *deployed) {
	switch {
	case strings.Contains(said, "there is no table"):
		f.add("table", bad, said, tableToDo(said))
	case strings.Contains(said, "AccessDenied"):
		f.add("roles", bad, said, "drain's role ("+p.role+") lacks a permission: deploy the template as it is")
	default:
		f.add("drain", bad, said, "dormouse logs --stack "+p.stack+" shows what it did before")
	}
}

// wakeSide looks at what a poke meets.
func (p *deployed) wakeSide(ctx context.Context, f *findings) {
	said, err := tryWakeURL(ctx, p.variables["GATEWAY_RELAY_WAKE_URL"])
	if err != nil {
		f.add("wake URL", bad, err.Error(), "nobody can poke this gateway: deploy it again, and dormouse arm, which tells the connector the URL")
		return
	}
	f.add("wake URL", well, said, "")
}
