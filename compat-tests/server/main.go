// Command server is the program under test of the compatibility suites: an Engine.IO echo server, and a
// Socket.IO server with a handful of events. The README.md of the parent directory describes its contract.
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

	"github.com/gorilla/mux"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/compat-tests/cluster/backend"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/internal/reuseport"
	"github.com/myriad-rt/myriad/socketio"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// flags are the command line.
type flags struct {
	addr           string
	pingInterval   time.Duration
	pingTimeout    time.Duration
	connectTimeout time.Duration
	maxPayload     int
	corsOrigin     string
	parser         string
	allowEIO3      bool
	deflate        bool
	recovery       time.Duration
	noEpoll        bool
	ownListener    bool
	reusePort      bool
	tlsCert        string
	tlsKey         string
	adapter        string
	backend        string
}

func parseFlags() *flags {
	f := new(flags)
	flag.StringVar(&f.addr, "addr", "127.0.0.1:3000", "address to listen on; port 0 takes a free one")
	flag.DurationVar(&f.pingInterval, "ping-interval", 25*time.Second, "time from a pong to the next ping")
	flag.DurationVar(&f.pingTimeout, "ping-timeout", 20*time.Second, "time that a client has to answer a ping")
	flag.DurationVar(&f.connectTimeout, "connect-timeout", 45*time.Second, "time that a client has to join a namespace")
	flag.IntVar(&f.maxPayload, "max-payload", 1_000_000, "largest message, and largest body of a POST, in bytes")
	flag.StringVar(&f.corsOrigin, "cors-origin", "*", "origin that pages may come from; empty turns CORS off")
	flag.StringVar(&f.parser, "parser", "default", `wire format of Socket.IO packets: "default" or "msgpack"`)
	flag.BoolVar(&f.allowEIO3, "allow-eio3", false, "serve clients of Engine.IO protocol v3, too")
	flag.BoolVar(&f.deflate, "deflate", false, "compress WebSocket messages for clients that offer it")
	flag.DurationVar(&f.recovery, "recovery", 0, "time in which a client can resume a lost connection; 0 turns that off")
	flag.BoolVar(&f.noEpoll, "no-epoll", false, "serve WebSocket connections with goroutines")
	flag.BoolVar(&f.ownListener, "own-listener", false, "let the Socket.IO server listen itself, without net/http around it")
	flag.BoolVar(&f.reusePort, "reuse-port", false, "let other processes listen on the same port")
	flag.StringVar(&f.tlsCert, "tls-cert", "", "file with the certificate chain, which turns TLS on")
	flag.StringVar(&f.tlsKey, "tls-key", "", "file with the key of the certificate")
	flag.StringVar(&f.adapter, "adapter", "memory", "how nodes are connected: "+backend.Names)
	flag.StringVar(&f.backend, "backend", "redis://127.0.0.1:6379", "URL of what connects them")
	flag.Parse()
	return f
}

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		log.Fatal(err)
	}
}

// shutdownTimeout is the time that clients have to receive their queued messages when the program ends.
const shutdownTimeout = 3 * time.Second

// run serves until ctx ends.
func run(ctx context.Context, f *flags) error {
	engine, err := newEcho(f)
	if err != nil {
		return err
	}
	nodes, closeBackend, err := backend.Open(f.adapter, f.backend)
	if err != nil {
		return err
	}
	io, err := newSocketServer(f, engine, nodes)
	if err != nil {
		return err
	}
	routes := mux.NewRouter()
	routes.PathPrefix("/engine.io/").Handler(engine)
	routes.PathPrefix("/socket.io/").Handler(io)

	listener, err := reuseport.Listen(ctx, f.addr, f.reusePort)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: routes}
	failed := make(chan error, 1)
	go func() {
		if f.ownListener {
			failed <- serve(io, listener, f)
		} else {
			failed <- serve(web, listener, f)
		}
	}()
	fmt.Println("listening on", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	// Shut down these servers first, because net/http does not track WebSocket connections. A client that does
	// not receive its messages in time is cut off, which is not a failure of this program.
	var closing sync.WaitGroup
	var ioErr, engineErr error
	closing.Go(func() { ioErr = ignoreTimeout(io.Shutdown(ctx)) })
	closing.Go(func() { engineErr = ignoreTimeout(engine.Shutdown(ctx)) })
	closing.Wait()
	return errors.Join(ioErr, engineErr, web.Close(), closeBackend())
}

// server is the common interface of a Socket.IO server with its own listener and an http.Server.
type server interface {
	Serve(l net.Listener) error
	ServeTLS(l net.Listener, certFile, keyFile string) error
}

func serve(s server, l net.Listener, f *flags) error {
	if f.tlsCert == "" {
		return s.Serve(l)
	}
	return s.ServeTLS(l, f.tlsCert, f.tlsKey)
}

func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (f *flags) cors() *engineio.CORS {
	if f.corsOrigin == "" {
		return nil
	}
	return &engineio.CORS{Origin: f.corsOrigin}
}

func (f *flags) perMessageDeflate() *engineio.PerMessageDeflate {
	if !f.deflate {
		return nil
	}
	return new(engineio.PerMessageDeflate)
}

// echo sends every message of a session back as it came.
type echo struct{ session *engineio.Session }

func newEcho(f *flags) (*engineio.Server, error) {
	return engineio.NewServer(&engineio.Options{
		OnSession:         func(s *engineio.Session) engineio.Handler { return echo{s} },
		PingInterval:      f.pingInterval,
		PingTimeout:       f.pingTimeout,
		MaxHTTPBufferSize: f.maxPayload,
		AllowEIO3:         f.allowEIO3,
		CORS:              f.cors(),
		PerMessageDeflate: f.perMessageDeflate(),
		DisableEpoll:      f.noEpoll,
	})
}

func (e echo) HandleMessage(data []byte, binary bool) (run bool) {
	m := transport.NewMessage()
	defer m.Release()
	if binary {
		m.SetBinary(data)
	} else {
		m.SetText(append(m.Buffer(), data...))
	}
	_ = e.session.Send(m) // fails if the session has closed
	return false
}

func (echo) Run()                                    {}
func (echo) HandleDrain()                            {}
func (echo) HandleClose(engineio.CloseReason, error) {}

// newSocketServer returns the Socket.IO server. notFound gets the requests for other paths, where the server
// listens itself.
func newSocketServer(f *flags, notFound http.Handler, nodes adapter.Factory) (*socketio.Server, error) {
	options := &socketio.Options{
		PingInterval:      f.pingInterval,
		PingTimeout:       f.pingTimeout,
		ConnectTimeout:    f.connectTimeout,
		MaxHTTPBufferSize: f.maxPayload,
		AllowEIO3:         f.allowEIO3,
		CORS:              f.cors(),
		PerMessageDeflate: f.perMessageDeflate(),
		DisableEpoll:      f.noEpoll,
		NotFound:          notFound,
		Adapter:           nodes,
	}
	if f.recovery > 0 {
		options.Recovery = new(socketio.Recovery)
		options.Recovery.MaxDisconnection = f.recovery
	}
	switch f.parser {
	case "default":
	case "msgpack":
		options.Parser = parser.NewMessagePack(nil)
	default:
		return nil, fmt.Errorf("unknown parser %q", f.parser)
	}
	io := socketio.NewServer(options)

	io.OnConnect(func(s *socketio.Socket) {
		_ = s.Join("all") // far from the limit
		sendAuth(s)
	})
	io.Of("/custom").OnConnect(sendAuth)

	io.On("message", func(e *socketio.Event) {
		report(e.Socket(), e.Socket().Emit("message-back", e.Args().Values()...))
	})
	io.On("message-with-ack", func(e *socketio.Event) {
		report(e.Socket(), e.Ack(e.Args().Values()...))
	})
	socketio.OnAck(io, "echo", func(_ *socketio.Socket, v socketio.Value) socketio.Value { return v })
	socketio.On(io, "bcast", func(s *socketio.Socket, v socketio.Value) {
		report(s, io.To("all").Emit("msg", v))
	})
	serveCluster(io)
	return io, nil
}

// sendAuth sends a client the auth payload with which it connected.
func sendAuth(s *socketio.Socket) { report(s, s.Emit("auth", s.Handshake().Auth)) }

// report logs an error of sending to s, unless s has left.
func report(s *socketio.Socket, err error) {
	if err != nil && s.Connected() {
		log.Printf("socket %s: %v", s.ID(), err)
	}
}
