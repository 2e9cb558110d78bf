package main

import (
	"context"
	"fmt"
	"log"
)

// mostMergeWait is what a buffered message may wait for others of its session before its turn starts, with what the table takes
// to write that turn's start by itself.
const mostMergeWait = 160

// merging are the settings of DORMOUSE_MERGE in the part of figure (f) to the reply.
var merging = []string{"on", "off"}

// replies is the part of figure (f) from the poke to the first reply, with a table: what merging costs a message that was buffered,
// and that it costs the typing nothing. The gateway with merging and the one without take turns.
func (b *bench) replies(ctx context.Context) ([]figure, error) {
	table := newSlowTable(lambdaTableLatency)
	defer table.close()
	connectors, gateways := map[string]*connector{}, map[string]*gateway{}
	for _, merge := range merging {
		c, err := newConnector(1, nil)
		if err != nil {
			return nil, err
		}
		defer c.close()
		env := poking{table: table}.environment()
		env["DORMOUSE_MERGE"] = merge
		g, err := b.newGateway(ctx, c.url, deployed, env)
		if err != nil {
			return nil, err
		}
		defer g.close()
		connectors[merge], gateways[merge] = c, g
	}
	replied, typed := map[string][]float64{}, map[string][]float64{}
	for run := range pokeRuns + 1 { // all are warm but the first
		for _, merge := range merging {
			went, err := gateways[merge].poke(ctx, connectors[merge])
			if err != nil {
				return nil, fmt.Errorf("merging %s: %w", merge, err)
			}
			if run > 0 {
				replied[merge] = append(replied[merge], milliseconds(went.traffic.last.Sub(went.poked)))
				typed[merge] = append(typed[merge], milliseconds(went.traffic.typing.Sub(went.poked)))
			}
		}
	}
	reply := figure{what: fmt.Sprintf("(f) poke to reply, warm, %v, merging", deployed), measured: spreadOf(replied["on"]), unit: "ms"}
	reply = reply.against("the same without merging", spreadOf(replied["off"]))
	added := reply.measured.median - reply.compared.median
	reply = reply.atMost(added, mostMergeWait, "ms more")
	typing := figure{what: fmt.Sprintf("(f) poke to typing, warm, %v, merging", deployed), measured: spreadOf(typed["on"]), unit: "ms"}
	typing = typing.against("the same without merging", spreadOf(typed["off"]))
	log.Printf("    poke to reply with merging: %s, %s ms more than without", reply.measured.in("ms"), number(added))
	return []figure{reply, typing}, nil
}
