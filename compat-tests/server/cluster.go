package main

import (
	"context"
	"os"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

// requestTimeout bounds the wait for other nodes.
const requestTimeout = 5 * time.Second

// serveCluster serves the events that concern all nodes.
func serveCluster(io *socketio.Server) {
	io.OnServerEvent("sse", func(e *socketio.ServerEvent) {
		_ = e.Ack(os.Getpid()) // fails if the other node wants no answer
	})
	on := func(event string, f func(ctx context.Context, e *socketio.Event) (any, error)) {
		io.On(event, func(e *socketio.Event) {
			ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
			defer cancel()
			answer, err := f(ctx, e)
			report(e.Socket(), err)
			report(e.Socket(), e.Ack(answer))
		})
	}
	on("fetch", func(ctx context.Context, _ *socketio.Event) (any, error) {
		sockets, err := io.In("all").FetchSockets(ctx)
		ids := []string{}
		for _, s := range sockets {
			ids = append(ids, s.ID())
		}
		return ids, err
	})
	on("sse", func(ctx context.Context, e *socketio.Event) (any, error) {
		answers, err := io.ServerSideEmitWithAck(ctx, "sse", e.Args().Values()...)
		return first(answers), err
	})
	on("bcast-ack", func(ctx context.Context, e *socketio.Event) (any, error) {
		answers, err := io.To("all").Timeout(time.Second).EmitWithAck(ctx, "bcast-ack", e.Args().Values()...)
		return first(answers), err
	})
}

// first returns the first argument of each answer.
func first(answers []socketio.Args) []socketio.Value {
	values := []socketio.Value{}
	for _, a := range answers {
		values = append(values, a.At(0))
	}
	return values
}
