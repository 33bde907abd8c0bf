package emitter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/emitter"
)

// A job notifies a user's clients that it is done. The nodes of the cluster may run Go or Node.js.
func Example() {
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	e := redis.NewEmitter(client, nil)
	if err := e.To("user:42").Emit("done", map[string]any{"job": 7, "took": 1.5}); err != nil {
		log.Print(err)
	}
}

// Emitters are immutable: refining one returns a new value.
func ExampleEmitter() {
	e := printing()
	staff := e.Of("/admin").To("staff")
	_ = staff.Except("muted").Emit("alarm", "disk full")
	_ = staff.Volatile().Emit("load", 0.7)
	// Output:
	// /admin {"packet":{"type":2,"data":["alarm","disk full"]},"opts":{"rooms":["staff"],"except":["muted"],"flags":{}}}
	// /admin {"packet":{"type":2,"data":["load",0.7]},"opts":{"rooms":["staff"],"except":[],"flags":{"volatile":true}}}
}

func ExampleEmitter_SocketsJoin() {
	e := printing()
	_ = e.In("user:42").SocketsJoin("lobby", "news")
	// Output:
	// / {"opts":{"rooms":["user:42"],"except":[],"flags":{}},"rooms":["lobby","news"]}
}

func ExampleEmitter_WithContext() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = printing().WithContext(ctx).ServerSideEmit("reload", "prices")
	// Output:
	// / {"packet":["reload","prices"]}
}

// printing returns an emitter that prints messages instead of sending them.
func printing() emitter.Emitter {
	return emitter.New(emitter.PublisherFunc(func(_ context.Context, m *adapter.Message) error {
		fmt.Printf("%s %s\n", m.Namespace, m.AppendData(nil))
		return nil
	}))
}
