//go:build unix

package postgres_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// binaryEvent returns an event that is sent through the table.
func binaryEvent(name string, attachment []byte) *parser.Packet {
	p := adaptertest.Event(name)
	p.Data = []byte(`["` + name + `",{"_placeholder":true,"num":0}]`)
	p.Attachments = [][]byte{attachment}
	return p
}

// fleet is two nodes on one database with one socket each.
type fleet struct {
	server *pgtest.Server
	url    string
	log    adaptertest.Log
	o      postgres.Options
	admin  *pgxpool.Pool // used by the test only
	nodes  [2]*adaptertest.Node
	socket [2]*adaptertest.Socket
}

// newFleet connects the nodes of a new fleet. way, if not nil, returns the connection string for node i. It replaces the
// server's.
func newFleet(t *testing.T, server *pgtest.Server, way func(i int, url string) string) *fleet {
	f := &fleet{server: server}
	f.o.ClusterOptions = adapter.ClusterOptions{
		Logger: f.log.Logger(), MaxQueuedBytes: 500_000, MaxPendingBytes: 8 << 20, RequestTimeout: time.Second,
		Heartbeat: &adapter.HeartbeatOptions{Interval: 100 * time.Millisecond, Timeout: 10 * time.Second},
	}
	first := open(t, server.URL, nil)
	name := "fleet" + strconv.Itoa(int(fleets.Add(1)))
	if _, err := first.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	f.url = strings.Replace(server.URL, "/postgres?", "/"+name+"?", 1)
	f.admin = open(t, f.url, nil)
	for i := range f.nodes {
		url := f.url
		if way != nil {
			url = way(i, url)
		}
		f.nodes[i] = f.join(t, f.pool(t, url), "/")
		f.socket[i] = f.nodes[i].Connect(fmt.Sprint("s", i))
	}
	f.awaitTraffic(t)
	return f
}

var fleets atomic.Int32

// pool returns a new pool.
func (f *fleet) pool(t *testing.T, url string) *pgxpool.Pool {
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// join returns a node that is closed when the test ends.
func (f *fleet) join(t *testing.T, pool *pgxpool.Pool, namespace string) *adaptertest.Node {
	n := adaptertest.NewNode(namespace)
	n.Open(t, postgres.New(pool, &f.o))
	return n
}

// awaitTraffic waits until broadcasts of each node reach the other and both count two nodes.
func (f *fleet) awaitTraffic(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		name := fmt.Sprint("probe", i)
		adaptertest.Eventually(t, func() string {
			_ = n.Adapter.Broadcast(adaptertest.Event(name), adapter.Options{})
			time.Sleep(5 * time.Millisecond)
			if !slices.Contains(f.socket[1-i].Take(), `2["`+name+`"]`) {
				return fmt.Sprintf("node %d does not reach the other\n%s", i, f.log.String())
			}
			if count, err := n.Adapter.ServerCount(t.Context()); count != 2 || err != nil {
				return fmt.Sprintf("node %d: ServerCount %d, %v", i, count, err)
			}
			return ""
		})
	}
	f.fence(t)
}

// fence waits until all earlier broadcasts have arrived, and discards them.
func (f *fleet) fence(t *testing.T) {
	t.Helper()
	for i, n := range f.nodes {
		_ = n.Adapter.Broadcast(adaptertest.Event("fence"), adapter.Options{})
		f.await(t, 1-i, `2["fence"]`)
		f.socket[i].Take()
	}
}

// await waits until the socket of node i has received a text. It returns the texts received before.
func (f *fleet) await(t *testing.T, i int, text string) (before []string) {
	t.Helper()
	adaptertest.Eventually(t, func() string {
		for _, got := range f.socket[i].Take() {
			if got == text {
				return ""
			}
			before = append(before, got)
		}
		return fmt.Sprintf("%s does not arrive\n%+v\n%+v\n%s", text, f.nodes[0].Stats(), f.nodes[1].Stats(), f.log.String())
	})
	return before
}

func (f *fleet) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := f.admin.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
