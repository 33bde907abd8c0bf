package epoll

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

// runEcho replies in Run, from a Message, like a session.
type runEcho struct {
	echoHandler
	mu   sync.Mutex
	data []byte
}

func (e *runEcho) HandleMessage(_ transport.Conn, data []byte, _ bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.data = append(e.data[:0], data[1:]...)
	return true
}

func (e *runEcho) Run(c transport.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := transport.NewMessage()
	m.SetText(append(m.Buffer(), e.data...))
	c.Send(m)
	m.Release()
}

// BenchmarkEcho sends messages over loopback and waits for the replies, with the named number of clients in turn.
// The figures include the clients, which do not allocate.
func BenchmarkEcho(b *testing.B) {
	for _, k := range []kind{{name: "epoll"}, {name: "goroutines", options: Options{DisableEpoll: true}}} {
		for _, clients := range []int{1, 100} {
			for _, size := range []int{32, 6 << 10, 16 << 10, 64 << 10} {
				b.Run(fmt.Sprintf("%s/clients=%d/bytes=%d", k.name, clients, size), func(b *testing.B) {
					benchmarkEcho(b, k, clients, size)
				})
			}
		}
	}
}

func benchmarkEcho(b *testing.B, k kind, clients, size int) {
	ts := serve(b, k, func(c *Conn) { c.Start(new(runEcho)) })
	message := text("4" + strings.Repeat("x", size-1))
	answer := make([]byte, len(transport.AppendHeader(nil, transport.OpText, size))+size)
	all := make([]*client, clients)
	for i := range all {
		all[i] = ts.dial(b)
		all[i].SetDeadline(time.Time{})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += clients {
		now := all[:min(clients, b.N-n)]
		for _, c := range now {
			c.Write(message)
		}
		for _, c := range now {
			if _, err := io.ReadFull(c.r, answer); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkNeighbour measures the round-trip time of a message while another connection of the same loop sends as
// much as it can.
func BenchmarkNeighbour(b *testing.B) {
	for _, flood := range []struct {
		name  string
		frame []byte
	}{
		{"quiet", nil},
		{"pings", frame(true, transport.OpPing, "")},
		{"long pings", frame(true, transport.OpPing, strings.Repeat("p", 125))},
		{"pongs", frame(true, transport.OpPong, "")},
		{"texts", text("3")},
		{"messages", text(`42["move",{"x":1,"y":2}]`)},
		{"large messages", text(strings.Repeat("x", 64<<10))},
	} {
		b.Run(flood.name, func(b *testing.B) {
			ts := serve(b, kind{options: Options{Loops: 1}}, func(c *Conn) { c.Start(new(runEcho)) })
			if flood.frame != nil {
				flooder := ts.dial(b)
				flooder.SetDeadline(time.Time{})
				go io.Copy(io.Discard, flooder.Conn)
				many := bytes.Repeat(flood.frame, 1+(64<<10)/len(flood.frame))
				go func() {
					for {
						if _, err := flooder.Write(many); err != nil {
							return
						}
					}
				}()
			}
			neighbour := ts.dial(b)
			neighbour.SetDeadline(time.Time{})
			message, answer := text("4hello"), make([]byte, 2+len("4hello"))
			for b.Loop() {
				neighbour.Write(message)
				if _, err := io.ReadFull(neighbour.r, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
