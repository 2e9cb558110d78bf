package prices_test

import (
	"fmt"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/prices"
)

func TestALoneMessageIsMostlyItsDrainsStay(t *testing.T) {
	is := is.New(t)
	talk := prices.TalkOf(1, 256)
	is.Equal(fmt.Sprintf("%.6f", talk.Stay.Dollars()), "0.000223") // 67 s of a quarter of a GB
	is.Equal(fmt.Sprintf("%.6f", talk.Table.Dollars()), "0.000018")
	half := prices.TalkOf(1, 128)
	is.Equal(fmt.Sprintf("%.6f", 2*half.Stay.Dollars()), fmt.Sprintf("%.6f", talk.Stay.Dollars()))
	is.Equal(half.Poke, talk.Poke) // wake's memory is another one
	is.True(half.All().Dollars() > half.Stay.Dollars())
}

func TestUsesAddUp(t *testing.T) {
	is := is.New(t)
	one := prices.Use{GBSeconds: 1, Requests: 2, APIRequests: 3, Writes: 4, Reads: 5, LogGB: 6}
	is.Equal(one.And(one), one.Times(2))
	is.Equal(prices.Use{Writes: 1e6, Reads: 1e6}.Dollars(), 0.75)
	is.Equal(prices.GBSeconds(8, 128), 1.0)
}
