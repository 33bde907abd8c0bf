// Command emit is an emitter for the tests of the parent directory. It executes the commands on its standard input, one per
// line, and answers each with a line. emit.js is its counterpart with the official emitters.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	gonats "github.com/nats-io/nats.go"
	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/emitter"
)

func main() {
	log.SetFlags(0)
	name := flag.String("adapter", "redis", "how nodes are connected")
	url := flag.String("backend", "redis://127.0.0.1:6379", "URL of what connects them")
	flag.Parse()
	if err := run(*name, *url); err != nil {
		log.Fatal(err)
	}
}

func run(name, url string) error {
	e, closeBackend, err := open(name, url)
	if err != nil {
		return err
	}
	defer closeBackend()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		if err := c.do(e); err != nil {
			fmt.Println("failed", err)
		} else {
			fmt.Println("done")
		}
	}
	return lines.Err()
}

func open(name, url string) (e emitter.Emitter, closeBackend func(), err error) {
	switch name {
	case "postgres":
		pool, err := pgxpool.New(context.Background(), url)
		if err != nil {
			return e, nil, err
		}
		return postgres.NewEmitter(pool, nil), pool.Close, nil
	case "nats":
		conn, err := gonats.Connect(url)
		if err != nil {
			return e, nil, err
		}
		return nats.NewEmitter(conn, nil), conn.Close, nil
	}
	options, err := goredis.ParseURL(url)
	if err != nil {
		return e, nil, err
	}
	client := goredis.NewClient(options)
	closeBackend = func() { _ = client.Close() }
	sharded := func(mode redis.SubscriptionMode) emitter.Emitter {
		return redis.NewShardedEmitter(client, &redis.ShardedOptions{SubscriptionMode: mode})
	}
	switch name {
	case "redis":
		return redis.NewEmitter(client, nil), closeBackend, nil
	case "redis-sharded":
		return sharded(redis.Dynamic), closeBackend, nil
	case "redis-sharded-private":
		return sharded(redis.DynamicPrivate), closeBackend, nil
	case "redis-sharded-static":
		return sharded(redis.Static), closeBackend, nil
	case "redis-streams":
		return redisstreams.NewEmitter(client, nil), closeBackend, nil
	}
	closeBackend()
	return e, nil, fmt.Errorf("unknown adapter %q", name)
}

// command is a line of the input.
type command struct {
	Op       string   `json:"op"`
	Of       string   `json:"of"`
	Rooms    []string `json:"rooms"`
	Except   []string `json:"except"`
	To       []string `json:"to"`
	Volatile bool     `json:"volatile"`
	Compress *bool    `json:"compress"`
	Event    string   `json:"event"`
	Args     []any    `json:"args"`
	Close    bool     `json:"close"`
}

func (c *command) do(e emitter.Emitter) error {
	if c.Of != "" {
		e = e.Of(c.Of)
	}
	e = e.To(c.Rooms...).Except(c.Except...)
	if c.Volatile {
		e = e.Volatile()
	}
	if c.Compress != nil {
		e = e.Compress(*c.Compress)
	}
	for i, arg := range c.Args {
		c.Args[i] = revive(arg)
	}
	switch c.Op {
	case "emit":
		return e.Emit(c.Event, c.Args...)
	case "join":
		return e.SocketsJoin(c.To...)
	case "leave":
		return e.SocketsLeave(c.To...)
	case "disconnect":
		return e.DisconnectSockets(c.Close)
	case "sse":
		return e.ServerSideEmit(c.Event, c.Args...)
	}
	return fmt.Errorf("unknown operation %q", c.Op)
}

// revive replaces the representation of binary data: {"$bin": base64}.
func revive(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = revive(v[i])
		}
	case map[string]any:
		if text, ok := v["$bin"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				panic(err) // a mistake of the tests
			}
			return b
		}
		for key := range v {
			v[key] = revive(v[key])
		}
	}
	return v
}
