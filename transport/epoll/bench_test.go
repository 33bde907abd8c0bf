package epoll

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

// runEcho answers in Run, from a Message, as a session does.
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

// BenchmarkEcho sends messages over loopback and waits for the answers, with as many clients in
// turn as its name says. The figures contain the clients, which do not allocate.
func BenchmarkEcho(b *testing.B) {
	for _, k := range []kind{{name: "epoll"}, {name: "goroutines", options: Options{DisableEpoll: true}}} {
		for _, clients := range []int{1, 100} {
			for _, size := range []int{32, 16 << 10} {
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
