package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
)

func TestADurableFunctionIsNamedWithAnAlias(t *testing.T) {
	tests := map[string]struct {
		agent, durable, stream string
		want                   string // what is wrong; empty: nothing is
	}{
		"an alias":      {"lambda:jobs:live", "2h", "", ""},
		"a version":     {"lambda:jobs:7", "90m", "", ""},
		"an ARN":        {"lambda:arn:aws:lambda:eu-central-1:123456789012:function:jobs:live", "24h", "", ""},
		"no alias":      {"lambda:jobs", "2h", "", "want DORMOUSE_AGENT to be lambda:NAME:ALIAS"},
		"an ARN's none": {"lambda:arn:aws:lambda:eu-central-1:123456789012:function:jobs", "2h", "", "want DORMOUSE_AGENT to be lambda:NAME:ALIAS"},
		"a URL":         {"https://agent.example", "2h", "", "want DORMOUSE_AGENT to be lambda:NAME:ALIAS"},
		"too long":      {"lambda:jobs:live", "25h", "", "up to 24h"},
		"the past":      {"lambda:jobs:live", "-1h", "", "up to 24h"},
		"a stream":      {"lambda:jobs:live", "2h", "on", "want one of them"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s, err := config.Drain(map[string]string{
				"GATEWAY_RELAY_URL": "https://c.example", "GATEWAY_RELAY_ID": "gw-1", "DORMOUSE_AGENT": tt.agent,
				"DORMOUSE_AGENT_DURABLE": tt.durable, "DORMOUSE_AGENT_STREAM": tt.stream,
			})
			if tt.want == "" {
				is.NoErr(err)
				want, _ := time.ParseDuration(tt.durable)
				is.Equal(s.AgentDurable, want)
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), "DORMOUSE_AGENT_DURABLE") && strings.Contains(err.Error(), tt.want))
		})
	}
}
