package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestReceivedIsNotAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		peer.send(t, `{"type":"inbound","event":{},"bufferId":"b-7"}`)
		d, err := conn.Receive(t.Context())
		is.NoErr(err)
		is.Equal(d.Kind, relay.KindInbound)
		is.Equal(d.ReceivedAt, time.Now())
		synctest.Wait()
		is.Equal(len(peer.lines), 0) // taking an event does not ack it
		is.NoErr(conn.Ack(d.BufferID))
		is.Equal(<-peer.lines, ack("b-7"))
	})
}

func TestBufferIDsAreEchoedAsStrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		peer.send(t,
			`{"type":"inbound","event":{},"bufferId":42}`,
			`{"type":"passthrough_forward","forward":{"platform":"discord"},"bufferId":"<\"\u00e4\\>"}`,
			`{"type":"inbound","event":{},"bufferId":""}`,
			`{"type":"inbound","event":{}}`)
		for _, d := range receive(t, conn, 4) {
			is.NoErr(conn.Ack(d.BufferID))
		}
		is.Equal(<-peer.lines, ack("42"))
		is.Equal(<-peer.lines, ack(`<\"ä\\>`))
		synctest.Wait()
		is.Equal(len(peer.lines), 0) // live delivery is not acked
	})
}

func TestCallerThatAnswersEachDeliveryNeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		const n = 2000
		go func() { // pipelines all of it, and answers in between
			for i := range n {
				peer.send(t, inbound(fmt.Sprint(i), "hi"))
				select {
				case line := <-peer.lines:
					peer.send(t, succeed(line))
				default:
				}
			}
			for line := range peer.lines {
				peer.send(t, succeed(line))
			}
		}()
		for i := range n {
			d, err := conn.Receive(t.Context())
			is.NoErr(err)
			is.Equal(d.BufferID, fmt.Sprint(i))
			_, err = conn.Do(t.Context(), send("reply"))
			is.NoErr(err)
		}
	})
}

func TestResultsAreHandledWhileNobodyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		go func() {
			for range 1000 {
				peer.send(t, inbound("b", "hi"))
			}
			peer.send(t, succeed(<-peer.lines))
		}()
		result, err := conn.Do(t.Context(), send("hi"))
		is.NoErr(err)
		is.Equal(result.MessageID, "m")
		is.Equal(conn.Stats().Frames, uint64(1002)) // with the descriptor
		receive(t, conn, 1000)
	})
}

func TestInterruptsOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		peer.send(t, inbound("b-1", "a"), inbound("b-2", "b"),
			`{"type":"interrupt_inbound","session_key":"agent:main:discord:dm:7","chat_id":"7"}`)
		synctest.Wait()
		got := receive(t, conn, 3)
		is.Equal(got[0].Kind, relay.KindInterrupt)
		is.Equal(got[0].SessionKey, "agent:main:discord:dm:7")
		is.Equal(got[0].ChatID, "7")
		is.Equal(got[1].BufferID, "b-1")
		is.Equal(got[2].BufferID, "b-2")
	})
}

func TestAnInterruptDoesNotWaitForReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var told []string
		conn, peer := dial(t, func(cfg *relay.Config) {
			cfg.Interrupted = func(d relay.Delivery) { told = append(told, d.SessionKey) }
		})
		peer.send(t, inbound("b-1", "a"), `{"type":"interrupt_inbound","session_key":"agent:main:discord:dm:7","chat_id":"7"}`)
		synctest.Wait()
		is.Equal(told, []string{"agent:main:discord:dm:7"}) // nobody has called Receive
		is.Equal(receive(t, conn, 1)[0].BufferID, "b-1")
		n, _ := conn.Queued()
		is.Equal(n, 0) // it is told once
	})
}

func TestAHalfFullQueueIsTold(t *testing.T) {
	tests := map[string]struct{ entries, bytes int }{
		"by number": {10, 1 << 20},
		"by size":   {1000, 10 * len(inbound("00", "hi"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dial(t, func(cfg *relay.Config) { cfg.QueueEntries, cfg.QueueBytes = tt.entries, tt.bytes })
				crowded := func() bool {
					synctest.Wait()
					select {
					case <-conn.Crowded():
						return true
					default:
						return false
					}
				}
				for i := range 5 {
					peer.send(t, inbound(fmt.Sprintf("%02d", i), "hi"))
				}
				is.True(!crowded())
				peer.send(t, inbound("05", "hi"))
				is.True(crowded())
				n, bytes := conn.Queued()
				is.Equal(n, 6)
				is.Equal(bytes, 6*len(inbound("00", "hi")))
				receive(t, conn, 6)
				is.True(crowded()) // it stays told
				is.NoErr(conn.Err())
			})
		})
	}
}

func TestTheEndIsKnownWhileDeliveriesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		for i := range 4096 {
			peer.send(t, inbound(fmt.Sprint(i), "hi"))
		}
		peer.ws.Close()
		<-conn.Done()
		closed, ok := errors.AsType[*relay.CloseError](conn.Err())
		is.True(ok && closed.Kind() == relay.CloseBroken)
		receive(t, conn, 4096) // and nothing of what came is lost
	})
}

func TestFramesMayBeCutInAnyWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		message := func(kind int, text string) { is.NoErr(peer.ws.WriteMessage(kind, []byte(text))) }
		message(websocket.TextMessage, inbound("b-1", "a")+"\n\n"+inbound("b-2", "ä")[:60])
		message(websocket.BinaryMessage, inbound("b-2", "ä")[60:])
		message(websocket.TextMessage, "\r\n  \r\n")
		message(websocket.BinaryMessage, inbound("b-3", strings.Repeat("x", 1<<20))+"\n"+inbound("b-4", "not whole yet"))
		for i, d := range receive(t, conn, 3) {
			is.Equal(d.BufferID, fmt.Sprintf("b-%d", i+1))
		}
		message(websocket.TextMessage, "\n")
		is.Equal(receive(t, conn, 1)[0].BufferID, "b-4")
	})
}

// A writer that forgets the line feed ends a frame with its message.
func TestAMessageEndsAFrameThatIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		message := func(text string) { is.NoErr(peer.ws.WriteMessage(websocket.TextMessage, []byte(text))) }
		message(inbound("b-1", "a"))
		message("\ufeff" + inbound("b-2", "b {}") + " \r")
		message(inbound("b-3", "c") + "\n" + inbound("b-4", strings.Repeat("x", 1<<20)))
		cut := inbound("b-5", strings.Repeat("{}", 20))
		for _, part := range strings.SplitAfter(cut, "}") { // each message could be the frame's end
			message(part)
		}
		message("\n" + inbound("b-6", "f"))
		for i, d := range receive(t, conn, 6) {
			is.Equal(d.BufferID, fmt.Sprintf("b-%d", i+1))
			is.Equal(d.Fault, "")
		}
	})
}

// So often a line is looked at, whether it is whole by now. Then it ends with its line feed alone.
func TestALineIsNotLookedAtForEver(t *testing.T) {
	for ends, whole := range map[int]bool{15: true, 16: false} {
		t.Run(fmt.Sprint(ends), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dial(t)
				message := func(text string) { is.NoErr(peer.ws.WriteMessage(websocket.TextMessage, []byte(text))) }
				message(`{"type":"inbound","bufferId":"b-1","event":{"text":"`)
				for range ends {
					message("}")
				}
				message(`"}}`)
				synctest.Wait()
				waiting, _ := conn.Queued()
				is.Equal(waiting == 1, whole)
				message("\n")
				is.Equal(receive(t, conn, 1)[0].BufferID, "b-1")
			})
		})
	}
}

// Discord's commands go with Discord's hello, and with no other one.
func TestCommandsGoWithDiscordsHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		commands, err := relay.ParseCommands([]byte(`[{"name":"new","description":"Starts anew."}]`))
		is.NoErr(err)
		_, peer := dial(t, func(cfg *relay.Config) {
			cfg.Commands = commands
			cfg.Fronts = []relay.Front{{Platform: "discord"}, {Platform: "telegram"}, {Platform: "slack"}}
		})
		for range 2 {
			line := <-peer.lines // the first one is read
			is.True(strings.Contains(line, `"type":"hello"`) && !strings.Contains(line, "command_manifest"))
		}
	})
}

func TestADialThatIsGivenUpDoesNotBlameTheConnector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newConnector(t)
		go func() {
			p := <-c.peers
			p.ws.ReadMessage() // and there is no descriptor
			p.ws.ReadMessage()
			p.ws.Close()
		}()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := relay.Dial(ctx, c.config())
		is.True(errors.Is(err, relay.ErrNoDescriptor) && errors.Is(err, context.Canceled))
		is.True(!strings.Contains(err.Error(), "30s"))
	})
}

func TestMalformedFramesDoNotEndTheConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var logged bytes.Buffer
		conn, peer := dial(t, func(cfg *relay.Config) { cfg.Log = slog.New(slog.NewJSONHandler(&logged, nil)) })
		long := strings.Repeat("x", 2000)
		bad := []string{
			`canary`, `"canary"`, `[]`, `{`, `{"type":"inbound","event":{"text":"canary}`, `null`, "\x00", "\xff\xfe", `{}`,
			`{"type":7}`, `{"type":"canary"}`, `{"type":"error","error":"canary"}`, `{"type":null,"event":{}}`,
			`{"type":"inbound"}`, `{"type":"inbound","event":"canary"}`, `{"type":"inbound","event":{"source":[]}}`,
			`{"type":"inbound","event":{"text":"` + "canary\xff" + `"}}`, `{"type":"inbound","event":{},"bufferId":[]}`,
			`{"type":"inbound","event":{},"bufferId":"` + long + `"}`, `{"type":"passthrough_forward","forward":7}`,
			`{"type":"inbound","event":{"message_id":"` + long + `"}}`, `{"type":"interrupt_inbound","chat_id":{}}`,
			`{"type":"outbound_result","requestId":[]}`, `{"type":"outbound_result","requestId":"` + long + `"}`,
			`{"type":"inbound","event":{}}{"type":"inbound"}`, `{"type":"going_idle_ack",}`,
		}
		is.True(len(bad) >= 24)
		peer.send(t, bad...)
		for i := range 5 {
			peer.send(t, inbound(fmt.Sprint(i), "good"))
		}
		for i, d := range receive(t, conn, 5) {
			is.Equal(d.BufferID, fmt.Sprint(i))
			is.NoErr(conn.Ack(d.BufferID))
			is.Equal(<-peer.lines, ack(d.BufferID)) // on the same connection
		}
		stats := conn.Stats()
		is.Equal(stats.Frames, uint64(len(bad)+5+1))
		is.Equal(stats.Malformed+stats.UnknownTypes, uint64(len(bad)))
		is.Equal(stats.UnknownTypes, uint64(5))
		for _, fault := range []string{"broken JSON", "unknown type", "not a JSON object", "id over 1 KiB"} {
			is.Equal(strings.Count(logged.String(), `"`+fault+`"`), 1) // once a kind
		}
		is.True(!strings.Contains(logged.String(), "canary")) // and without the content
	})
}

func TestUnusableBufferedFramesAreHandedOutToBeAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t, func(cfg *relay.Config) { cfg.SizeLimit = 10_000 })
		large := `{"type":"inbound","event":{"text":"` + strings.Repeat("x", 1<<20) + `"},"bufferId":"large"}` + "\n"
		for part := range strings.SplitAfterSeq(large, `"},`) { // over two messages
			is.NoErr(peer.ws.WriteMessage(websocket.TextMessage, []byte(part)))
		}
		peer.send(t,
			`{"type":"inbound","bufferId":"no-event"}`,
			`{"type":"news","bufferId":"unknown"}`,
			`{"type":"inbound","event":{"text":oops},"bufferId":"broken"}`,
			`{"type":"inbound","event":{"text":"`+"\xff"+`"},"bufferId":"utf8"}`,
			inbound("good", "hi"))
		got := receive(t, conn, 6)
		want := []struct{ bufferID, fault string }{
			{"large", "too large"}, {"no-event", "unusable event"}, {"unknown", "unknown type"}, {"broken", "broken JSON"},
			{"utf8", "broken UTF-8"},
		}
		for i, w := range want {
			is.Equal(got[i].Kind, relay.KindUnusable)
			is.Equal(got[i].BufferID, w.bufferID)
			is.Equal(got[i].Fault, w.fault)
			is.True(got[i].Event == nil)
		}
		is.Equal(got[5].Kind, relay.KindInbound)
		is.Equal(got[5].BufferID, "good")
	})
}

// The connector keeps no live delivery. One that does not fit is lost alone: what follows is received as there is room again, and
// results are handed out meanwhile.
func TestALiveDeliveryThatDoesNotFitIsLostAndTheConnGoesOn(t *testing.T) {
	tests := map[string]struct{ entries, bytes int }{
		"by number": {10, 1 << 20},
		"by size":   {1000, 10 * len(inbound("00", "hi"))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				var logged strings.Builder
				conn, peer := dial(t, func(cfg *relay.Config) {
					cfg.QueueEntries, cfg.QueueBytes = tt.entries, tt.bytes
					cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
				})
				for i := range 10 {
					peer.send(t, inbound(fmt.Sprintf("%02d", i), "hi"))
				}
				synctest.Wait()
				is.Equal(conn.Stats().Lost, uint64(0)) // all of it fits
				peer.send(t, inbound("", "lost"), inbound("", "lost, too"), inbound("", "and a third"))
				done := make(chan error, 1)
				go func() {
					_, err := conn.Do(t.Context(), send("an answer"))
					done <- err
				}()
				peer.send(t, succeed(<-peer.lines))
				is.NoErr(<-done)
				is.Equal(conn.Stats().Lost, uint64(3))
				is.Equal(strings.Count(logged.String(), "live delivery is lost"), 1)
				for i, d := range receive(t, conn, 10) {
					is.Equal(d.BufferID, fmt.Sprintf("%02d", i))
				}
				peer.send(t, inbound("", "again"))
				is.Equal(receive(t, conn, 1)[0].Event.Text, "again")
				is.Equal(conn.Stats().Dropped, uint64(0)) // they were not buffered
			})
		})
	}
}

// Beyond some deliveries only lines wait. Nobody can tell them from the others.
func TestDeliveriesThatWaitAsLinesAreReceivedAsTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		const many = 5000
		long := strings.Repeat("x", 100_000)
		var frames []byte
		at := make([]time.Time, many)
		for n := range many {
			var line string
			switch n % 1000 {
			default:
				line = inbound(fmt.Sprint("b", n), fmt.Sprint("text ", n))
			case 1:
				line = inbound(fmt.Sprint("b", n), long)
			case 2:
				line = fmt.Sprintf(`{"type":"passthrough_forward","bufferId":"b%d","forward":{"platform":"discord","bodyB64":"e30="}}`, n)
			case 3:
				line = fmt.Sprintf(`{"type":"inbound","bufferId":"b%d","event":7}`, n)
			case 4:
				line = "  \uFEFF" + inbound(fmt.Sprint("b", n), "a mark and blanks") + " \r"
			}
			frames = append(append(frames, line...), '\n')
			if n%100 == 99 {
				is.NoErr(peer.ws.WriteMessage(websocket.TextMessage, frames))
				frames = frames[:0]
				synctest.Wait()
				at[n] = time.Now()
				time.Sleep(time.Second)
			}
		}
		for n, d := range receive(t, conn, many) {
			is.Equal(d.BufferID, fmt.Sprint("b", n))
			is.Equal(d.ReceivedAt, at[n/100*100+99]) // not when its turn came
			switch n % 1000 {
			default:
				is.Equal(d.Event.Text, fmt.Sprint("text ", n))
				is.Equal(d.Size(), len(inbound(fmt.Sprint("b", n), fmt.Sprint("text ", n))))
			case 1:
				is.Equal(d.Event.Text, long)
			case 2:
				is.Equal(d.Kind, relay.KindPassthrough)
				is.Equal(string(d.Forward.Body), "{}")
			case 3:
				is.Equal(d.Kind, relay.KindUnusable)
				is.Equal(d.Fault, "unusable event")
			case 4:
				is.Equal(d.Event.Text, "a mark and blanks")
			}
		}
		waiting, bytes := conn.Queued()
		is.Equal(waiting+bytes, 0)
	})
}

// A small message that waits takes little more memory than it had bytes.
func TestWhatWaitsTakesLittleMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := dial(t, func(cfg *relay.Config) { cfg.QueueEntries = 1 << 20 })
		heap := func() int {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		const many, batch = 30_000, 100
		line := inbound("", strings.Repeat("x", 300)) + "\n"
		before := heap()
		for range many / batch {
			if err := peer.ws.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(line), batch)); err != nil {
				t.Fatal(err)
			}
		}
		took := heap() - before
		if most := len(line) + 300; took/many > most { // the reader's, the queue's spare room and more than that would be 500
			t.Errorf("%d deliveries of %d bytes take %d bytes each, want at most %d", many, len(line), took/many, most)
		}
		if waiting, _ := conn.Queued(); waiting != many {
			t.Errorf("%d wait, want %d", waiting, many)
		}
	})
}

func TestBufferedDeliveriesThatDoNotFitAreDroppedAndTheConnGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t, func(cfg *relay.Config) { cfg.QueueEntries = 3 })
		for i := range 5 {
			peer.send(t, inbound(fmt.Sprint(i), "hi"))
		}
		synctest.Wait()
		<-conn.Crowded()
		is.Equal(conn.Stats().Dropped, uint64(2))
		for i, d := range receive(t, conn, 3) {
			is.Equal(d.BufferID, fmt.Sprint(i))
			is.NoErr(conn.Ack(d.BufferID)) // so the connector does not begin with the same ones again
		}
		peer.send(t, inbound("5", "hi"), inbound("", "live"))
		is.Equal(receive(t, conn, 1)[0].Event.Text, "live") // none overtakes one that was dropped, but for what would be lost
		is.Equal(conn.Stats().Dropped, uint64(3))
		select {
		case <-conn.Done():
			t.Fatal("ended although nothing was lost")
		default:
		}
	})
}

func TestQueueIsFilledAgainAsItIsReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t, func(cfg *relay.Config) { cfg.QueueEntries, cfg.QueueBytes = 10, 1<<20 })
		sent := 0
		for got := range 200 {
			for sent < got+10 {
				peer.send(t, inbound(fmt.Sprint(sent), "hi"))
				sent++
			}
			is.Equal(receive(t, conn, 1)[0].BufferID, fmt.Sprint(got))
		}
	})
}

func TestAckLeavesAtOnceWhileNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		peer.send(t, inbound("b-1", "hi"), inbound("b-2", "hi"))
		synctest.Wait()
		start := time.Now()
		for _, id := range []string{"b-1", "b-2"} { // the first while another delivery waits to be received
			receive(t, conn, 1)
			is.NoErr(conn.Ack(id))
			is.Equal(<-peer.lines, ack(id))
		}
		is.Equal(time.Since(start), time.Duration(0))
	})
}

func TestAcksLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		var lines []string
		for i := range 50 {
			lines = append(lines, inbound(fmt.Sprint(i), strings.Repeat("x", 200)))
		}
		peer.sendAtOnce(t, lines...)
		synctest.Wait()
		before := peer.writes.Load()
		go func() {
			for range 50 {
				d, err := conn.Receive(t.Context())
				if err := errors.Join(err, conn.Ack(d.BufferID)); err != nil {
					t.Error(err)
				}
			}
		}()
		synctest.Wait()
		peer.listen()
		for i := range 50 {
			is.Equal(<-peer.lines, ack(fmt.Sprint(i))) // one message each
		}
		is.True(peer.writes.Load()-before <= 2) // the one that waited for the peer to read, and all the others
	})
}

func TestPeerThatDoesNotReadDoesNotStopUsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		go func() {
			for conn.Post(send(strings.Repeat("x", 1000))) == nil { // far more than there is room for
			}
		}()
		start := time.Now()
		for i := range 1000 {
			peer.ws.WriteControl(websocket.PingMessage, []byte("p"), time.Time{})
			peer.send(t, inbound(fmt.Sprint(i), "hi"))
			receive(t, conn, 1)
		}
		is.Equal(time.Since(start), time.Duration(0))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := conn.Do(ctx, send("no room"))
		is.True(errors.Is(err, context.DeadlineExceeded))
		is.True(!errors.Is(err, relay.ErrOutcomeUnknown)) // it has not been sent

		kind, _ := relay.KindOf(ending(t, conn)) // when the write has had its time
		is.Equal(kind, relay.CloseBroken)
		is.True(time.Since(start) < time.Minute)
	})
}

func TestSeveralFronts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newConnector(t)
		cfg := c.config()
		cfg.Fronts = []relay.Front{{"discord", "bot-d"}, {"telegram", "bot-t"}, {"slack", ""}}
		met := make(chan *peer, 1)
		go func() {
			p := <-c.peers
			p.listen()
			met <- p
		}()
		dialled := make(chan *relay.Conn, 1)
		go func() {
			conn, err := relay.Dial(t.Context(), cfg)
			if err != nil {
				t.Error(err)
			}
			dialled <- conn
		}()
		peer := <-met
		is.Equal(<-peer.lines, `{"type":"hello","platform":"discord","botId":"bot-d"}`) // all of them before any answer
		is.Equal(<-peer.lines, `{"type":"hello","platform":"telegram","botId":"bot-t"}`)
		is.Equal(<-peer.lines, `{"type":"hello","platform":"slack","botId":""}`)
		peer.send(t, `{"type":"descriptor","descriptor":{"platform":"telegram","max_message_length":4096,"len_unit":"utf16"}}`,
			inbound("b", "right behind"))
		conn := <-dialled
		t.Cleanup(func() { hangUp(conn, peer) })
		is.Equal(conn.Descriptor("discord").LenUnit, "utf16") // the first is the session's default
		start := time.Now()
		conn.WaitDescriptors(t.Context())
		is.Equal(time.Since(start), time.Second) // the others do not come
		peer.send(t, `{"type":"descriptor","descriptor":{"platform":"discord","max_message_length":2000}}`)
		is.Equal(receive(t, conn, 1)[0].BufferID, "b")
		synctest.Wait()
		is.Equal(conn.Descriptor("discord").MaxMessageLength, 2000)
		is.Equal(conn.Descriptor("telegram").LenUnit, "utf16")
		is.Equal(conn.Descriptor("slack").Platform, "telegram")

		tails := map[string]string{
			"discord":  `,"platform":"discord","botId":"bot-d"}`,
			"telegram": `,"platform":"telegram","botId":"bot-t"}`,
			"slack":    `,"platform":"slack"}`,
			"whatsapp": `,"platform":"whatsapp"}`, // not ours: no bot, least of all another's
			"":         `"content":"hi","op":"send"}}`,
		}
		for platform, tail := range tails {
			out := send("hi")
			out.Platform = platform
			is.NoErr(conn.Post(out))
			line := <-peer.lines
			is.True(strings.HasSuffix(line, tail)) // platform and botId
			is.Equal(len(requestID(line)), 32)
		}
	})
}

func TestSettledIsWhereEveryHelloHasItsDescriptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newConnector(t)
		cfg := c.config()
		cfg.Fronts = []relay.Front{{"discord", "bot-d"}, {"telegram", "bot-t"}}
		met := make(chan *peer, 1)
		go func() {
			p := <-c.peers
			p.listen()
			p.send(t, `{"type":"descriptor","descriptor":{"platform":"discord","max_message_length":2000}}`)
			met <- p
		}()
		conn, err := relay.Dial(t.Context(), cfg)
		is.NoErr(err)
		peer := <-met
		t.Cleanup(func() { hangUp(conn, peer) })
		go func() {
			time.Sleep(100 * time.Millisecond)
			peer.send(t, `{"type":"descriptor","descriptor":{"platform":"telegram","max_message_length":4096}}`)
		}()
		start := time.Now()
		conn.WaitDescriptors(t.Context())
		is.Equal(time.Since(start), 100*time.Millisecond)
		is.Equal(conn.Descriptor("telegram").MaxMessageLength, 4096)
		conn.WaitDescriptors(t.Context()) // at once from now on
		is.Equal(time.Since(start), 100*time.Millisecond)
	})
}

func TestUpgradeRequest(t *testing.T) {
	tests := map[string]struct{ token, authorization string }{
		"with a token":       {"abc", "Bearer abc"},
		"without":            {"", ""},
		"blank is as if not": {" \t", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				_, peer := dial(t, func(cfg *relay.Config) { cfg.Token = relay.NewSecret(tt.token) })
				is.Equal(peer.header.Get("Authorization"), tt.authorization)
				is.Equal(peer.header.Get("User-Agent"), "dormouse")
				for _, unwanted := range []string{"Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"} {
					is.Equal(len(peer.header.Values(unwanted)), 0)
				}
			})
		})
	}
}

func TestDialReportsEveryFaultInConfig(t *testing.T) {
	is := is.New(t)
	_, err := relay.Dial(t.Context(), relay.Config{
		URL:          "https://user:canary@host/relay",
		Fronts:       []relay.Front{{}},
		PingInterval: -1,
		SizeLimit:    -1,
	})
	for _, part := range []string{"URL", "Fronts", "PingInterval", "SizeLimit"} {
		is.True(strings.Contains(err.Error(), part))
	}
	is.True(!strings.Contains(err.Error(), "canary"))
	for _, url := range []string{"", "ws://", "ws://user:pw@host/relay", "host/relay", "ws://\x00/"} {
		_, err := relay.Dial(t.Context(), relay.Config{URL: url, Fronts: []relay.Front{{Platform: "discord"}}})
		is.True(err != nil)
		is.True(strings.Contains(err.Error(), "URL"))
	}
}

func TestDialFails(t *testing.T) {
	hello := func(p *peer) { p.ws.ReadMessage() }
	tests := map[string]struct {
		status int
		peer   func(p *peer)
		after  time.Duration
		want   func(err error) bool
	}{
		"refused with 401": {status: 401, want: func(err error) bool {
			e, ok := errors.AsType[*relay.UpgradeError](err)
			return ok && e.Status == 401 && e.Kind() == relay.CloseRefused
		}},
		"redirected": {status: 302, want: func(err error) bool {
			e, ok := errors.AsType[*relay.UpgradeError](err)
			return ok && e.Status == 302 && e.Kind() == relay.CloseBroken
		}},
		"closed before hello": {peer: func(p *peer) { p.close(4401, "unauthorized") }, want: func(err error) bool {
			e, ok := errors.AsType[*relay.CloseError](err)
			return ok && e.Code == 4401 && e.Reason == "unauthorized"
		}},
		"closed after hello": {peer: func(p *peer) { hello(p); p.close(1008, "duplicate session") }, want: func(err error) bool {
			kind, _ := relay.KindOf(err)
			return kind == relay.CloseDuplicate
		}},
		"socket ends after hello": {peer: func(p *peer) { hello(p); p.ws.NetConn().Close() }, want: func(err error) bool {
			e, ok := errors.AsType[*relay.CloseError](err)
			return ok && e.Code == 1006
		}},
		"no descriptor": {peer: hello, after: 30 * time.Second, want: func(err error) bool {
			_, classed := relay.KindOf(err)
			return errors.Is(err, relay.ErrNoDescriptor) && !classed
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				c := newConnector(t)
				c.status = tt.status
				if tt.peer != nil {
					go func() {
						p := <-c.peers
						tt.peer(p)
						p.ws.ReadMessage()
						p.ws.Close()
					}()
				}
				start := time.Now()
				_, err := relay.Dial(t.Context(), c.config())
				is.True(tt.want(err)) // the error's kind
				is.True(time.Since(start)-tt.after < time.Second && time.Since(start) >= tt.after)
			})
		})
	}
}

func TestDescriptorsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, p := dial(t)
		many := func(i int) string { return "platform-" + strconv.Itoa(i) }
		for i := range 1000 {
			p.send(t, `{"type":"descriptor","descriptor":{"platform":"`+many(i)+`","label":"own"}}`)
		}
		p.send(t, `{"type":"descriptor","descriptor":{"platform":"discord","label":"newer"}}`)
		p.send(t, `{"type":"descriptor","descriptor":{"platform":"discord","label":"`+strings.Repeat("l", 64<<10)+`"}}`)
		p.send(t, `{"type":"descriptor","descriptor":{"platform":"`+strings.Repeat("p", 1<<10+1)+`"}}`)
		synctest.Wait()
		own := 0
		for i := range 1000 {
			if conn.Descriptor(many(i)).Label == "own" {
				own++
			}
		}
		is.Equal(own, 63)                                   // beside discord's; the others have the session's
		is.Equal(conn.Descriptor("discord").Label, "newer") // what is known is still replaced
		is.Equal(conn.Descriptor(many(999)).Platform, "discord")
		is.Equal(conn.Stats().Malformed, uint64(2))
	})
}

func TestAnAnswerToTheUpgradeIsBounded(t *testing.T) {
	for name, endless := range map[string]struct{ start, more string }{
		"a status":   {"HTTP/1.1 101 ", strings.Repeat("s", 1000)},
		"a header":   {"HTTP/1.1 101 Switching Protocols\r\nX-Header: ", strings.Repeat("h", 1000)},
		"headers":    {"HTTP/1.1 101 Switching Protocols\r\n", "X-Header: a\r\n"},
		"a 302":      {"HTTP/1.1 302 Found\r\nLocation: /", strings.Repeat("l", 1000)},
		"no answer":  {"", strings.Repeat("z", 1000)},
		"line feeds": {"", "\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				listener := newPipeListener()
				sent := make(chan int, 1)
				go func() {
					conn := <-listener.accepted
					defer conn.Close()
					http.ReadRequest(bufio.NewReader(conn))
					sum, err := io.WriteString(conn, endless.start)
					for n := 0; err == nil && sum <= 1<<20; sum += n {
						n, err = io.WriteString(conn, endless.more)
					}
					sent <- sum
				}()
				cfg := relay.Config{URL: "ws://c/relay", Fronts: []relay.Front{{Platform: "discord"}}, NetDial: listener.dial}
				start := time.Now()
				_, err := relay.Dial(t.Context(), cfg)
				is.True(err != nil)
				is.Equal(time.Since(start), time.Duration(0)) // not once the time for the handshake is over
				is.True(<-sent <= 200<<10)                    // as much was read, and no more
			})
		})
	}
}

func TestWhatComesBehindTheAnswerToTheUpgradeIsNoPartOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newConnector(t)
		go func() {
			p := <-c.peers
			p.ws.ReadMessage()
			p.send(t, `{"type":"descriptor","descriptor":{"platform":"discord"}}`)
			for range 100 {
				p.send(t, `{"type":"x","pad":"`+strings.Repeat("p", 10_000)+`"}`)
			}
			p.send(t, inbound("b-1", "behind a megabyte"))
			p.ws.ReadMessage()
			p.ws.Close()
		}()
		conn, err := relay.Dial(t.Context(), c.config())
		is.NoErr(err)
		d, err := conn.Receive(t.Context())
		is.NoErr(err)
		is.Equal(d.BufferID, "b-1")
		conn.Close(t.Context())
	})
}

func TestDialMindsItsContextAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		listener := newPipeListener() // takes the request and never answers
		go func() {
			for conn := range listener.accepted {
				go io.Copy(io.Discard, conn)
			}
		}()
		defer close(listener.accepted)
		cfg := relay.Config{URL: "ws://c/relay", Fronts: []relay.Front{{Platform: "discord"}}, NetDial: listener.dial}
		start := time.Now()
		_, err := relay.Dial(t.Context(), cfg)
		is.True(errors.Is(err, context.DeadlineExceeded))
		is.Equal(time.Since(start), 30*time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		_, err = relay.Dial(ctx, cfg)
		is.True(errors.Is(err, context.Canceled))
		is.Equal(time.Since(start), time.Second)
	})
}

func TestDoAnswers(t *testing.T) {
	tests := map[string]struct {
		result         string
		want           relay.Result
		refused        *relay.OpError
		outcomeUnknown bool
	}{
		"success": {`{"success":true,"message_id":7}`, relay.Result{Success: true, MessageID: "7"}, nil, false},
		"refused": {
			`{"success":false,"error":"not routed","code":"egress_declined"}`,
			relay.Result{Error: "not routed", Code: "egress_declined"},
			&relay.OpError{Code: "egress_declined", Message: "not routed"}, false,
		},
		"ambiguous": {
			`{"success":false,"error":"timed out","ambiguous":true}`,
			relay.Result{Error: "timed out", Ambiguous: true},
			&relay.OpError{Message: "timed out"}, true,
		},
		"a message, and no word of failure": {
			`{"success":"yes","message_id":"7"}`, relay.Result{MessageID: "7"}, &relay.OpError{}, true,
		},
		"a message that is refused": {
			`{"success":false,"message_id":"7","error":"no"}`,
			relay.Result{MessageID: "7", Error: "no"}, &relay.OpError{Message: "no"}, false,
		},
		"retryable": {
			`{"success":false,"error":"slow down","code":"rate_limited","retryable":true,"retry_after":1.5}`,
			relay.Result{Error: "slow down", Code: "rate_limited", Retryable: new(true), RetryAfter: 1.5},
			&relay.OpError{Code: "rate_limited", Message: "slow down", Retryable: new(true), RetryAfter: 1.5}, false,
		},
		"not retryable, and a pause that is none": {
			`{"success":false,"retryable":false,"retry_after":"-3"}`,
			relay.Result{Retryable: new(false)}, &relay.OpError{Retryable: new(false)}, false,
		},
		"a pause as text": {
			`{"success":false,"retryable":"yes","retry_after":"3"}`,
			relay.Result{RetryAfter: 3}, &relay.OpError{RetryAfter: 3}, false,
		},
		"no object":         {`7`, relay.Result{}, &relay.OpError{}, false},
		"cannot be decoded": {`{"success":true,"message_id":"` + "\xff" + `"}`, relay.Result{}, nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dial(t)
				go func() {
					peer.send(t, `{"type":"outbound_result","requestId":"`+requestID(<-peer.lines)+`","result":`+tt.result+`}`)
				}()
				result, err := conn.Do(t.Context(), send("hi"))
				is.Equal(result, tt.want)
				is.Equal(errors.Is(err, relay.ErrOutcomeUnknown), tt.outcomeUnknown)
				refused, _ := errors.AsType[*relay.OpError](err)
				is.Equal(refused, tt.refused)
				is.Equal(err == nil, tt.want.Success)
			})
		})
	}
}

func TestDoSaysWhenTheOutcomeIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		start := time.Now()
		out := send("hi")
		out.RequestID = "mine"
		_, err := conn.Do(t.Context(), out)
		is.True(errors.Is(err, relay.ErrOutcomeUnknown))
		is.Equal(time.Since(start), 75*time.Second)
		is.Equal(requestID(<-peer.lines), "mine")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = conn.Do(ctx, send("hi"))
		is.True(errors.Is(err, relay.ErrOutcomeUnknown))
		is.True(errors.Is(err, context.DeadlineExceeded))

		peer.send(t, succeed(<-peer.lines), `{"type":"outbound_result","requestId":"never"}`)
		synctest.Wait()
		is.Equal(conn.Stats().Unclaimed, uint64(2)) // late and unknown ones are ignored

		_, err = conn.Do(ctx, send("hi"))
		is.True(errors.Is(err, context.DeadlineExceeded))
		is.True(!errors.Is(err, relay.ErrOutcomeUnknown)) // too late to send it
	})
}

func TestDoWhenTheSocketEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		go func() {
			<-peer.lines
			peer.close(4403, "revoked")
		}()
		_, err := conn.Do(t.Context(), send("hi"))
		is.True(errors.Is(err, relay.ErrOutcomeUnknown)) // it had left
		kind, _ := relay.KindOf(err)
		is.Equal(kind, relay.CloseRefused)

		_, err = conn.Do(t.Context(), send("hi"))
		is.True(!errors.Is(err, relay.ErrOutcomeUnknown)) // it never left
		kind, _ = relay.KindOf(err)
		is.Equal(kind, relay.CloseRefused)
		kind, _ = relay.KindOf(conn.Ack("b"))
		is.Equal(kind, relay.CloseRefused)
		kind, _ = relay.KindOf(conn.GoIdle(t.Context()))
		is.Equal(kind, relay.CloseRefused)
	})
}

func TestDoRefusesWhatItCannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		_, err := conn.Do(t.Context(), relay.Outbound{Action: relay.Action{"op": make(chan int)}})
		is.True(err != nil)
		is.True(!errors.Is(err, relay.ErrOutcomeUnknown))

		out := send("hi")
		out.RequestID = "same"
		first := make(chan error)
		go func() {
			_, err := conn.Do(t.Context(), out)
			first <- err
		}()
		line := <-peer.lines
		_, err = conn.Do(t.Context(), out)
		is.True(err != nil) // the first is in flight
		is.True(!errors.Is(err, relay.ErrOutcomeUnknown))
		peer.send(t, succeed(line))
		is.NoErr(<-first)
		go func() { peer.send(t, succeed(<-peer.lines)) }()
		_, err = conn.Do(t.Context(), out)
		is.NoErr(err) // and now it is not
	})
}

func TestOutboundLeavesAsTheContractHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		out := send("<ä>\n" + "\xff")
		out.RequestID = "r"
		is.NoErr(conn.Post(out))
		is.Equal(<-peer.lines, `{"type":"outbound","requestId":"r","action":{"chat_id":"c","content":"<ä>\n`+"\uFFFD"+
			`","op":"send"},"platform":"discord","botId":"bot-d"}`)
		is.NoErr(conn.Post(send(strings.Repeat("x", 1<<20)))) // one message, whatever its size
		is.True(len(<-peer.lines) > 1<<20)
	})
}

func TestInterruptLeavesAsTheContractHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		is.NoErr(conn.Interrupt("agent:main:discord:dm:7", "the user said /stop"))
		is.Equal(<-peer.lines, `{"type":"interrupt","session_key":"agent:main:discord:dm:7","reason":"the user said /stop"}`)
		is.NoErr(conn.Interrupt("agent:main:discord:dm:7", "")) // nothing waits for an answer
		is.Equal(<-peer.lines, `{"type":"interrupt","session_key":"agent:main:discord:dm:7","reason":null}`)
		is.True(conn.Interrupt("", "no session") != nil)
		synctest.Wait()
		is.Equal(len(peer.lines), 0)
		is.NoErr(peer.ws.Close())
		<-conn.Done()
		_, isClose := errors.AsType[*relay.CloseError](conn.Interrupt("agent:main:discord:dm:7", ""))
		is.True(isClose) // the end says why it could not be sent
	})
}

func TestPingsKeepTheConnAndTheirLackEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		start := time.Now()
		pings := 0
		answer := peer.ws.PingHandler()
		peer.ws.SetPingHandler(func(data string) error {
			if pings++; pings > 20 {
				return nil
			}
			return answer(data)
		})
		peer.listen()
		err := ending(t, conn)
		e, ok := errors.AsType[*relay.CloseError](err)
		is.True(ok)
		is.Equal(e.Code, 1006)
		is.True(strings.Contains(err.Error(), "pong"))
		is.Equal(time.Since(start).Round(time.Second), 21*30*time.Second+60*time.Second) // from the first unanswered
	})
}

func TestPeersPingsAreAnsweredWhileNobodyReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		_, peer := dialDeaf(t)
		pongs := make(chan string, 1)
		peer.ws.SetPongHandler(func(data string) error { pongs <- data; return nil })
		peer.listen()
		peer.send(t, inbound("b", "hi"))
		start := time.Now()
		is.NoErr(peer.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Time{}))
		is.Equal(<-pongs, "x")
		is.Equal(time.Since(start), time.Duration(0))
	})
}

// Whatever waits, and although there is no room for more.
func TestPeersPingsAreAnsweredWhileTheQueueIsFull(t *testing.T) {
	for name, buffer := range map[string]string{"live": "", "buffered": "b"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dialDeaf(t, func(cfg *relay.Config) { cfg.QueueEntries = 2 })
				pongs := make(chan string, 1)
				peer.ws.SetPongHandler(func(data string) error { pongs <- data; return nil })
				peer.listen()
				for i := range 6 {
					if buffer != "" {
						buffer = fmt.Sprint("b", i)
					}
					peer.send(t, inbound(buffer, "hi"))
				}
				synctest.Wait()
				waiting, _ := conn.Queued()
				is.Equal(waiting, 2)
				is.NoErr(peer.ws.WriteControl(websocket.PingMessage, []byte("x"), time.Time{}))
				select {
				case data := <-pongs:
					is.Equal(data, "x")
				case <-time.After(time.Second):
					t.Error("no pong")
				}
			})
		})
	}
}

func TestCloseFrameEndsTheConnAfterWhatIsQueued(t *testing.T) {
	tests := map[string]struct {
		code   int
		reason string
		want   relay.CloseKind
	}{
		"expired":    {4401, "expired", relay.CloseExpired},
		"refused":    {4401, "unauthorized", relay.CloseRefused},
		"revoked":    {4403, "revoked", relay.CloseRefused},
		"duplicate":  {1008, "duplicate session", relay.CloseDuplicate},
		"replaced":   {1000, "replaced", relay.CloseReplaced},
		"suspended":  {1013, "", relay.CloseSuspended},
		"going away": {1001, "", relay.CloseGoingAway},
		"no code":    {1005, "", relay.CloseBroken},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dial(t)
				peer.send(t, inbound("b-1", "hi"), inbound("b-2", "hi"))
				peer.close(tt.code, tt.reason)
				<-conn.Done()
				receive(t, conn, 2)
				for range 2 {
					e, ok := errors.AsType[*relay.CloseError](ending(t, conn)) // again and again
					is.True(ok)
					is.Equal(*e, relay.CloseError{Code: tt.code, Reason: tt.reason})
					is.Equal(e.Kind(), tt.want)
				}
				e, ok := errors.AsType[*websocket.CloseError](<-peer.ended)
				is.True(ok) // the close frame is answered
				is.Equal(e.Code, tt.code)
				is.NoErr(conn.Close(t.Context()))
			})
		})
	}
}

func TestBrokenSocketEndsTheConn(t *testing.T) {
	tests := map[string]func(p *peer){
		"end without close frame": func(p *peer) { p.ws.NetConn().Close() },
		"in the middle of one":    func(p *peer) { p.ws.NetConn().Write([]byte{0x81, 126, 1}); p.ws.NetConn().Close() },
		"not WebSocket":           func(p *peer) { p.ws.NetConn().Write([]byte("HTTP/1.1 500\r\n\r\n")) },
		"an endless message":      func(p *peer) { p.ws.NetConn().Write([]byte("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff")) },
	}
	for name, breakIt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				conn, peer := dial(t)
				breakIt(peer)
				e, ok := errors.AsType[*relay.CloseError](ending(t, conn))
				is.True(ok)
				is.Equal(e.Code, 1006)
				is.Equal(e.Kind(), relay.CloseBroken)
			})
		})
	}
}

func TestGoIdleWaitsForTheAckWhileServingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		peer.send(t, `{"type":"going_idle_ack"}`) // nobody has asked
		synctest.Wait()
		idle := make(chan error, 1)
		go func() { idle <- conn.GoIdle(t.Context()) }()
		is.Equal(<-peer.lines, `{"type":"going_idle"}`)
		peer.send(t, inbound("b", "late"))
		is.Equal(receive(t, conn, 1)[0].BufferID, "b")
		is.NoErr(conn.Ack("b"))
		is.Equal(<-peer.lines, ack("b"))
		synctest.Wait()
		is.Equal(len(idle), 0)
		blanks := strings.Repeat(" ", 126)
		peer.sendAtOnce(t, inbound("b-2", "before the ack")+blanks, `{"type":"going_idle_ack"}`+blanks)
		is.NoErr(<-idle)
		done, cancel := context.WithCancel(t.Context())
		cancel()
		d, err := conn.Receive(done) // what came before the ack is there without a wait
		is.NoErr(err)
		is.Equal(d.BufferID, "b-2")
	})
}

func TestGoIdleMayBeAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dial(t)
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return conn.GoIdle(ctx)
		}
		is.True(errors.Is(ask(), context.DeadlineExceeded))
		peer.send(t, `{"type":"going_idle_ack"}`) // late, and yet the connector has flipped
		synctest.Wait()
		is.NoErr(ask())
		is.True(errors.Is(ask(), context.DeadlineExceeded)) // that ack counts once
		is.Equal(len(peer.lines), 3)                        // each call asks
		go peer.send(t, `{"type":"going_idle_ack"}`)
		is.NoErr(ask())
	})
}

func TestCloseReadsOnUntilThePeersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		peer.ws.SetCloseHandler(func(code int, _ string) error {
			is.Equal(code, websocket.CloseNormalClosure)
			go func() {
				peer.send(t, inbound("b", "after the close frame"))
				time.Sleep(time.Minute)
				peer.close(websocket.CloseNormalClosure, "")
			}()
			return nil
		})
		peer.listen()
		start := time.Now()
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(func() { is.NoErr(conn.Close(context.Background())) })
		}
		closing.Wait()
		is.Equal(time.Since(start), time.Minute)
		is.Equal(receive(t, conn, 1)[0].BufferID, "b")
		is.True(errors.Is(ending(t, conn), net.ErrClosed))
		is.True(errors.Is(conn.Ack("b"), net.ErrClosed))
		is.NoErr(conn.Close(t.Context()))
	})
}

func TestCloseIsCutShortByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		peer.ws.SetCloseHandler(func(int, string) error { return nil }) // it hears, and does nothing
		peer.listen()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		is.True(errors.Is(conn.Close(ctx), context.DeadlineExceeded))
		is.Equal(time.Since(start), 3*time.Second)
		is.True(errors.Is(ending(t, conn), net.ErrClosed))
	})
}

func TestHangupWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, peer := dialDeaf(t)
		peer.ws.SetCloseHandler(func(int, string) error { return nil })
		peer.listen()
		is.NoErr(conn.Ack("b"))
		start := time.Now()
		is.NoErr(conn.Hangup(t.Context()))
		is.Equal(time.Since(start), time.Duration(0))
		is.Equal(<-peer.lines, ack("b"))
		is.Equal(<-peer.lines, `{"type":"going_idle"}`)
		e, ok := errors.AsType[*websocket.CloseError](<-peer.ended)
		is.True(ok)
		is.Equal(e.Code, websocket.CloseNormalClosure)
		is.True(errors.Is(ending(t, conn), net.ErrClosed))
	})
}

func TestHangupOnAPeerThatDoesNotReadEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		conn, _ := dialDeaf(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		is.True(conn.Hangup(ctx) != nil)
		is.Equal(time.Since(start), 300*time.Millisecond)
	})
}

func TestTokenIsInNoErrorAndNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var logged bytes.Buffer
		const canary = "canary-token"
		var texts []string
		note := func(err error) {
			is.True(err != nil)
			texts = append(texts, fmt.Sprintf("%v %+v %#v", err, err, err))
		}
		with := func(cfg *relay.Config) {
			cfg.Token = relay.NewSecret(canary)
			cfg.Log = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		for _, status := range []int{400, 401, 500} { // each says the header back
			c := newConnector(t)
			c.status = status
			cfg := c.config()
			with(&cfg)
			_, err := relay.Dial(t.Context(), cfg)
			note(err)
			texts = append(texts, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg))
			cfg.URL = "ws://" + canary + "\x7f/relay"
			_, err = relay.Dial(t.Context(), cfg)
			note(err)
			cfg = relay.Config{URL: "ws://connector/relay", Fronts: cfg.Fronts, Token: cfg.Token,
				NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
			_, err = relay.Dial(t.Context(), cfg)
			note(err)
		}
		conn, peer := dial(t, with)
		is.True(strings.Contains(peer.header.Get("Authorization"), canary)) // there it is
		peer.send(t, canary, `{"type":"`+canary+`"}`)
		peer.close(4401, "unauthorized")
		note(ending(t, conn))
		_, err := conn.Do(t.Context(), send("hi"))
		note(err)
		is.True(!strings.Contains(strings.Join(texts, "\n")+logged.String(), canary))
	})
}

func TestRealSocket(t *testing.T) {
	is := is.New(t)
	const n = 5000
	result := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result <- func() error {
			ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				return err
			}
			defer ws.Close()
			if _, _, err := ws.ReadMessage(); err != nil {
				return err
			}
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"descriptor","descriptor":{}}`+"\n")); err != nil {
				return err
			}
			const window = 100
			for i := range n + window { // up to a window ahead of the acks
				if i < n {
					if err := ws.WriteMessage(websocket.BinaryMessage, []byte(inbound(fmt.Sprint(i), "hi")+"\n")); err != nil {
						return err
					}
				}
				if i >= window {
					_, line, err := ws.ReadMessage()
					if err != nil {
						return err
					}
					if want := ack(fmt.Sprint(i-window)) + "\n"; string(line) != want {
						return fmt.Errorf("got %s, want %s", line, want)
					}
				}
			}
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "done"), time.Now().Add(time.Second))
			_, _, err = ws.ReadMessage()
			if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != 1001 {
				return err
			}
			return nil
		}()
	}))
	defer srv.Close()
	conn, err := relay.Dial(t.Context(), relay.Config{
		URL:    "ws" + strings.TrimPrefix(srv.URL, "http") + "/relay",
		Fronts: []relay.Front{{Platform: "discord"}},
	})
	is.NoErr(err)
	for i := range n {
		d, err := conn.Receive(t.Context())
		is.NoErr(err)
		is.Equal(d.BufferID, fmt.Sprint(i))
		is.NoErr(conn.Ack(d.BufferID))
	}
	_, err = conn.Receive(t.Context())
	kind, _ := relay.KindOf(err)
	is.Equal(kind, relay.CloseGoingAway)
	is.NoErr(conn.Close(t.Context()))
	is.NoErr(<-result)
}

func TestSecureSocket(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		ws.ReadMessage()
		ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"descriptor"}`+"\n"))
		ws.ReadMessage()
	}))
	offered := make(chan []string, 2)
	srv.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- hello.SupportedProtos
		return nil, nil
	}}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	defer srv.Close()
	cfg := relay.Config{
		URL:    "wss" + strings.TrimPrefix(srv.URL, "https") + "/relay",
		Fronts: []relay.Front{{Platform: "discord"}},
	}
	_, err := relay.Dial(t.Context(), cfg)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	is.True(unverified) // by default the certificate is verified
	is.Equal(<-offered, []string{"http/1.1"})

	cfg.NetDial = (&tls.Dialer{Config: srv.Client().Transport.(*http.Transport).TLSClientConfig}).DialContext
	conn, err := relay.Dial(t.Context(), cfg)
	is.NoErr(err) // a NetDial's TLS is taken as it is
	is.NoErr(conn.Close(t.Context()))
}
