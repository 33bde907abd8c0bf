package epoll

import (
	"context"
	"runtime/pprof"

	"github.com/myriad-rt/myriad/transport"
)

// In profiles, the goroutines of this package have a label with the key "myriad". Goroutines started by a handler
// inherit it.
var (
	loopLabel   = label("event loop") // and the handlers that run on it
	guardLabel  = label("guard")
	workerLabel = label("worker")     // handlers with their own goroutine
	connLabel   = label("connection") // reading or writing without epoll
)

func label(value string) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels("myriad", value))
}

// work is a worker: a goroutine for one Run.
func work(h transport.Handler, c transport.Conn) {
	pprof.SetGoroutineLabels(workerLabel)
	h.Run(c)
}
