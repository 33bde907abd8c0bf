package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots   = 16384
	masters = 3
	// nodeTimeout is how long a server with a replica may be silent, in milliseconds.
	nodeTimeout = "2000"
)

// Cluster is a Redis Cluster for one test.
type Cluster struct {
	Servers []*Server
}

// StartCluster starts the servers of a Redis Cluster, which divide the slots among them.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	c := new(Cluster)
	for i := range masters {
		// Masters with equal epochs, as at the start, increment them some time after they have met. If one does so
		// while it gives a slot away, the greater epoch may claim the slot back. Each of the two then believes
		// permanently that the other owns it.
		c.start(tb).do(tb, "cluster", "set-config-epoch", i+1)
	}
	for i, s := range c.Servers {
		s.do(tb, "cluster", "addslotsrange", i*slots/masters, (i+1)*slots/masters-1)
		c.meet(tb, s, c.Servers[(i+1)%masters])
	}
	c.settle(tb)
	return c
}

// Addrs returns the addresses of the servers.
func (c *Cluster) Addrs() (addrs []string) {
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

func (c *Cluster) start(tb testing.TB) *Server {
	tb.Helper()
	s := Start(tb, "--cluster-enabled", "yes") // a busy machine must not cause a failover
	c.Servers = append(c.Servers, s)
	return s
}

func (c *Cluster) meet(tb testing.TB, s, other *Server) {
	tb.Helper()
	host, port, _ := strings.Cut(other.Addr, ":")
	s.do(tb, "cluster", "meet", host, port)
}

// settle waits until each server knows the others and all slots.
func (c *Cluster) settle(tb testing.TB) {
	tb.Helper()
	for _, s := range c.Servers {
		s.await(tb, []any{"cluster", "info"}, "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d\r", len(c.Servers)))
	}
}

// AddReplica starts a replica of a master; the replica takes over if the master fails.
func (c *Cluster) AddReplica(tb testing.TB, master *Server) {
	tb.Helper()
	replica := c.start(tb)
	c.meet(tb, replica, master)
	c.settle(tb)
	id := master.do(tb, "cluster", "myid").(string)
	replica.do(tb, "cluster", "replicate", id)
	replica.await(tb, []any{"info", "replication"}, "role:slave", "master_link_status:up")
	for _, s := range c.Servers {
		s.await(tb, []any{"cluster", "nodes"}, "slave "+id)
		s.do(tb, "config", "set", "cluster-node-timeout", nodeTimeout)
	}
}

// Slot returns the slot of a channel or key.
func (c *Cluster) Slot(tb testing.TB, name string) int {
	tb.Helper()
	return int(c.Servers[0].do(tb, "cluster", "keyslot", name).(int64))
}

// Master returns the server that owns a slot at the start of the cluster.
func (c *Cluster) Master(slot int) *Server {
	i := 0
	for slot >= (i+1)*slots/masters {
		i++
	}
	return c.Servers[i]
}

// Move moves a slot and its keys from one master to another, like redis-cli.
func (c *Cluster) Move(tb testing.TB, slot int, from, to *Server) {
	tb.Helper()
	ids := map[*Server]string{}
	for _, s := range []*Server{from, to} {
		ids[s] = s.do(tb, "cluster", "myid").(string)
	}
	to.do(tb, "cluster", "setslot", slot, "importing", ids[from])
	from.do(tb, "cluster", "setslot", slot, "migrating", ids[to])
	host, port, _ := strings.Cut(to.Addr, ":")
	for {
		keys := from.do(tb, "cluster", "getkeysinslot", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		from.do(tb, append([]any{"migrate", host, port, "", 0, 30_000, "keys"}, keys...)...)
	}
	for _, s := range []*Server{to, from} {
		s.do(tb, "cluster", "setslot", slot, "node", ids[to])
	}
	for _, s := range c.Servers[:masters] {
		if s != from && s != to {
			s.do(tb, "cluster", "setslot", slot, "node", ids[to])
		}
	}
}

// Watched is a server with a replica, monitored by a Sentinel as "main".
type Watched struct {
	Main, Replica, Sentinel *Server
}

// StartWatched starts a server, its replica and a Sentinel.
func StartWatched(tb testing.TB) *Watched {
	tb.Helper()
	w := &Watched{Main: Start(tb)}
	host, port, _ := strings.Cut(w.Main.Addr, ":")
	w.Replica = Start(tb, "--replicaof", host, port)
	w.Replica.await(tb, []any{"info", "replication"}, "role:slave", "master_link_status:up")
	config := filepath.Join(tb.TempDir(), "sentinel.conf")
	settings := fmt.Sprintf("sentinel monitor main %s %s 1\nsentinel down-after-milliseconds main %s\nsentinel failover-timeout main 10000\n", host, port, nodeTimeout)
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		tb.Fatal(err)
	}
	w.Sentinel = start(tb, config, "--sentinel")
	w.Sentinel.await(tb, []any{"sentinel", "master", "main"}, "num-slaves 1")
	return w
}

// do makes s execute a command and returns the response.
func (s *Server) do(tb testing.TB, command ...any) any {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, Protocol: 2})
	defer client.Close()
	answer, err := client.Do(tb.Context(), command...).Result()
	if err != nil {
		tb.Fatalf("%v: %v", command, err)
	}
	return answer
}

// Subscribers returns the number of connections to s with subscriptions.
func (s *Server) Subscribers(tb testing.TB) int {
	tb.Helper()
	return strings.Count(s.do(tb, "client", "list", "type", "pubsub").(string), "\n")
}

// await waits until the response to a command contains all texts. Lists are joined with spaces.
func (s *Server) await(tb testing.TB, command []any, texts ...string) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		answer := fmt.Sprint(s.do(tb, command...))
		missing := ""
		for _, text := range texts {
			if !strings.Contains(answer, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%v: no %q in\n%s", command, missing, answer)
		}
	}
}
