package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

const (
	drained    = 100_000 // messages of figure (e)
	memoryRuns = 3
	mebibyte   = 1024 // KiB
)

// memory is figure (e): the built drain under the local host. 100,000 messages wait for it, and its agent is echo.
func (b *bench) memory(ctx context.Context) ([]figure, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var peaks, rates, barePeaks, bareRates []float64
	for range memoryRuns {
		peak, rate, err := b.bigDrain(ctx)
		if err != nil {
			return nil, fmt.Errorf("drain: %w", err)
		}
		log.Printf("    drain: %.1f MiB, %.0f messages/s", peak, rate)
		barePeak, bareRate, err := bareDrain(ctx, self)
		if err != nil {
			return nil, fmt.Errorf("bare client: %w", err)
		}
		log.Printf("    bare: %.1f MiB, %.0f messages/s", barePeak, bareRate)
		peaks, rates = append(peaks, peak), append(rates, rate/1e3)
		barePeaks, bareRates = append(barePeaks, barePeak), append(bareRates, bareRate/1e3)
	}
	const than = "bare gorilla client, same frames"
	memory := figure{what: "(e) peak memory of a drain of 100,000 messages", measured: spreadOf(peaks), unit: "MiB"}
	memory = memory.against(than, spreadOf(barePeaks)).atMost(spreadOf(peaks).median, 38, "MiB")
	rate := figure{what: "(e) messages acked and answered in that drain", measured: spreadOf(rates), unit: "thousand/s"}
	return []figure{memory, rate.against(than, spreadOf(bareRates))}, nil
}

// bigDrain returns the drain's peak memory in MiB and its messages a second.
func (b *bench) bigDrain(ctx context.Context) (peak, rate float64, err error) {
	c, err := newConnector(drained, nil)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	g, err := b.newGateway(ctx, c.url, cpu{1, 1}, nil)
	if err != nil {
		return 0, 0, err
	}
	defer g.close()
	went, err := g.poke(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	kibibytes, err := peakMemory(g.host.PIDs(rig.Drain)[0]) // kept warm
	return float64(kibibytes) / mebibyte, perSecond(went.traffic), err
}

// bareDrain returns the same figures of the bare client, which is this program in a process of its own.
func bareDrain(ctx context.Context, self string) (peak, rate float64, err error) {
	c, err := newConnector(drained, nil)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	printed, err := output(ctx, "", self, "-client="+c.url)
	if err != nil {
		return 0, 0, err
	}
	t := <-c.ended
	if t.err != nil {
		return 0, 0, t.err
	}
	kibibytes, err := strconv.Atoi(printed)
	return float64(kibibytes) / mebibyte, perSecond(t), err
}

func perSecond(t traffic) float64 { return drained / t.last.Sub(t.first).Seconds() }
