//go:build linux

// Command load puts load on a Socket.IO server, checks everything it receives, and prints the cost as one line of JSON.
// It fails if the server loses, adds, reorders or changes anything. The README.md of the parent directory lists the
// scenarios.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// flags are the command line.
type flags struct {
	addr, debug  string
	pid          int
	scenario     string
	kind         string
	clients      int
	payload      int
	room         int
	stalled      int
	warm         time.Duration
	duration     time.Duration
	settle       time.Duration
	pingInterval time.Duration
	patience     time.Duration
	msgpack      bool
	deflate      bool
	inFlight     int
}

func parseFlags() *flags {
	f := new(flags)
	flag.StringVar(&f.addr, "addr", "127.0.0.1:3000", "address of the server")
	flag.StringVar(&f.debug, "debug", "", "address of the server's statistics; empty leaves them out")
	flag.IntVar(&f.pid, "pid", 0, "process id of the server, to read what it uses; zero leaves that out")
	flag.StringVar(&f.scenario, "scenario", "ack", "what to do")
	flag.StringVar(&f.kind, "kind", "websocket", "how clients connect: websocket, polling or upgraded")
	flag.IntVar(&f.clients, "clients", 1000, "number of clients")
	flag.IntVar(&f.payload, "payload", 32, "length of the string that events carry, in bytes")
	flag.IntVar(&f.room, "room", 10, "number of clients in a room, for scenarios with rooms")
	flag.IntVar(&f.stalled, "stalled", 0, "number of clients that never read, for broadcasts")
	flag.DurationVar(&f.warm, "warm", 500*time.Millisecond, "time under load before the measurement")
	flag.DurationVar(&f.duration, "duration", 3*time.Second, "time that is measured")
	flag.DurationVar(&f.settle, "settle", 3*time.Second, "time between connecting and measuring memory")
	flag.DurationVar(&f.pingInterval, "ping-interval", time.Second, "ping interval of the server, for the scenario heartbeat")
	flag.DurationVar(&f.patience, "patience", 10*time.Second, "time that answers may take at the end")
	flag.BoolVar(&f.msgpack, "msgpack", false, "speak MessagePack, for the scenario ack")
	flag.BoolVar(&f.deflate, "deflate", false, "offer permessage-deflate, and fail if the server does not accept it")
	flag.IntVar(&f.inFlight, "in-flight", 0, "number of clients that connect at once; zero means 128; in the scenario storm, that are there at once, of which zero means 18,000")
	flag.Parse()
	return f
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("load: ")
	f := parseFlags()
	r, err := run(f)
	if err != nil {
		log.Fatalf("%s, %d clients: %v", f.scenario, f.clients, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

// record is the result of a run.
type record struct {
	Scenario string  `json:"scenario"`
	Clients  int     `json:"clients"`
	Payload  int     `json:"payload,omitempty"`
	Ops      int64   `json:"ops,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	// CPU is the server's CPU time per operation, in µs.
	CPU float64 `json:"cpu,omitempty"`
	// ServerShare and LoadShare are the parts of one core that the server and this program used.
	ServerShare float64 `json:"serverShare,omitempty"`
	LoadShare   float64 `json:"loadShare,omitempty"`

	// ConnectCPU is the server's CPU time per new connection, in µs. ConnectRate is new connections per second.
	ConnectCPU  float64 `json:"connectCPU,omitempty"`
	ConnectRate float64 `json:"connectRate,omitempty"`

	// Resident memory of the server per connection, in bytes: a few seconds after connecting, and after a garbage
	// collection.
	Resident          float64 `json:"resident,omitempty"`
	ResidentCollected float64 `json:"residentCollected,omitempty"`
	// Peak is the growth of resident memory to its peak in a storm, per connection made, in bytes.
	Peak float64 `json:"peak,omitempty"`
	// Goroutines is the number of goroutines added by the connections.
	Goroutines int `json:"goroutines"`

	// Percentiles of the time from an event to its acknowledgement, in µs.
	P50 float64 `json:"p50,omitempty"`
	P99 float64 `json:"p99,omitempty"`
	Max float64 `json:"max,omitempty"`
}

const (
	connectTimeout = 60 * time.Second
	answerTimeout  = 10 * time.Second
	// maxClients is below 20,000, a common limit for the descriptors of a process.
	maxClients = 19_900
	// maxStorm is the same for the scenario storm, in which clients leave.
	maxStorm = 20_000
	// warmClients connect and leave before the measurement, so that one-time costs of a server are not counted.
	warmClients = 200
)

// run carries out a scenario.
func run(f *flags) (*record, error) {
	most := maxClients
	if f.scenario == "storm" {
		most = maxStorm
		f.inFlight = cmp.Or(f.inFlight, stormInFlight)
	}
	if f.clients < 1 || f.clients > most {
		return nil, fmt.Errorf("not between 1 and %d clients", most)
	}
	kind, err := gen.ParseKind(f.kind)
	if err != nil {
		return nil, err
	}
	s, err := newScenario(f)
	if err != nil {
		return nil, err
	}
	l, err := gen.New(gen.Options{Addr: f.addr, Kind: kind, MessagePack: f.msgpack, Deflate: f.deflate, InFlight: f.inFlight}, s)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	server := &server{pid: f.pid, debug: f.debug}
	r := &record{Scenario: f.scenario, Clients: f.clients, Payload: f.payload}

	if err := l.Connect(min(warmClients, f.clients), connectTimeout); err != nil {
		return nil, err
	}
	l.Disconnect()
	if err := l.Run(300 * time.Millisecond); err != nil { // let the server notice that they have left
		return nil, err
	}
	if s, ok := s.(*storm); ok {
		return r, s.run(r, f, l, server)
	}
	if err := measureConnecting(r, f, l, server); err != nil {
		return nil, err
	}
	if _, ok := s.(*idle); ok {
		return r, nil
	}
	return r, measure(r, f, l, s, server)
}

// measureConnecting connects all clients.
func measureConnecting(r *record, f *flags, l *gen.Loop, server *server) error {
	if err := server.collect(); err != nil {
		return err
	}
	base, err := server.usage()
	if err != nil {
		return err
	}
	if err := l.Connect(f.clients, connectTimeout); err != nil {
		return err
	}
	used, err := server.usage()
	if err != nil {
		return err
	}
	r.ConnectCPU = micros(used.cpu-base.cpu) / float64(f.clients)
	r.ConnectRate = float64(f.clients) / used.at.Sub(base.at).Seconds()
	if f.scenario != "idle" {
		return nil
	}

	if err := l.Run(f.settle); err != nil {
		return err
	}
	idle, err := server.usage()
	if err != nil {
		return err
	}
	if err := server.collect(); err != nil {
		return err
	}
	if err := l.Run(time.Second); err != nil {
		return err
	}
	collected, err := server.usage()
	if err != nil {
		return err
	}
	r.Payload = 0
	r.Resident = float64(idle.resident-base.resident) / float64(f.clients)
	r.ResidentCollected = float64(collected.resident-base.resident) / float64(f.clients)
	r.Goroutines = idle.goroutines - base.goroutines
	return nil
}

// measure puts load on the server.
func measure(r *record, f *flags, l *gen.Loop, s scenario, server *server) error {
	if err := s.prepare(l); err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	run := l.Run
	if p, ok := s.(interface{ pace() func() bool }); ok {
		due := p.pace()
		run = func(d time.Duration) error {
			if err := l.Spin(d, due); !errors.Is(err, gen.ErrTimeout) {
				return cmp.Or(err, errors.New("ended early"))
			}
			return nil
		}
	}
	s.start()
	if err := run(f.warm); err != nil {
		return err
	}
	s.reset()
	load := proc.OwnCPU()
	base, err := server.usage()
	if err != nil {
		return err
	}
	ops := s.done()
	if err := run(f.duration); err != nil {
		return err
	}
	// The time may be too short for a single operation, but there must be one eventually.
	if err := l.Until(f.patience, func() bool { return s.done() > ops }); err != nil {
		return fmt.Errorf("nothing has happened, %d answers are missing: %w", s.pending(), err)
	}
	used, err := server.usage()
	if err != nil {
		return err
	}
	r.Ops = s.done() - ops
	elapsed := used.at.Sub(base.at)
	r.Seconds = elapsed.Seconds()
	r.ServerShare = (used.cpu - base.cpu).Seconds() / r.Seconds
	r.LoadShare = (proc.OwnCPU() - load).Seconds() / r.Seconds
	r.CPU = micros(used.cpu-base.cpu) / float64(r.Ops)

	s.stop()
	if err := l.Until(f.patience, func() bool { return s.pending() == 0 }); err != nil {
		return fmt.Errorf("%d answers are missing: %w", s.pending(), err)
	}
	// Leave time for messages that should not arrive.
	if err := l.Run(100 * time.Millisecond); err != nil {
		return err
	}
	if err := s.verify(l); err != nil {
		return err
	}
	s.report(r)
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
