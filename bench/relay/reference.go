package main

import (
	"fmt"
	"slices"
	"strings"
)

// referenceClient is the reference gateway's WebSocket transport, which runs in Python.
const referenceClient = "reference"

// referenceCommand runs it against the connector at url.
func referenceCommand(url string) []string {
	_, python, _ := strings.Cut(*reference, "=")
	args := []string{python, *script, url}
	if *uvloop {
		args = append(args, "uvloop")
	}
	return args
}

// compareReference runs all rounds against the reference gateway's transport and prints the figures. Half of the frames and a
// tenth of the round trips are enough for it.
func compareReference() error {
	*frames, *trips = *frames/2, *trips/10
	name, _, _ := strings.Cut(*reference, "=")
	rates, tripTimes := map[string][]float64{}, map[string][]float64{}
	starts, peaks := map[string][]float64{}, map[string][]float64{}
	for round := range *rounds {
		order := []string{"conn", referenceClient}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, client := range order {
			runs, err := measure(false, false, client)
			if err != nil {
				return fmt.Errorf("pipelined, %s: %w", client, err)
			}
			r := runs[client]
			rates[client] = append(rates[client], float64(*frames)/1e3/r.took.Seconds())
			starts[client] = append(starts[client], microseconds(r.start)/1e3)
			peaks[client] = append(peaks[client], r.peak)
		}
		runs, err := measure(true, false, order...)
		if err != nil {
			return fmt.Errorf("lock-step: %w", err)
		}
		for client, r := range runs {
			tripTimes[client] = append(tripTimes[client], microseconds(r.took))
		}
	}
	print(fmt.Sprintf("pipelined receive+decode+ack of %d frames", *frames), "thousand/s", rates, referenceClient, name, 8, true)
	print(tripsOnOneCore(), "µs", tripTimes, referenceClient, name, 0, false)
	print("process start to hello", "ms", starts, referenceClient, name, 0, false)
	print("peak memory of that process", "MiB", peaks, referenceClient, name, 0, false)
	return nil
}
