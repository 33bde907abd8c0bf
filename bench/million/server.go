//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// server is a server process.
type server struct {
	*process
	addr  string
	debug string // address for statistics
	base  int64  // resident bytes before the first client
}

// startServer starts a server with default settings and its own listener.
func startServer(program string, i int) (s *server, err error) {
	p, err := start("server "+strconv.Itoa(i), program, "-addr", "127.0.0.1:0", "-own-listener", "-debug", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.kill()
		}
	}()
	s = &server{process: p}
	if s.debug, err = p.value("debugging on "); err != nil {
		return nil, err
	}
	if s.addr, err = p.value("listening on "); err != nil {
		return nil, err
	}
	if _, err = s.stats(); err != nil { // its memory is not due to clients
		return nil, err
	}
	s.base, err = proc.Resident(p.cmd.Process.Pid)
	return s, err
}

// value returns the text after prefix in the next line.
func (p *process) value(prefix string) (string, error) {
	line, err := p.line()
	if err != nil {
		return "", err
	}
	value, ok := strings.CutPrefix(line, prefix)
	if !ok {
		return "", fmt.Errorf("%s says %q", p.name, line)
	}
	return value, nil
}

// stats holds the statistics of a server.
type stats struct {
	HeapInuse int64             // bytes in use of the heap
	Closed    map[string]uint64 // sessions, by reason
}

func (s *server) stats() (now stats, err error) {
	r, err := http.Get("http://" + s.debug + "/stats")
	if err != nil {
		return stats{}, err
	}
	defer r.Body.Close()
	return now, json.NewDecoder(r.Body).Decode(&now)
}

// collect makes the server collect garbage and return free memory to the system.
func (s *server) collect() error {
	r, err := http.Post("http://"+s.debug+"/gc", "", nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}
