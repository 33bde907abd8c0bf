// Cluster is a node of a cluster: it tells its clients which node they are on, and who is on the others. server.js is its
// twin for Node.js; run.sh starts three of the one and one of the other, with Redis and nginx.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/socketio"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3001", "TCP address to listen on")
	name := flag.String("name", "a", "name of this node; nginx finds the node of a session by its first letter")
	url := flag.String("redis", "redis://127.0.0.1:6379", "URL of Redis")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *name, *url); err != nil {
		log.Fatal("cluster: ", err)
	}
}

// run serves on addr until ctx ends.
func run(ctx context.Context, addr, name, url string) error {
	options, err := goredis.ParseURL(url)
	if err != nil {
		return err
	}
	client := goredis.NewClient(options)
	defer client.Close()
	server := socketio.NewServer(&socketio.Options{
		Adapter:    redis.New(client, nil),
		GenerateID: func(*http.Request) (string, error) { return name + rand.Text(), nil },
	})
	serve(server, node{Name: name, Kind: "Go"})

	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe(addr) }()
	fmt.Println("listening on", addr)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

// node describes a node to clients. It is the data of each of its sockets, so that other nodes can read it.
type node struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// member is a client somewhere in the cluster.
type member struct {
	ID   string `json:"id"`
	Node string `json:"node"`
}

// overview answers the event "cluster".
type overview struct {
	Nodes   []node   `json:"nodes"`
	Members []member `json:"members"`
}

// said is the event that everyone receives when someone says something.
type said struct {
	From member `json:"from"`
	Text string `json:"text"`
}

// serve registers the handlers of a node.
func serve(server *socketio.Server, self node) {
	server.OnServerEvent("name", func(e *socketio.ServerEvent) { logged(e.Ack(self)) })

	server.OnConnect(func(s *socketio.Socket) {
		s.SetData(self)
		logged(s.Emit("you", member{s.ID(), self.Name}))
		logged(server.Emit("changed")) // to the clients of all nodes
		s.OnDisconnect(func(socketio.DisconnectReason) { logged(server.Emit("changed")) })
	})
	server.On("cluster", func(e *socketio.Event) {
		o, err := look(e.Socket().Context(), server, self)
		logged(err)
		logged(e.Ack(o))
	})
	socketio.OnAck(server, "say", func(s *socketio.Socket, text string) string {
		logged(server.Emit("said", said{member{s.ID(), self.Name}, text}))
		return self.Name
	})
	// Asks a client on any node and returns its answer.
	server.On("poke", func(e *socketio.Event) {
		var id string
		if err := e.Bind(&id); err != nil {
			return
		}
		answers, err := server.To(id).Timeout(10*time.Second).EmitWithAck(e.Socket().Context(), "poked", e.Socket().ID())
		if err != nil || len(answers) == 0 {
			logged(e.Ack(nil))
			return
		}
		logged(e.Ack(answers[0].At(0)))
	})
}

// look requests the names and the sockets of all nodes.
func look(ctx context.Context, server *socketio.Server, self node) (overview, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	o := overview{Nodes: []node{self}, Members: []member{}}
	answers, nodesErr := server.ServerSideEmitWithAck(ctx, "name")
	for _, a := range answers {
		var n node
		if err := a.Bind(&n); err == nil {
			o.Nodes = append(o.Nodes, n)
		}
	}
	sockets, socketsErr := server.FetchSockets(ctx)
	for _, s := range sockets {
		var n node
		if err := s.BindData(&n); err == nil {
			o.Members = append(o.Members, member{s.ID(), n.Name})
		}
	}
	return o, errors.Join(nodesErr, socketsErr) // together with the answers that came in time
}

// logged logs an error, unless the reason is that the client has gone.
func logged(err error) {
	if err != nil && !errors.Is(err, socketio.ErrDisconnected) && !errors.Is(err, context.Canceled) {
		log.Print(err)
	}
}
