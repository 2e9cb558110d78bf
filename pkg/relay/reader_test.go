package relay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// The reader waits for nothing but the socket. With a queue that holds all it may, and nobody who receives: pings are answered
// at once, ours are sent and their pongs read, and the end of the socket is seen at once.
func TestTheReaderNeverWaitsForTheCaller(t *testing.T) {
	for name, fill := range map[string]int{"one delivery": 1, "a full queue": 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dialDeaf(t, func(cfg *relay.Config) { cfg.QueueEntries, cfg.QueueBytes = 10, 1<<20 })
				pongs := make(chan string, 1)
				var pings atomic.Int64
				peer.ws.SetPongHandler(func(data string) error { pongs <- data; return nil })
				answer := peer.ws.PingHandler()
				peer.ws.SetPingHandler(func(data string) error { pings.Add(1); return answer(data) })
				peer.listen()
				for i := range fill {
					peer.send(t, inbound(fmt.Sprint(i), "hi"))
				}
				for range 20 {
					start := time.Now()
					is.NoErr(peer.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Time{}))
					is.Equal(<-pongs, "x")
					is.Equal(time.Since(start), time.Duration(0))
					time.Sleep(30 * time.Second)
				}
				is.True(pings.Load() >= 19) // whose pongs were read, or the Conn would have ended
				start := time.Now()
				is.NoErr(peer.ws.UnderlyingConn().Close())
				<-conn.Done()
				is.Equal(time.Since(start), time.Duration(0))
				is.Equal(len(receive(t, conn, fill)), fill)
			})
		})
	}
}
