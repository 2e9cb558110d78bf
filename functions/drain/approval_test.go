package main_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// TestAnApprovalOutlivesColdStarts is examples/http-node behind the built drain: it asks, and is answered in another
// process than the one that has asked.
func TestAnApprovalOutlivesColdStarts(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("skipped: no node here")
	}
	is.NoErr(err)
	env, _ := onTable(t)
	cmd := exec.Command(node, "../../examples/http-node/agent.mjs")
	cmd.Env = append(os.Environ(), "PORT=0", "AGENT_SECRET="+signingSecret)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	is.NoErr(err)
	var port int
	_, err = fmt.Sscanf(line, "listening on %d", &port)
	is.NoErr(err)
	env["DORMOUSE_AGENT"], env["DORMOUSE_AGENT_SECRET"] = fmt.Sprintf("http://127.0.0.1:%d/", port), signingSecret
	s := deploy(t, setup{canaries: []string{signingSecret}, env: env})

	ask := event(0, "m1")
	ask.Text = "/deploy 1.4"
	s.Deliver(gateway, ask)
	s.run("wake")
	prompts := said(s.State())
	is.Equal(len(prompts), 1)
	is.Equal(prompts[0].Op, "prompt")
	id, _ := prompts[0].Action["prompt_id"].(string)

	// press has a button pressed while nothing runs, and returns what a cold start makes of it.
	press := func(interaction, prompt, option string) (texts []string) {
		t.Helper()
		s.host.Kill(drainFunction)
		before := len(said(s.State()))
		s.Forward(gateway, relay.Forward{Platform: "discord", Body: fmt.Appendf(nil,
			`{"id":%q,"type":3,"data":{"custom_id":"hp1:%s:%s"},"channel_id":"discord-chat","guild_id":"scope-of-discord-chat",`+
				`"member":{"nick":"Ann","user":{"id":"discord-user"}}}`, interaction, prompt, option)})
		got := s.run("wake")
		is.True(got.Cold)
		is.Equal(got.Acked, 1)
		for _, o := range said(s.State())[before:] {
			texts = append(texts, o.Op+" "+o.Content)
		}
		return texts
	}
	is.Equal(press("i1", id, "yes"), []string{"send Ann deploys 1.4."})
	is.Equal(len(press("i2", id, "no")), 0)                // it has been answered
	is.Equal(len(press("i3", "abcdef.12345678", "no")), 0) // somebody else's
	is.Equal(press("i4", id[:7]+"00000000", "no"), []string{"send That question is no longer open."})
}

// said is what is to be seen in chats.
func said(s devconnector.State) (list []devconnector.Outbound) {
	for _, o := range s.Outbounds {
		if o.Op != "typing" && o.Op != "react" {
			list = append(list, o)
		}
	}
	return list
}
