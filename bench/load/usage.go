//go:build linux

package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/proc"
)

// usage is the resource usage of the server at a moment.
type usage struct {
	at         time.Time
	cpu        time.Duration // user and system time
	resident   int64         // bytes
	goroutines int
}

// server is the process under load. Unknown values are omitted.
type server struct {
	pid   int
	debug string
}

func (s *server) usage() (u usage, err error) {
	if s.debug != "" {
		if u.goroutines, err = s.goroutines(); err != nil {
			return u, err
		}
	}
	if s.pid != 0 {
		if u.resident, err = proc.Resident(s.pid); err != nil {
			return u, err
		}
		if u.cpu, err = proc.CPU(s.pid); err != nil {
			return u, err
		}
	}
	u.at = time.Now()
	return u, nil
}

// collect makes the server collect its garbage.
func (s *server) collect() error {
	if s.debug == "" {
		return nil
	}
	resp, err := http.Post("http://"+s.debug+"/gc", "", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (s *server) goroutines() (int, error) {
	resp, err := http.Get("http://" + s.debug + "/stats")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var stats struct{ Goroutines int }
	return stats.Goroutines, json.NewDecoder(resp.Body).Decode(&stats)
}
