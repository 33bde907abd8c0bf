package redispubsub

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
)

// onceCmd is a command that the client does not retry when the outcome is unknown.
type onceCmd struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (onceCmd) NoRetry() bool { return true }

// Once returns a command that is sent at most once. Its second argument is its key.
func Once(ctx context.Context, args ...any) redis.Cmder {
	cmd := onceCmd{redis.NewCmd(ctx, args...)}
	// On Redis Cluster, messages on one channel keep their order only if they go through one server.
	cmd.SetFirstKeyPos(1)
	return cmd
}

// Send sends cmds in one pipeline and returns the number of successful commands. err is nil if all succeeded.
func Send(ctx context.Context, client redis.UniversalClient, cmds []redis.Cmder) (sent int, err error) {
	pipe := client.Pipeline()
	for _, cmd := range cmds {
		if err := pipe.Process(ctx, cmd); err != nil {
			return 0, err
		}
	}
	_, err = pipe.Exec(ctx)
	for _, cmd := range cmds {
		if cmd.Err() == nil {
			sent++
		}
	}
	if sent == len(cmds) {
		return sent, nil
	}
	refresh(ctx, client)
	if err == nil {
		err = errors.New("redis: not all messages were published")
	}
	return sent, err
}

// refresh makes the client of a Redis Cluster reload the assignment of slots soon. Otherwise it might take a minute to
// notice that a replica has replaced a failed master.
func refresh(ctx context.Context, client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// Publish publishes a batch with command, which is "publish" or "spublish", and returns the number of published messages.
func Publish(ctx context.Context, client redis.UniversalClient, command string, batch []adapter.Outgoing) (sent int, err error) {
	cmds := make([]redis.Cmder, len(batch))
	for i, out := range batch {
		cmds[i] = Once(ctx, command, out.Channel, out.Payload)
	}
	return Send(ctx, client, cmds)
}

// Subscribers returns the number of connections that subscribe to channel, summed over all masters of a Redis Cluster.
func Subscribers(ctx context.Context, client redis.UniversalClient, sharded bool, channel string) (int, error) {
	count := func(ctx context.Context, c redis.UniversalClient) (int64, error) {
		ask := c.PubSubNumSub
		if sharded {
			ask = c.PubSubShardNumSub
		}
		counts, err := ask(ctx, channel).Result()
		return counts[channel], err
	}
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		n, err := count(ctx, client)
		return int(n), err
	}
	var sum atomic.Int64
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n, err := count(ctx, c)
		sum.Add(n)
		return err
	})
	if err != nil {
		refresh(ctx, client)
	}
	return int(sum.Load()), err
}
