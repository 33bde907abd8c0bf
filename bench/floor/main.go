//go:build linux

// Command floor shows the cost of the kernel and the WebSocket handshake alone. It is an epoll loop with ordinary system
// calls that sends the same answers as ../server, byte for byte, without JSON, real rooms, time-outs, limits or checks.
// Its only purpose is to be compared with in benchmarks.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

func main() {
	log.SetFlags(0)
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on; port 0 takes a free one")
	debugAddr := flag.String("debug", "", "address for profiles and statistics; empty turns them off")
	interval := flag.Duration("ping-interval", 0, "time from a pong to the next ping; 0 sends none")
	loops := flag.Int("loops", 1, "number of event loops")
	flag.Parse()

	if *debugAddr != "" {
		listener, err := net.Listen("tcp", *debugAddr)
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(http.Serve(listener, debugHandler())) }()
		fmt.Println("debugging on", listener.Addr())
	}
	l, err := newLoop(*addr, *interval)
	if err != nil {
		log.Fatal(err)
	}
	for range *loops - 1 {
		other, err := newLoop(l.addr, *interval)
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(other.run()) }()
	}
	fmt.Println("listening on", l.addr)

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-ended
		os.Exit(0)
	}()
	log.Fatal(l.run())
}

// debugHandler serves the same requests as the handler of ../server.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(map[string]uint64{ // fails if the client has gone
			"goroutines": uint64(runtime.NumGoroutine()),
			"heapAlloc":  m.HeapAlloc,
		})
	})
	mux.HandleFunc("POST /gc", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	return mux
}
