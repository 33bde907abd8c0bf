// Command server is the server under load in the benchmarks: a Socket.IO server with a handful of events, written as
// a user would write it. The README.md of the parent directory describes its contract.
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
	"runtime"
	"syscall"
	"time"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// flags are the command line.
type flags struct {
	addr         string
	debug        string
	pingInterval time.Duration
	ownListener  bool
	noEpoll      bool
	recovery     bool
	deflate      bool
	parser       string
	procs        int
}

func parseFlags() *flags {
	f := new(flags)
	flag.StringVar(&f.addr, "addr", "127.0.0.1:3000", "address to listen on; port 0 takes a free one")
	flag.StringVar(&f.debug, "debug", "", "address for profiles and statistics; empty turns them off")
	flag.DurationVar(&f.pingInterval, "ping-interval", 25*time.Second, "time from a pong to the next ping")
	flag.BoolVar(&f.ownListener, "own-listener", false, "let the Socket.IO server listen itself, without net/http around it")
	flag.BoolVar(&f.noEpoll, "no-epoll", false, "serve WebSocket connections with goroutines")
	flag.BoolVar(&f.recovery, "recovery", false, "let clients resume their sessions")
	flag.BoolVar(&f.deflate, "deflate", false, "compress messages for clients that offer it, with the options' defaults")
	flag.StringVar(&f.parser, "parser", "default", `wire format of Socket.IO packets: "default" or "msgpack"`)
	flag.IntVar(&f.procs, "procs", 0, "value for GOMAXPROCS; zero leaves it as it is")
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
	if f.procs > 0 {
		runtime.GOMAXPROCS(f.procs)
	}
	options := &socketio.Options{
		PingInterval: f.pingInterval,
		DisableEpoll: f.noEpoll,
	}
	if f.recovery {
		options.Recovery = new(socketio.Recovery)
	}
	if f.deflate {
		options.PerMessageDeflate = new(engineio.PerMessageDeflate)
	}
	switch f.parser {
	case "default":
	case "msgpack":
		options.Parser = parser.NewMessagePack(nil)
	default:
		return fmt.Errorf("unknown parser %q", f.parser)
	}
	io := socketio.NewServer(options)
	register(io)

	failed := make(chan error, 2)
	if f.debug != "" {
		listener, err := net.Listen("tcp", f.debug)
		if err != nil {
			return err
		}
		defer listener.Close()
		go func() { failed <- http.Serve(listener, debugHandler(io.Engine())) }()
		fmt.Println("debugging on", listener.Addr())
	}
	listener, err := net.Listen("tcp", f.addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	web := &http.Server{Handler: mux}
	go func() {
		if f.ownListener {
			failed <- io.Serve(listener)
		} else {
			failed <- web.Serve(listener)
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
	// Shut down the Socket.IO server first, because net/http does not track WebSocket connections. A client that does not
	// receive its messages in time is cut off, which is not a failure of this program.
	if err := io.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return web.Close()
}
