// Package backend opens the adapters of clusters by name, for the programs that are tested as nodes of them.
package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	gonats "github.com/nats-io/nats.go"
	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/nats"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
)

// Names lists the adapters, for the description of a flag.
const Names = `"memory", "redis", "redis-sharded" (also "-private", "-static"), "redis-streams", "postgres", "nats"`

// Open returns the adapter of this name over the backend at url, and a function to call after the server has closed.
// The factory is nil for the default adapter.
func Open(name, url string) (open adapter.Factory, closeBackend func() error, err error) {
	switch name {
	case "memory":
		return nil, func() error { return nil }, nil
	case "postgres":
		return openPostgres(url)
	case "nats":
		return openNATS(url)
	case "redis", "redis-specific", "redis-sharded", "redis-sharded-private", "redis-sharded-static", "redis-streams":
		return openRedis(name, url)
	}
	return nil, nil, fmt.Errorf("unknown adapter %q", name)
}

func openRedis(name, url string) (adapter.Factory, func() error, error) {
	options, err := goredis.ParseURL(url)
	if err != nil {
		return nil, nil, err
	}
	client := goredis.NewClient(options)
	sharded := func(mode redis.SubscriptionMode) adapter.Factory {
		return redis.NewSharded(client, &redis.ShardedOptions{SubscriptionMode: mode})
	}
	var open adapter.Factory
	switch name {
	case "redis":
		open = redis.New(client, nil)
	case "redis-specific":
		open = redis.New(client, &redis.Options{SpecificResponseChannel: true})
	case "redis-sharded":
		open = sharded(redis.Dynamic)
	case "redis-sharded-private":
		open = sharded(redis.DynamicPrivate)
	case "redis-sharded-static":
		open = sharded(redis.Static)
	case "redis-streams":
		open = redisstreams.New(client, nil)
	}
	return open, client.Close, nil
}

// connectTimeout bounds the wait for a backend at the start.
const connectTimeout = 10 * time.Second

func openPostgres(url string) (adapter.Factory, func() error, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	if err := postgres.CreateTable(ctx, pool, nil); err != nil {
		pool.Close()
		return nil, nil, err
	}
	return postgres.New(pool, nil), func() error { pool.Close(); return nil }, nil
}

func openNATS(url string) (adapter.Factory, func() error, error) {
	conn, err := gonats.Connect(url, gonats.MaxReconnects(-1))
	if err != nil {
		return nil, nil, err
	}
	return nats.New(conn, nil), func() error { conn.Close(); return nil }, nil
}
