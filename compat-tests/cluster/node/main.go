// Command node is a Go node for the mixed clusters in the tests of the parent directory. Its clients control it with the
// event "do". node.js is its counterpart on the official server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/compat-tests/cluster/backend"
	"github.com/myriad-rt/myriad/socketio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	name := flag.String("adapter", "redis", "how nodes are connected: "+backend.Names)
	url := flag.String("backend", "redis://127.0.0.1:6379", "URL of what connects them")
	recovery := flag.Duration("recovery", 0, "time in which a client can resume a lost connection; 0 turns that off")
	flag.Parse()
	if err := run(*addr, *name, *url, *recovery); err != nil {
		log.Fatal(err)
	}
}

// readyTimeout is how long a backend may take to begin to hand over messages, on a machine that may be slow and busy.
const readyTimeout = 20 * time.Second

func run(addr, name, url string, recovery time.Duration) (err error) {
	open, closeBackend, err := backend.Open(name, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBackend()) }()
	options := &socketio.Options{Adapter: open}
	if recovery > 0 {
		options.Recovery = new(socketio.Recovery)
		options.Recovery.MaxDisconnection = recovery
	}
	io := socketio.NewServer(options)
	serve(io)
	if cluster, ok := io.Adapter().(*adapter.Cluster); ok {
		// Clients that connect earlier miss broadcasts of other nodes.
		select {
		case <-cluster.Ready():
		case <-time.After(readyTimeout):
			return errors.New("the backend cannot be reached")
		}
	}

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: io}
	go func() { _ = web.Serve(listener) }() // until it is closed
	fmt.Println("listening on", listener.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = io.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // a client whose polls have failed does not close its session
	}
	return errors.Join(err, web.Close())
}

// command is the argument of "do".
type command struct {
	Op      string           `json:"op"`
	Rooms   []string         `json:"rooms"`
	Except  []string         `json:"except"`
	To      []string         `json:"to"`
	Event   string           `json:"event"`
	Args    []socketio.Value `json:"args"`
	Timeout int              `json:"timeout"` // milliseconds
	Close   bool             `json:"close"`
}

// result is the answer to the client.
type result struct {
	Error   string           `json:"error,omitempty"`
	Replies []socketio.Value `json:"replies,omitempty"`
	Sockets []description    `json:"sockets,omitempty"`
	Count   int              `json:"count,omitempty"`
	Heard   []parser.Args    `json:"heard,omitempty"`
}

type description struct {
	ID        string                    `json:"id"`
	Rooms     []string                  `json:"rooms"`
	Data      any                       `json:"data"`
	Handshake socketio.HandshakeDetails `json:"handshake"`
}

func serve(io *socketio.Server) {
	var mu sync.Mutex
	var heard []parser.Args
	listen := func(e *socketio.ServerEvent) {
		mu.Lock()
		heard = append(heard, e.Args())
		mu.Unlock()
		_ = e.Ack("go", e.Args().At(0)) // fails if the client wants no answer
	}
	io.OnServerEvent("sse", listen)
	io.OnConnect(func(s *socketio.Socket) {
		var rooms []string
		_ = s.Handshake().Auth.Bind(&struct {
			Rooms *[]string `json:"rooms"`
		}{&rooms})
		if !s.Recovered() {
			_ = s.Join(rooms...) // far from the limit
			s.SetData(map[string]any{"rooms": len(rooms)})
		}
		_ = s.Emit("ready", "go", os.Getpid())
	})
	io.On("say", func(e *socketio.Event) {
		var room string
		var text socketio.Value
		if err := e.Bind(&room, &text); err == nil {
			_ = io.To(room).Emit("said", text) // encoded already
			_ = e.Ack("go")
		}
	})
	io.On("do", func(e *socketio.Event) {
		var c command
		r := result{}
		if err := e.Bind(&c); err != nil {
			r.Error = err.Error()
		} else if c.Op == "heard" {
			mu.Lock()
			r.Heard, heard = heard, nil
			mu.Unlock()
		} else if err := c.do(io, &r); err != nil {
			r.Error = err.Error()
		}
		_ = e.Ack(r) // fails if the client has gone
	})
}

func (c *command) args() []any {
	args := make([]any, len(c.Args))
	for i, v := range c.Args {
		args[i] = v
	}
	return args
}

func (c *command) do(io *socketio.Server, r *result) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	to := io.To(c.Rooms...).Except(c.Except...).Timeout(time.Duration(c.Timeout) * time.Millisecond)
	switch c.Op {
	case "emit":
		return to.Emit(c.Event, c.args()...)
	case "ack":
		answers, err := to.EmitWithAck(ctx, c.Event, c.args()...)
		r.replies(answers)
		if errors.Is(err, adapter.ErrTimeout) {
			err = errors.New("operation has timed out")
		}
		return err
	case "fetch":
		return r.fetch(ctx, to)
	case "remote":
		found, err := to.FetchSockets(ctx)
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%d sockets: %w", len(found), err)
		}
		answer, err := found[0].EmitWithAck(ctx, c.Event, c.args()...)
		r.replies([]parser.Args{answer})
		return err
	case "join":
		return to.SocketsJoin(c.To...)
	case "leave":
		return to.SocketsLeave(c.To...)
	case "disconnect":
		return to.DisconnectSockets(c.Close)
	case "sse":
		return io.ServerSideEmit(c.Event, c.args()...)
	case "sse-ack":
		answers, err := io.ServerSideEmitWithAck(ctx, c.Event, c.args()...)
		r.replies(answers)
		return err
	case "count":
		var err error
		r.Count, err = io.Adapter().ServerCount(ctx)
		return err
	}
	return errors.New("unknown operation " + c.Op)
}

func (r *result) replies(answers []parser.Args) {
	for _, a := range answers {
		r.Replies = append(r.Replies, a.At(0))
	}
}

func (r *result) fetch(ctx context.Context, to socketio.Broadcast) error {
	found, err := to.FetchSockets(ctx)
	if err != nil {
		return err
	}
	for _, s := range found {
		d := description{ID: s.ID(), Rooms: s.Rooms()}
		if d.Handshake, err = s.Handshake(); err != nil {
			return err
		}
		if err := s.BindData(&d.Data); err != nil {
			return err
		}
		r.Sockets = append(r.Sockets, d)
	}
	return nil
}
