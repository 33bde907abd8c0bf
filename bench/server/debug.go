package main

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"runtime"
	"runtime/debug"

	"github.com/myriad-rt/myriad/engineio"
)

// stats is the answer to GET /stats.
type stats struct {
	Goroutines int    `json:"goroutines"`
	HeapAlloc  uint64 `json:"heapAlloc"`  // bytes of live and not yet collected objects
	HeapInuse  uint64 `json:"heapInuse"`  // bytes in spans with at least one object
	StackInuse uint64 `json:"stackInuse"` // bytes
	NumGC      uint32 `json:"numGC"`

	Closed map[engineio.CloseReason]uint64 `json:"closed"` // sessions, since the server started
}

// debugHandler serves the profiles of runtime/pprof, GET /stats, and POST /gc, which collects garbage and returns free
// memory to the system.
func debugHandler(sessions *engineio.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(stats{ // fails if the client has gone
			Goroutines: runtime.NumGoroutine(),
			HeapAlloc:  m.HeapAlloc,
			HeapInuse:  m.HeapInuse,
			StackInuse: m.StackInuse,
			NumGC:      m.NumGC,
			Closed:     sessions.Stats().Closed,
		})
	})
	mux.HandleFunc("POST /gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	return mux
}
