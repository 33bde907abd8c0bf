package epoll

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/internal/drain"
	"github.com/myriad-rt/myriad/transport"
)

// Options configure a Server. The zero value of each field is its default; negative values are errors.
type Options struct {
	// Loops is the number of event loops. Zero means runtime.GOMAXPROCS.
	Loops int
	// MaxMessageBytes is the maximum size of a received message in bytes. A larger message ends the connection with
	// close code 1009. Zero means 1e6. Node.js: maxHttpBufferSize.
	MaxMessageBytes int64
	// MaxQueuedBytes bounds the bytes queued for a peer that does not read. Exceeding it ends the connection with
	// transport.ErrSlowPeer. Zero means 64 MiB.
	MaxQueuedBytes int
	// Budget, if not nil, counts the bytes queued for all peers.
	Budget *transport.Budget
	// PerMessageDeflate, if not nil, compresses messages for clients that offer it. Node.js: perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate
	// CloseTimeout is how long a closing connection waits for the peer. Zero means 30 s.
	CloseTimeout time.Duration
	// DisableEpoll uses goroutines for all connections.
	DisableEpoll bool
	// Logger receives faults. Nil means slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var options Options
	if o != nil {
		options = *o
	}
	if options.Loops < 0 || options.MaxMessageBytes < 0 || options.MaxQueuedBytes < 0 || options.CloseTimeout < 0 {
		return options, errors.New("epoll: negative value in Options")
	}
	if options.PerMessageDeflate != nil {
		deflate, err := options.PerMessageDeflate.withDefaults()
		if err != nil {
			return options, err
		}
		options.PerMessageDeflate = deflate
	}
	if options.Loops == 0 {
		options.Loops = runtime.GOMAXPROCS(0)
	}
	if options.MaxMessageBytes == 0 {
		options.MaxMessageBytes = 1e6
	}
	if options.MaxQueuedBytes == 0 {
		options.MaxQueuedBytes = 64 << 20
	}
	if options.CloseTimeout == 0 {
		options.CloseTimeout = 30 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return options, nil
}

// Server owns WebSocket connections and the loops that serve them. Its methods are safe for concurrent use.
type Server struct {
	options Options
	poller  atomic.Pointer[poller]       // nil before the first connection, and if all connections use goroutines
	deflate [maxWindowBits + 1]*deflater // by window bits, nil without Options.PerMessageDeflate
	closing atomic.Bool

	open           drain.Group // connections that hold a descriptor
	protocolErrors atomic.Uint64
	slowPeers      atomic.Uint64
	takeovers      atomic.Uint64

	notHijacker sync.Once // logs once that middleware prevents upgrades

	mu         sync.Mutex
	streams    map[*stream]*Conn // started goroutine connections
	refuse     bool              // start no more streams or event loops
	goroutines drain.Group       // serving the streams
}

// Stats are counters of a Server.
type Stats struct {
	Open           int64  // connections with an open descriptor, including those waiting for the peer's close
	ProtocolErrors uint64 // connections ended because the peer violated the protocol or exceeded a limit
	SlowPeers      uint64 // connections ended with transport.ErrSlowPeer
	Takeovers      uint64 // loops taken over because a Run blocked too long
}

// NewServer returns a Server. Nil options mean all defaults. It returns an error if a field is negative.
// The first connection starts the event loops, which hold descriptors and goroutines until Close.
func NewServer(o *Options) (*Server, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, streams: make(map[*stream]*Conn)}
	if options.PerMessageDeflate != nil {
		for bits := minWindowBits; bits <= maxWindowBits; bits++ {
			s.deflate[bits] = newDeflater(options.PerMessageDeflate, bits)
		}
	}
	return s, nil
}

// loops returns the event loops and starts them if necessary. It returns nil if connections use goroutines. An
// error is one of a system call; a later call may succeed.
func (s *Server) loops() (*poller, error) {
	if p := s.poller.Load(); p != nil || s.options.DisableEpoll {
		return p, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.poller.Load(); p != nil || s.refuse {
		return p, nil
	}
	p, err := newPoller(s)
	if err == nil {
		s.poller.Store(p)
	}
	return p, err
}

// Stats returns the current counters.
func (s *Server) Stats() Stats {
	return Stats{
		Open:           int64(s.open.Len()),
		ProtocolErrors: s.protocolErrors.Load(),
		SlowPeers:      s.slowPeers.Load(),
		Takeovers:      s.takeovers.Load(),
	}
}

// Shutdown refuses new connections and closes each open one with code 1001 (going away). It waits until all have
// closed or ctx is done, and then calls Close. It returns the error of ctx if connections remained.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	for _, c := range s.Conns() {
		c.Close(transport.CloseGoingAway)
	}
	err := s.open.Wait(ctx)
	s.Close()
	return err
}

// Close refuses new connections, aborts all open ones and ends the loops. It does not wait for a Run that has not
// returned. If another method of a Handler calls Close or Shutdown, its loop cannot end before that method returns;
// Close then waits for one second.
//
// Connections returned by Upgrade but never started, closed or aborted stay open.
func (s *Server) Close() {
	s.closing.Store(true)
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	for _, c := range s.Conns() {
		c.Abort()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if p := s.poller.Load(); p != nil {
			p.close()
		}
		_ = s.goroutines.Wait(context.Background()) // the background context never ends
	}()
	select {
	case <-ended:
	case <-time.After(closeGrace): // the caller may be running on one of them
	}
}

// closeGrace bounds the time that Close waits for loops and goroutines once their connections are closed.
const closeGrace = time.Second

// Conns returns the started connections, also those that are closing.
func (s *Server) Conns() []*Conn {
	var all []*Conn
	if p := s.poller.Load(); p != nil {
		all = p.conns()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.streams {
		all = append(all, c)
	}
	return all
}
