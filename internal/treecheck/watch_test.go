package treecheck

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/metrics"
)

// watched is a metric that an alarm or the dashboard shows.
type watched struct {
	where, namespace, name string
	dimensions             []string
}

// alarms are those of the template, by their resource.
func alarms(tpl template) map[string]resource {
	found := map[string]resource{}
	for name, r := range tpl.Resources {
		if r.Type == "AWS::CloudWatch::Alarm" {
			found[name] = r
		}
	}
	return found
}

// ofAlarm are the metrics that an alarm goes by.
func ofAlarm(name string, r resource) (list []watched) {
	add := func(namespace, metric, dimensions any) {
		w := watched{where: name}
		w.namespace, _ = namespace.(string)
		w.name, _ = metric.(string)
		all, _ := dimensions.([]any)
		for _, d := range all {
			d, _ := d.(map[string]any)
			dimension, _ := d["Name"].(string)
			w.dimensions = append(w.dimensions, dimension)
		}
		list = append(list, w)
	}
	if r.at("MetricName") != nil {
		add(r.at("Namespace"), r.at("MetricName"), r.at("Dimensions"))
	}
	queries, _ := r.at("Metrics").([]any)
	for i := range queries {
		if m := r.at("Metrics", i, "MetricStat", "Metric"); m != nil {
			m, _ := m.(map[string]any)
			add(m["Namespace"], m["MetricName"], m["Dimensions"])
		}
	}
	return list
}

// ofDashboard are the metrics of the dashboard, and the values of their dimension Status.
func ofDashboard(t *testing.T, tpl template) (list []watched, statuses []string, titles string) {
	t.Helper()
	is := is.New(t)
	text, _ := tpl.Resources["Overview"].at("DashboardBody").(string)
	var body struct {
		Widgets []struct {
			Type       string
			Properties struct {
				Markdown string
				Metrics  [][]any
			}
		}
	}
	is.NoErr(json.Unmarshal([]byte(text), &body))
	for _, w := range body.Widgets {
		titles += w.Properties.Markdown + "\n"
		is.Equal(w.Type == "metric", len(w.Properties.Metrics) > 0)
		for _, m := range w.Properties.Metrics {
			if _, expression := m[0].(map[string]any); expression {
				continue
			}
			seen := watched{where: "dashboard"}
			seen.namespace, _ = m[0].(string)
			seen.name, _ = m[1].(string)
			for i := 2; i+1 < len(m); i += 2 {
				dimension, _ := m[i].(string)
				seen.dimensions = append(seen.dimensions, dimension)
				if value, _ := m[i+1].(string); dimension == metrics.Status {
					statuses = append(statuses, value)
				}
			}
			list = append(list, seen)
		}
	}
	return list, statuses, titles
}

// What is watched is what the code writes, by the name and the dimensions that it writes. AWS's own are as AWS names them.
func TestWhatIsWatchedIsWritten(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	written := map[string]metrics.Definition{}
	for _, d := range metrics.Definitions() {
		written[d.Name] = d
	}
	awsOwn := map[string][]string{
		"AWS/Lambda":   {"Errors", "Throttles", "AsyncEventsDropped", "Duration"},
		"AWS/DynamoDB": {"ConsumedWriteCapacityUnits", "ConsumedReadCapacityUnits"},
	}
	all, statuses, _ := ofDashboard(t, tpl)
	for name, r := range alarms(tpl) {
		list := ofAlarm(name, r)
		is.True(len(list) > 0)
		all = append(all, list...)
	}
	for _, w := range all {
		if names, is := awsOwn[w.namespace]; is {
			if !slices.Contains(names, w.name) {
				t.Errorf("%s: AWS has no metric %s in %s", w.where, w.name, w.namespace)
			}
			continue
		}
		d, ok := written[w.name]
		switch {
		case w.namespace != metrics.Namespace || !ok:
			t.Errorf("%s: nothing writes the metric %s in %s", w.where, w.name, w.namespace)
		case !slices.Equal(d.By, w.dimensions):
			t.Errorf("%s: %s is written by %q, not by %q", w.where, w.name, d.By, w.dimensions)
		}
	}
	for _, status := range statuses {
		is.True(slices.Contains([]drain.Status{
			drain.Drained, drain.Empty, drain.Taken, drain.Revoked, drain.Replaced, drain.SeatTaken, drain.IdentityRefused,
			drain.HandedOff, drain.Failed,
		}, drain.Status(status)))
	}
}

func TestAlarmsAndDashboardAreOnlyMadeWhenAsked(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	is.Equal(tpl.Parameters["Alarms"].Default, "")
	is.Equal(tpl.Parameters["Dashboard"].Default, "off")
	for name, condition := range map[string]string{
		"AlarmTopic": "AlarmsGoByMail", "DroppedEvents": "AlarmsAreAsked", "Overview": "DashboardIsAsked",
	} {
		is.Equal(tpl.Resources[name].Condition, condition)
	}
	want := map[string]string{
		"RevokedAlarm": metrics.Revoked, "IdentityAlarm": metrics.IdentityRefused, "DeadAlarm": metrics.Dead, "LostAlarm": metrics.Lost,
		"WaitingAlarm": metrics.OldestWaiting, "ErrorsAlarm": "Errors", "DroppedAlarm": "AsyncEventsDropped",
		"BudgetAlarm": metrics.Postponed, "RefusedAlarm": metrics.Refused, "SpendAlarm": "Duration",
	}
	found := alarms(tpl)
	is.Equal(len(found), len(want))
	for name, metric := range want {
		r := found[name]
		is.Equal(r.Condition, "AlarmsAreAsked")
		is.Equal(ofAlarm(name, r)[0].name, metric)
		is.Equal(r.at("TreatMissingData"), "notBreaching") // silence is sleep
		is.Equal(r.at("AlarmActions", 0), []any{"AlarmsGoToTopic", "Alarms", "AlarmTopic"})
	}
	is.Equal(found["WaitingAlarm"].at("Threshold"), uint64(15*60))
	_, _, titles := ofDashboard(t, tpl)
	for _, question := range []string{"Is it alive?", "Is it fast?", "Is anybody waiting?", "What does it cost?"} {
		is.True(strings.Contains(titles, question))
	}
}

// A wake that Lambda gave up is kept, for somebody who looks.
func TestDroppedWakesAreKept(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	is.Equal(tpl.Resources["DrainEvents"].at("DestinationConfig"), []any{
		"AlarmsAreAsked", map[string]any{"OnFailure": map[string]any{"Destination": "DroppedEvents.Arn"}}, "AWS::NoValue",
	})
	is.Equal(tpl.Resources["DroppedEvents"].at("MessageRetentionPeriod"), uint64(14*24*3600))
}

// Each metric and each alarm has a line for the operator who meets it.
func TestWhatIsMeasuredIsExplained(t *testing.T) {
	is := is.New(t)
	raw, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	is.NoErr(err)
	for _, d := range metrics.Definitions() {
		if !regexp.MustCompile("`" + d.Name + "`").Match(raw) {
			t.Errorf("docs/operations.md does not say what %s is", d.Name)
		}
	}
	for _, r := range alarms(readTemplate(t)) {
		name, _ := r.at("AlarmName").(string)
		slug := strings.TrimPrefix(name, "${AWS::StackName}-")
		if !strings.Contains(string(raw), "`"+slug+"`") {
			t.Errorf("docs/operations.md does not say what to do about the alarm %s", slug)
		}
	}
}
