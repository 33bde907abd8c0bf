// Command node is a node of the cluster that the benchmark runs: a Socket.IO server on a Redis.
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
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/socketio"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	backend := flag.String("redis", "127.0.0.1:6379", "address of the Redis")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *backend); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, backend string) error {
	client := goredis.NewClient(&goredis.Options{Addr: backend})
	defer client.Close()
	open := redis.New(client, nil)
	var cluster *adapter.Cluster
	io := socketio.NewServer(&socketio.Options{
		Adapter: func(ns adapter.Namespace) adapter.Adapter {
			a := open(ns)
			cluster, _ = a.(*adapter.Cluster)
			return a
		},
	})
	register(io, func() adapter.ClusterStats { return cluster.Stats() })

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	web := &http.Server{Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	fmt.Println("listening on", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := io.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return web.Close()
}

// publication requests Count broadcasts of Data to Room.
type publication struct {
	Room  string `json:"room"`
	Data  string `json:"data"`
	Count int    `json:"count"`
}

// register registers the events of the benchmark on io. stats returns the statistics of its adapter.
func register(io *socketio.Server, stats func() adapter.ClusterStats) {
	socketio.OnAck(io, "join", func(s *socketio.Socket, room string) bool { return s.Join(room) == nil })
	// publish is acknowledged when Redis has accepted all broadcasts.
	socketio.OnAck(io, "publish", func(_ *socketio.Socket, p publication) bool {
		for range p.Count {
			if err := io.To(p.Room).Emit("msg", p.Data); err != nil {
				log.Print(err)
				return false
			}
		}
		for stats().QueuedBytes > 0 {
			time.Sleep(100 * time.Microsecond)
		}
		s := stats()
		return s.Failed == 0 && s.Dropped == 0 && s.Lost == 0
	})
}
