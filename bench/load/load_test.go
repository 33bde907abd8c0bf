//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// servers are the programs that tests put load on, by name; built once.
var servers string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bench-load-")
	if err == nil {
		servers = dir
		build := exec.Command("go", "build", "-o", dir+"/", "../server", "../floor")
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// start starts a server and returns its address.
func start(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(servers, program), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// small returns flags for a very short run.
func small(addr, scenario string) *flags {
	return &flags{
		addr:         addr,
		scenario:     scenario,
		kind:         "websocket",
		clients:      20,
		payload:      32,
		room:         5,
		warm:         20 * time.Millisecond,
		duration:     100 * time.Millisecond,
		settle:       10 * time.Millisecond,
		pingInterval: time.Second,
		patience:     30 * time.Second,
	}
}

// traffic are the scenarios in which servers are broken.
var traffic = []string{"ack", "typed", "in", "out", "broadcast", "rooms", "churn", "chat"}

func TestScenarios(t *testing.T) {
	cases := map[string]struct {
		server []string // program and flags
		edit   func(*flags)
	}{
		"floor":      {[]string{"floor"}, nil},
		"myriad":     {[]string{"server"}, nil},
		"big":        {[]string{"server"}, func(f *flags) { f.payload = 70_000 }},
		"recovery":   {[]string{"server", "-recovery"}, nil},
		"goroutines": {[]string{"server", "-no-epoll"}, nil},
		"one room":   {[]string{"server", "-own-listener"}, func(f *flags) { f.room = 20 }},
		"odd room":   {[]string{"server"}, func(f *flags) { f.room = 7 }},
		"upgraded":   {[]string{"server"}, func(f *flags) { f.kind = "upgraded" }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := start(t, c.server[0], c.server[1:]...)
			for _, scenario := range traffic {
				f := small(addr, scenario)
				if c.edit != nil {
					c.edit(f)
				}
				r, err := run(f)
				if err != nil {
					t.Errorf("%s: %v", scenario, err)
				} else if r.Ops == 0 {
					t.Errorf("%s: no operations", scenario)
				}
			}
		})
	}
}

func TestSpecialScenarios(t *testing.T) {
	cases := map[string]struct {
		server   []string
		scenario string
		edit     func(*flags)
	}{
		"idle":                {[]string{"server"}, "idle", nil},
		"polling":             {[]string{"server"}, "idle", func(f *flags) { f.kind = "polling" }},
		"connect":             {[]string{"server", "-own-listener"}, "connect", nil},
		"MessagePack":         {[]string{"server", "-parser", "msgpack"}, "ack", func(f *flags) { f.msgpack = true }},
		"deflate":             {[]string{"server", "-deflate"}, "ack", func(f *flags) { f.deflate, f.payload = true, 50_000 }},
		"storm":               {[]string{"server"}, "storm", func(f *flags) { f.clients = 500 }},
		"storm, own listener": {[]string{"server", "-own-listener"}, "storm", func(f *flags) { f.clients = 500 }},
		"stalled":             {[]string{"server"}, "broadcast", func(f *flags) { f.stalled = 2 }},
		"latency":             {[]string{"server"}, "latency", nil},
		"heartbeat":           {[]string{"server", "-ping-interval", "1s"}, "heartbeat", func(f *flags) { f.duration = 2500 * time.Millisecond }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := small(start(t, c.server[0], c.server[1:]...), c.scenario)
			if c.edit != nil {
				c.edit(f)
			}
			if _, err := run(f); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoDeflate requests compression from a server without it, which must fail: the figures would be mislabelled.
func TestNoDeflate(t *testing.T) {
	f := small(start(t, "server"), "idle")
	f.deflate = true
	if _, err := run(f); err == nil || !strings.Contains(err.Error(), "permessage-deflate") {
		t.Errorf("got %v", err)
	}
}

// TestBrokenServer uses a proxy that damages one frame of many, in each scenario and each way. All damage must be noticed.
func TestBrokenServer(t *testing.T) {
	for _, scenario := range traffic {
		for name, damage := range map[string]damage{"lost": lose, "doubled": double, "changed": change} {
			t.Run(scenario+"/"+name, func(t *testing.T) {
				t.Parallel()
				runDamaged(t, scenario, damage, nil)
			})
		}
	}
	// The loss of an event without an answer is noticed at the end.
	for name, damage := range map[string]damage{"lost": lose, "doubled": double} {
		t.Run("on the way in/"+name, func(t *testing.T) {
			t.Parallel()
			runDamaged(t, "in", nil, damage)
		})
	}
}

// runDamaged runs a scenario through a proxy that damages a frame, long enough for that to happen.
func runDamaged(t *testing.T, scenario string, out, in damage) {
	addr := start(t, "floor") // of its own: broadcasts reach all clients of a server
	for duration := 100 * time.Millisecond; ; duration *= 4 {
		var done atomic.Bool
		f := small(proxy(t, addr, out, in, &done), scenario)
		f.patience = 300 * time.Millisecond
		f.duration = duration
		_, err := run(f)
		switch {
		case done.Load() && err == nil:
			t.Error("nothing was noticed")
			return
		case done.Load():
			return
		case duration > 10*time.Second:
			t.Fatalf("no frame was damaged: %v", err)
		}
	}
}

// damage returns the damaged form of a frame.
type damage func(frame []byte) []byte

func lose([]byte) []byte { return nil }

func double(frame []byte) []byte { return append(frame, frame...) }

// change changes a byte that every server must send the same: in the middle, which is part of the payload or the answer.
func change(frame []byte) []byte {
	frame[2+(len(frame)-2)*2/3] ^= 1
	return frame
}

// damagedFrame is the number of the damaged frame, counted over all connections. It is late enough that all clients have
// connected. If that frame is a volatile event, which may be lost, the next frame is damaged instead.
const damagedFrame = 300

// proxy relays connections to addr and damages a frame in either direction; done is set when it does.
func proxy(t *testing.T, addr string, out, in damage, done *atomic.Bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var outward, inward atomic.Int64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			go relay(server, client, &inward, in, done)
			go relay(client, server, &outward, out, done)
		}
	}()
	return l.Addr().String()
}

// relay copies the handshake, then frame by frame.
func relay(dst, src net.Conn, frames *atomic.Int64, d damage, done *atomic.Bool) {
	defer dst.Close()
	r := bufio.NewReader(src)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
		if _, err := io.WriteString(dst, line); err != nil {
			return
		}
	}
	for {
		frame, err := readFrame(r)
		if err != nil {
			return
		}
		if n := frames.Add(1); d != nil && n >= damagedFrame && !bytes.Contains(frame, []byte("typing")) && done.CompareAndSwap(false, true) {
			frame = d(frame)
		}
		if _, err := dst.Write(frame); err != nil {
			return
		}
	}
}

func readFrame(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	size := 2
	if head[1]&0x80 != 0 {
		size += 4
	}
	switch n := int(head[1] & 0x7F); n {
	case 126:
		if head, err = r.Peek(4); err != nil {
			return nil, err
		}
		size += 2 + int(binary.BigEndian.Uint16(head[2:]))
	case 127:
		if head, err = r.Peek(10); err != nil {
			return nil, err
		}
		size += 8 + int(binary.BigEndian.Uint64(head[2:]))
	default:
		size += n
	}
	frame := make([]byte, size)
	_, err = io.ReadFull(r, frame)
	return frame, err
}
