package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"
)

// batched returns a batchConn whose reader is not reading yet, and the other end of its wire. Each write to the wire is
// one Read of the other end, which sees none of it before it reads.
func batched(t *testing.T) (*batchConn, net.Conn) {
	near, far := net.Pipe()
	g := newBatchConn(near)
	t.Cleanup(func() {
		far.Close()
		g.Close()
	})
	return g, far
}

func readOnce(conn net.Conn) (string, error) {
	b := make([]byte, 1<<20)
	n, err := conn.Read(b)
	return string(b[:n]), err
}

func TestWritesAreCollectedWhileTheReaderIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		g, far := batched(t)
		for _, part := range []string{"a", "b", "c"} {
			_, err := g.Write([]byte(part))
			is.NoErr(err)
			g.release(part == "b") // neither way
		}
		far.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := readOnce(far)
		is.True(errors.Is(err, os.ErrDeadlineExceeded)) // nothing has left in an hour
		far.SetReadDeadline(time.Time{})
		go g.Read(make([]byte, 1))
		got, err := readOnce(far)
		is.NoErr(err)
		is.Equal(got, "abc") // in one write, once the reader waits
	})
}

func TestWritesLeaveAtOnceWhileTheReaderWaits(t *testing.T) {
	for _, direct := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			is := is.New(t)
			g, far := batched(t)
			go g.Read(make([]byte, 1))
			synctest.Wait() // it waits, and nothing ever comes
			start := time.Now()
			for range 3 {
				g.Write([]byte("x"))
				go g.release(direct)
				got, err := readOnce(far)
				is.NoErr(err)
				is.Equal(got, "x")
			}
			is.Equal(time.Since(start), time.Duration(0))
		})
	}
}

func TestWritesGatherWhileThePeerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		g, far := batched(t)
		go g.Read(make([]byte, 1))
		synctest.Wait()
		g.Write([]byte("1"))
		g.release(false)
		synctest.Wait() // that write waits for the peer
		for range 100 {
			g.Write([]byte("x"))
			g.release(true) // does not wait behind it
		}
		first, _ := readOnce(far)
		second, _ := readOnce(far)
		is.Equal(first, "1")
		is.Equal(second, strings.Repeat("x", 100))
	})
}

func TestRoomIsLimitedForAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		g, _ := batched(t)
		written := 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for g.waitRoom(ctx) == nil {
			n, err := g.Write(make([]byte, 1000))
			is.NoErr(err)
			g.release(false)
			written += n
		}
		is.True(written >= roomy && written <= 2*roomy+2000) // one lot in a write that waits, one pending
		is.True(errors.Is(ctx.Err(), context.DeadlineExceeded))

		is.True(g.waitRoom(t.Context()) != nil) // until the write has had its time
		is.True(errors.Is(g.failure(), os.ErrDeadlineExceeded))
		_, err := g.Write([]byte("x"))
		is.Equal(err, g.failure())
	})
}

func TestLeftKnowsWhatHasReachedTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		g, far := batched(t)
		go g.Read(make([]byte, 1))
		synctest.Wait()
		var starts []int64
		for _, part := range []string{"0123456789", "abcdefghij"} {
			starts = append(starts, g.end())
			g.Write([]byte(part))
		}
		g.release(false)
		io.ReadFull(far, make([]byte, 10))
		g.shutdown(time.Now()) // in the middle of it
		<-g.finished
		is.True(g.mayHaveLeft(starts[0]))
		is.True(!g.mayHaveLeft(starts[1]))
		is.Equal(starts[1], int64(10))
	})
}

func TestShutdownWritesWhatIsPendingUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		g, far := batched(t)
		g.Write([]byte("bye"))
		g.shutdown(time.Now().Add(time.Second))
		_, err := g.Write([]byte("too late"))
		is.True(errors.Is(err, net.ErrClosed))
		got, err := io.ReadAll(far)
		is.NoErr(err)
		is.Equal(string(got), "bye")

		deaf, _ := batched(t)
		start := time.Now()
		deaf.Write([]byte("bye"))
		deaf.shutdown(start.Add(time.Minute))
		deaf.shutdown(start.Add(time.Second)) // the earliest counts
		deaf.shutdown(start.Add(time.Hour))
		<-deaf.finished
		is.Equal(time.Since(start), time.Second)
	})
}
