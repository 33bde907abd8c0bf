//go:build linux

package main

import (
	"fmt"
	"strconv"
	"time"
)

// target is a server under load.
type target string

const (
	floor  target = "floor"
	node   target = "node"
	myriad target = "myriad" // through http.Handler
	own    target = "own"    // Myriad with its own listener
)

// metric is a figure of a run.
type metric struct {
	field string // of the load generator's record
	unit  string
}

var (
	cpu         = metric{"cpu", "µs"}
	connectCPU  = metric{"connectCPU", "µs"}
	connectRate = metric{"connectRate", "1/s"}
	peak        = metric{"peak", "B"}
	resident    = metric{"resident", "B"}
	collected   = metric{"residentCollected", "B"}
	goroutines  = metric{"goroutines", ""}
	median      = metric{"p50", "µs"}
	percentile  = metric{"p99", "µs"}
	wholeServer = []target{floor, node, myriad}
	noFloor     = []target{node, myriad}
)

// row is a line of the results: a metric of a run.
type row struct {
	metric
	title string
}

// task is something to run on several servers.
type task struct {
	name     string
	scenario string
	clients  int
	payload  int      // bytes; zero is 32
	load     []string // more flags of the load generator
	targets  []target
	rows     []row
	repeats  int           // at most; zero is no bound of its own
	duration time.Duration // of the measurement; zero means the common one
	settings
}

// settings are flags of a server.
type settings struct {
	pingInterval time.Duration // zero is 25 s
	recovery     bool
	msgpack      bool
	deflate      bool
	procs        int // cores for the server; zero is one
}

// compared is the duration of runs that are compared with other runs of the same server, not only with the floor.
const compared = 3 * time.Second

// fullPlan returns the tasks for RESULTS.md.
func fullPlan() []task {
	plan := []task{
		{
			name: "idle/websocket", scenario: "idle", clients: 10_000, targets: wholeServer,
			rows: []row{
				{resident, "resident memory per idle WebSocket connection, 10,000"},
				{collected, "the same, after collecting garbage"},
				{goroutines, "goroutines added by 10,000 idle WebSocket connections"},
				{connectCPU, "making a WebSocket connection, through `http.Handler`"},
			},
		},
		{
			name: "idle/own", scenario: "idle", clients: 10_000, targets: []target{floor, node, own},
			rows: []row{
				{resident, "resident memory per idle WebSocket connection, 10,000, through `ListenAndServe`"},
				{collected, "the same, after collecting garbage"},
				{connectCPU, "making a WebSocket connection, through `ListenAndServe`"},
			},
		},
		{
			name: "idle/polling", scenario: "idle", clients: 5_000, load: []string{"-kind", "polling"}, targets: noFloor,
			rows: []row{
				{resident, "resident memory per idle polling connection, 5,000"},
				{collected, "the same, after collecting garbage"},
				{connectCPU, "making a polling connection"},
			},
		},
		{
			name: "idle/polling/own", scenario: "idle", clients: 5_000, load: []string{"-kind", "polling"}, targets: []target{node, own},
			rows: []row{
				{resident, "resident memory per idle polling connection, 5,000, through `ListenAndServe`"},
				{collected, "the same, after collecting garbage"},
				{connectCPU, "making a polling connection, through `ListenAndServe`"},
			},
		},
		{
			name: "idle/upgraded", scenario: "idle", clients: 5_000, load: []string{"-kind", "upgraded"}, targets: noFloor,
			rows: []row{
				{resident, "resident memory per idle connection after an upgrade, 5,000"},
				{collected, "the same, after collecting garbage"},
				{connectCPU, "making a connection with an upgrade"},
			},
		},
		{
			name: "idle/deflate", scenario: "idle", clients: 2_000, load: []string{"-deflate"}, targets: noFloor, repeats: 2,
			settings: settings{deflate: true},
			rows: []row{
				{resident, "resident memory per idle WebSocket connection with compression and take-over, 2,000"},
				{collected, "the same, after collecting garbage"},
			},
		},
		{
			name: "idle/1000", scenario: "idle", clients: 1_000, load: []string{"-settle", "1s"}, targets: wholeServer, repeats: 2,
			rows: []row{{collected, "resident memory per idle WebSocket connection, 1,000, after collecting garbage"}},
		},
		{
			name: "idle/19000", scenario: "idle", clients: 19_000, load: []string{"-settle", "1s"}, targets: wholeServer, repeats: 1,
			rows: []row{{collected, "the same, 19,000"}},
		},
		{
			name: "storm/20000", scenario: "storm", clients: 20_000, load: []string{"-patience", "60s"}, targets: wholeServer, repeats: 1,
			rows: []row{
				{connectCPU, "connection storm, 20,000 at once, each with an acknowledged event"},
				{peak, "the same, peak of resident memory per connection"},
				{connectRate, "the same, connections per second"},
			},
		},
		{
			name: "storm/own", scenario: "storm", clients: 20_000, load: []string{"-patience", "60s"}, targets: []target{own}, repeats: 1,
			rows: []row{
				{connectCPU, "connection storm through `ListenAndServe`"},
				{peak, "the same, peak of resident memory per connection"},
				{connectRate, "the same, connections per second"},
			},
		},
	}
	for _, clients := range []int{100, 1_000, 10_000} {
		for _, payload := range []int{32, 1 << 10, 64 << 10} {
			t := task{
				name: fmt.Sprintf("ack/%d/%d", clients, payload), scenario: "ack", clients: clients, payload: payload, targets: wholeServer,
				rows: []row{{cpu, fmt.Sprintf("acknowledged event, %s clients, %s", thousands(clients), bytesOf(payload))}},
			}
			if clients*payload > 128<<20 {
				t.duration, t.load, t.repeats = 5*time.Second, []string{"-patience", "60s"}, 1 // an event takes seconds
			}
			plan = append(plan, t)
		}
	}
	for _, clients := range []int{100, 1_000, 10_000} {
		plan = append(plan, task{
			name: fmt.Sprintf("broadcast/%d", clients), scenario: "broadcast", clients: clients, targets: wholeServer, duration: compared,
			rows: []row{{cpu, fmt.Sprintf("delivery of a broadcast, %s in the room", thousands(clients))}},
		})
		if clients == 1_000 { // next to the run that it is compared with
			plan = append(plan, task{
				name: "broadcast/stalled", scenario: "broadcast", clients: clients, load: []string{"-stalled", "10"}, targets: wholeServer, duration: compared,
				rows: []row{{cpu, "the same, of which 10 never read"}},
			})
		}
	}
	for _, size := range []int{10, 100, 1_000} {
		rooms := 10_000 / size
		plan = append(plan, task{
			name: fmt.Sprintf("rooms/%d", rooms), scenario: "rooms", clients: 10_000, load: []string{"-room", strconv.Itoa(size)}, targets: wholeServer,
			rows: []row{{cpu, fmt.Sprintf("delivery of a broadcast, %s rooms of %s", thousands(rooms), thousands(size))}},
		})
	}
	return append(plan,
		task{
			name: "broadcast/1000/1024", scenario: "broadcast", clients: 1_000, payload: 1 << 10, targets: wholeServer,
			rows: []row{{cpu, "delivery of a broadcast, 1,000 in the room, 1 kB"}},
		},
		task{
			name: "typed/1000", scenario: "typed", clients: 1_000, targets: wholeServer,
			rows: []row{{cpu, "acknowledged event whose argument is decoded into a struct, 1,000 clients"}},
		},
		task{
			name: "in/1000", scenario: "in", clients: 1_000, targets: wholeServer,
			rows: []row{{cpu, "event in, without acknowledgement, bursts of 16, 1,000 clients"}},
		},
		task{
			name: "out/1000", scenario: "out", clients: 1_000, targets: wholeServer,
			rows: []row{{cpu, "event out, bursts of 16, 1,000 clients"}},
		},
		task{
			name: "churn/1000", scenario: "churn", clients: 1_000, targets: wholeServer,
			rows: []row{{cpu, "joining or leaving a room, acknowledged, 1,000 clients"}},
		},
		task{
			name: "chat/1000", scenario: "chat", clients: 1_000, payload: 100, targets: wholeServer,
			rows: []row{{cpu, "event of a chat, rooms of 10, 1,000 clients, with its deliveries"}},
		},
		task{
			name: "heartbeat/10000", scenario: "heartbeat", clients: 10_000, targets: wholeServer,
			load:     []string{"-ping-interval", "1s"},
			settings: settings{pingInterval: time.Second},
			rows:     []row{{cpu, "ping and pong, 10,000 clients"}},
		},
		task{
			name: "heartbeat/polling", scenario: "heartbeat", clients: 2_000, targets: noFloor,
			load:     []string{"-kind", "polling", "-ping-interval", "1s"},
			settings: settings{pingInterval: time.Second},
			rows:     []row{{cpu, "ping and pong over polling: an answered GET and a POST, 2,000 clients"}},
		},
		task{
			name: "heartbeat/polling/own", scenario: "heartbeat", clients: 2_000, targets: []target{node, own},
			load:     []string{"-kind", "polling", "-ping-interval", "1s"},
			settings: settings{pingInterval: time.Second},
			rows:     []row{{cpu, "the same, through `ListenAndServe`"}},
		},
		task{
			name: "latency/1000", scenario: "latency", clients: 1_000, targets: wholeServer,
			rows: []row{
				{median, "time to an acknowledgement, 1,000 clients at 1 event/s, median"},
				{percentile, "the same, 99th percentile"},
			},
		},
		task{
			name: "recovery/ack", scenario: "ack", clients: 1_000, targets: noFloor,
			settings: settings{recovery: true},
			rows:     []row{{cpu, "acknowledged event with recovery on, 1,000 clients"}},
		},
		task{
			name: "recovery/broadcast", scenario: "broadcast", clients: 1_000, targets: noFloor,
			settings: settings{recovery: true},
			rows:     []row{{cpu, "delivery of a broadcast with recovery on, 1,000 in the room"}},
		},
		task{
			name: "msgpack/ack", scenario: "ack", clients: 1_000, load: []string{"-msgpack"}, targets: noFloor,
			settings: settings{msgpack: true},
			rows:     []row{{cpu, "acknowledged event in MessagePack, 1,000 clients"}},
		},
		task{
			name: "deflate/ack", scenario: "ack", clients: 1_000, payload: 1 << 10, load: []string{"-deflate"}, targets: noFloor,
			settings: settings{deflate: true},
			rows:     []row{{cpu, "acknowledged event, 1,000 clients, 1 kB, answers compressed"}},
		},
		task{
			name: "cores/1", scenario: "ack", clients: 1_000, targets: []target{floor, myriad}, duration: compared,
			rows: []row{{cpu, "acknowledged event, 1,000 clients, once more, to compare with the next"}},
		},
		task{
			name: "cores/2", scenario: "ack", clients: 1_000, targets: []target{floor, myriad}, duration: compared,
			settings: settings{procs: 2},
			rows:     []row{{cpu, "acknowledged event, 1,000 clients, server on two cores"}},
		},
	)
}

// checkPlan returns the tasks of mode check, each on the floor and then on Myriad.
func checkPlan() []task {
	pair := []target{floor, myriad}
	return []task{
		{
			name: "check/idle", scenario: "idle", clients: 10_000, targets: []target{floor, own}, load: []string{"-settle", "500ms"}, repeats: 3,
			rows: []row{{collected, "resident memory per connection, collected"}},
		},
		{
			name: "check/connect", scenario: "connect", clients: 2_000, targets: pair,
			rows: []row{{connectCPU, "making a connection"}},
		},
		{
			name: "check/own", scenario: "connect", clients: 2_000, targets: []target{floor, own},
			rows: []row{{connectCPU, "making a connection, own listener"}},
		},
		{name: "check/ack", scenario: "ack", clients: 1_000, targets: pair, rows: []row{{cpu, "acknowledged event"}}},
		{name: "check/broadcast", scenario: "broadcast", clients: 1_000, targets: pair, rows: []row{{cpu, "delivery of a broadcast"}}},
		{name: "check/out", scenario: "out", clients: 1_000, targets: pair, rows: []row{{cpu, "event out"}}},
		{name: "check/rooms", scenario: "rooms", clients: 1_000, targets: pair, rows: []row{{cpu, "delivery in a small room"}}},
	}
}

// quickPlan returns the tasks of mode quick.
func quickPlan() []task {
	pair := []target{floor, myriad}
	return []task{
		{
			name: "quick/idle", scenario: "idle", clients: 5_000, targets: append(pair, own), load: []string{"-settle", "2s"},
			rows: []row{{goroutines, ""}, {resident, ""}, {connectCPU, ""}},
		},
		{name: "quick/ack", scenario: "ack", clients: 1_000, targets: pair, rows: []row{{cpu, ""}}},
	}
}

func bytesOf(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%d kB", n>>10)
}

// thousands writes n with a comma.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
