package pipenet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// EndlessHeader is the dial of a network on which every server answers a request with a header that has no end, up to 4 MiB.
// sent is what was read of it. Each connection has a goroutine, which ends with it.
func EndlessHeader(sent *atomic.Int64) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
				return
			}
			io.WriteString(far, "HTTP/1.1 200 OK\r\n")
			for i := 0; sent.Load() < 4<<20; i++ {
				n, err := fmt.Fprintf(far, "a%x:\r\n", i)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		return near, nil
	}
}
