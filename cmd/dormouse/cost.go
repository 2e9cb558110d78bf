package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/dormouse-relay/dormouse/internal/prices"
)

// cost is what a gateway used in a day, and what that costs beyond the free tier.
type cost struct {
	Dollars      float64 `json:"dollars"`
	DrainSeconds float64 `json:"drain_seconds"`
	Invocations  float64 `json:"invocations"`
	Writes       float64 `json:"write_units"`
	Reads        float64 `json:"read_units"`
	Error        string  `json:"error,omitempty"` // why it is not known
}

func (c *cost) String() string {
	if c.Error != "" {
		return "of the last 24 h is not known: " + c.Error
	}
	return fmt.Sprintf("$%.4f in the last 24 h beyond the free tier: %.0f s of drain, %.0f invocations, %.0f write and %.0f read units",
		c.Dollars, c.DrainSeconds, c.Invocations, c.Writes, c.Reads)
}

// sums are the sums of metrics since a time, by their names in CloudWatch.
type sums map[string]float64

// measured is a metric of AWS's own, of a function or a table.
type measured struct{ namespace, name, of, value string }

func (m measured) key() string { return m.name + " " + m.value }

// sumOf asks CloudWatch for the sums of metrics between two times.
func sumOf(ctx context.Context, cfg aws.Config, from, to time.Time, list []measured) (sums, error) {
	period := int32(max(60, to.Sub(from).Truncate(time.Minute).Seconds()))
	in := &cloudwatch.GetMetricDataInput{StartTime: &from, EndTime: &to}
	names := map[string]string{}
	for i, m := range list {
		id := fmt.Sprintf("m%d", i)
		names[id] = m.key()
		in.MetricDataQueries = append(in.MetricDataQueries, types.MetricDataQuery{Id: &id, MetricStat: &types.MetricStat{
			Metric: &types.Metric{
				Namespace: &m.namespace, MetricName: &m.name, Dimensions: []types.Dimension{{Name: &m.of, Value: &m.value}},
			},
			Period: &period, Stat: aws.String("Sum"),
		}})
	}
	out, err := cloudwatch.NewFromConfig(cfg).GetMetricData(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("asking CloudWatch: %w", err)
	}
	found := sums{}
	for _, result := range out.MetricDataResults {
		for _, value := range result.Values {
			found[names[aws.ToString(result.Id)]] += value
		}
	}
	return found, nil
}

const cloudWatchTime = 10 * time.Second

// costOf is what a gateway cost in the last 24 hours.
func (p *deployed) costOf(ctx context.Context, now time.Time) *cost {
	switch {
	case p.local:
		return &cost{}
	case p.stack == "":
		return &cost{Error: "give --stack"}
	}
	ctx, cancel := context.WithTimeout(ctx, cloudWatchTime)
	defer cancel()
	drain, wake := p.function, p.stack+"-wake"
	function := func(name, of string) measured { return measured{"AWS/Lambda", name, "FunctionName", of} }
	table := func(name string) measured { return measured{"AWS/DynamoDB", name, "TableName", p.table} }
	list := []measured{
		function("Duration", drain), function("Duration", wake), function("Invocations", drain), function("Invocations", wake),
		table("ConsumedWriteCapacityUnits"), table("ConsumedReadCapacityUnits"),
	}
	got, err := sumOf(ctx, p.cloud, now.Add(-24*time.Hour), now, list)
	if err != nil {
		return &cost{Error: short(err)}
	}
	at := func(i int) float64 { return got[list[i].key()] }
	c := &cost{DrainSeconds: at(0) / 1000, Invocations: at(2) + at(3), Writes: at(4), Reads: at(5)}
	c.Dollars = prices.Use{
		GBSeconds: prices.GBSeconds(at(0)/1000, float64(p.memory)) + prices.GBSeconds(at(1)/1000, prices.WakeMemory),
		Requests:  c.Invocations, Writes: c.Writes, Reads: c.Reads,
	}.Dollars()
	return c
}

// short is the last cause of an error of AWS's, without the SDK's words about the request.
func short(err error) string {
	if api, ok := errors.AsType[interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}](err); ok {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	text := err.Error()
	if at := strings.LastIndex(text, "request send failed, "); at >= 0 {
		text = text[at+len("request send failed, "):]
	}
	return text
}
