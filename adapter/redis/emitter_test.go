package redis_test

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/emitter"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

// emitters holds the emitter for each of kinds.
var emitters = map[string]func(goredis.UniversalClient) emitter.Emitter{
	"classic": func(c goredis.UniversalClient) emitter.Emitter { return redis.NewEmitter(c, nil) },
	"classic, specific channel": func(c goredis.UniversalClient) emitter.Emitter {
		return redis.NewEmitter(c, &redis.Options{Key: "a*[b]"})
	},
	"sharded dynamic": func(c goredis.UniversalClient) emitter.Emitter { return redis.NewShardedEmitter(c, nil) },
	"sharded dynamic-private": func(c goredis.UniversalClient) emitter.Emitter {
		return redis.NewShardedEmitter(c, &redis.ShardedOptions{SubscriptionMode: redis.DynamicPrivate})
	},
	"sharded static": func(c goredis.UniversalClient) emitter.Emitter {
		return redis.NewShardedEmitter(c, &redis.ShardedOptions{SubscriptionMode: redis.Static})
	},
}

func TestEmitter(t *testing.T) {
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			node := func() adapter.Factory { return open(client, adapter.ClusterOptions{}) }
			adaptertest.RunEmitter(t, node, emitters[name](client))
		})
	}
}

func TestEmitterWithoutRedis(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second, DialerRetries: 1, MaxRetries: -1})
	defer client.Close()
	for name, open := range emitters {
		e := open(client)
		for what, err := range map[string]error{
			"Emit": e.Emit("x"), "SocketsJoin": e.SocketsJoin("x"), "ServerSideEmit": e.ServerSideEmit("x"),
		} {
			if err == nil {
				t.Errorf("%s: %s: no error", name, what)
			}
		}
	}
}
