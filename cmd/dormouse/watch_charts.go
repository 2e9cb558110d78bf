package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/internal/page"
)

const chartPeriod = 15 * time.Minute

// charted is a metric as a chart of the last day.
type charted struct {
	title, unit string
	stat        string
	of          measured
}

// charts are the metrics that are shown: of the gateway itself, and of what it uses.
func (p *deployed) charts() []charted {
	own := func(title, unit, stat, name string) charted {
		return charted{title, unit, stat, measured{metrics.Namespace, name, metrics.Stack, p.stack}}
	}
	return []charted{
		own("Messages received", "", "Sum", metrics.Received), own("Messages answered", "", "Sum", metrics.Answered),
		own("Messages dead", "", "Sum", metrics.Dead), own("Messages waiting", "", "Maximum", metrics.Waiting),
		own("Poke to first reply", "ms", "Average", metrics.PokeToReply), own("Billed", "s", "Sum", metrics.BilledSeconds),
		{"Invocations of drain", "", "Sum", measured{"AWS/Lambda", "Invocations", "FunctionName", p.function}},
		{"Errors of drain", "", "Sum", measured{"AWS/Lambda", "Errors", "FunctionName", p.function}},
		{"Write units of the table", "", "Sum", measured{"AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", p.table}},
	}
}

// tellCharts shows the metrics of the last day. One that has no value is left out.
func (w *watcher) tellCharts(ctx context.Context) {
	now := time.Now()
	in := &cloudwatch.GetMetricDataInput{StartTime: aws.Time(now.Add(-24 * time.Hour)), EndTime: &now, ScanBy: types.ScanByTimestampAscending}
	list := w.deployed.charts()
	for i, c := range list {
		in.MetricDataQueries = append(in.MetricDataQueries, types.MetricDataQuery{Id: aws.String(fmt.Sprintf("m%d", i)), MetricStat: &types.MetricStat{
			Metric: &types.Metric{Namespace: &c.of.namespace, MetricName: &c.of.name, Dimensions: []types.Dimension{{Name: &c.of.of, Value: &c.of.value}}},
			Period: aws.Int32(int32(chartPeriod.Seconds())), Stat: &c.stat,
		}})
	}
	out, err := cloudwatch.NewFromConfig(w.cloud).GetMetricData(ctx, in)
	if err != nil {
		w.noCharts = fmt.Errorf("asking CloudWatch for metrics: %s", short(err))
		return
	}
	w.noCharts = nil
	shown := []page.Chart{}
	for i, c := range list {
		at := slices.IndexFunc(out.MetricDataResults, func(r types.MetricDataResult) bool { return aws.ToString(r.Id) == fmt.Sprintf("m%d", i) })
		if at < 0 || len(out.MetricDataResults[at].Values) == 0 {
			continue
		}
		chart := page.Chart{Title: c.title, Unit: c.unit}
		result := out.MetricDataResults[at]
		for j, value := range result.Values[:min(len(result.Values), len(result.Timestamps))] {
			chart.Points = append(chart.Points, [2]float64{float64(result.Timestamps[j].UnixMilli()), value})
		}
		slices.SortFunc(chart.Points, func(a, b [2]float64) int { return int(a[0] - b[0]) })
		shown = append(shown, chart)
	}
	w.model.SetCharts(shown)
}
