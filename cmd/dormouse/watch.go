package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/page"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/version"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:     "watch",
		Category: categoryOperate,
		Metadata: example("dormouse watch --stack dormouse", "dormouse watch --stack dormouse --act"),
		Usage:    "show a deployed gateway on a page: its state, its books, the drains of the last day, a message's way",
		Description: `The page is that of dormouse dev, on this machine alone, over the stack's table, its log and its metrics in
CloudWatch. It only shows, unless --act: then dead messages can be put back or dropped, and a disabled gateway enabled. A message
that waits or is dead can be taken home as a case file: dormouse dev --case FILE delivers it.`,
		Flags: []cli.Flag{
			stackFlag(),
			&cli.BoolFlag{Name: "act", Usage: "let the page put back and drop dead messages, and enable the gateway"},
			&cli.StringFlag{Name: "listen", Value: watchAddress, Usage: "`ADDRESS` of the page, on loopback; if this one is taken, any other"},
			&cli.StringFlag{Name: "since", Value: "24h", Usage: "drains since `WHEN`: a time ago (2h, 90m) or a date (2026-11-27, or RFC 3339)"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return watch(ctx, cmd)
		},
	}
}

const watchAddress = "127.0.0.1:8781"

// watch serves the page until ctx ends.
func watch(ctx context.Context, cmd *cli.Command) error {
	stack := cmd.String("stack")
	if stack == "" {
		return misuse(errors.New("which gateway: give --stack"))
	}
	from, err := parseSince(cmd.String("since"), time.Now())
	if err != nil {
		return misuse(err)
	}
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return err
	}
	p := deployed{cloud: cloud}
	if err := p.find(ctx, stack); err != nil {
		return err
	}
	book, err := p.ledger()
	if err != nil {
		return err
	}
	listener, err := listenOnLoopback(cmd.String("listen"), !cmd.IsSet("listen"))
	if err != nil {
		return err
	}
	w := &watcher{
		deployed: p, book: book, errs: cmd.Root().ErrWriter, shown: map[string]time.Time{}, kept: map[string]string{}, look: make(chan struct{}, 1),
		log: &reader{client: cloudwatchlogs.NewFromConfig(cloud), stack: stack},
	}
	about := page.About{Title: "dormouse watch: " + stack, Deployed: true, Version: version.String()}
	acts := map[string]page.Act{}
	if cmd.Bool("act") {
		acts = w.acts()
	}
	for name := range acts {
		about.Acts = append(about.Acts, name)
	}
	w.model = page.NewModel(about)
	server := page.New(page.Config{Model: w.model, Acts: acts})
	web := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	defer func() {
		server.Close()
		web.Close()
		<-served
	}()
	fmt.Fprintf(cmd.Root().Writer, "%s on a page, for this machine alone (who has the link may use it):\n  %s\n\nCtrl-C ends it.\n",
		p.function, server.URL(rig.LocalURL(listener)))
	w.run(ctx, from)
	return nil
}
