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
	// MaxMessageBytes is the size in bytes above which a message of a peer ends the connection with
	// close code 1009. Zero means 1e6. Node.js: maxHttpBufferSize.
	MaxMessageBytes int64
	// MaxQueuedBytes is how many bytes may be queued for a peer that does not read them. One more
	// ends the connection with transport.ErrSlowPeer. Zero means 64 MiB.
	MaxQueuedBytes int
	// Budget, if not nil, counts the bytes that are queued for all peers.
	Budget *transport.Budget
	// PerMessageDeflate, if not nil, compresses messages for clients that offer it. Node.js: perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate
	// CloseTimeout is how long a closing connection waits for the peer. Zero means 30 s.
	CloseTimeout time.Duration
	// DisableEpoll uses goroutines for all connections.
	DisableEpoll bool
	// Logger is told of faults. Nil means slog.Default().
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
	poller  atomic.Pointer[poller]       // nil before the first connection, and if every connection has goroutines
	deflate [maxWindowBits + 1]*deflater // by window bits, nil without Options.PerMessageDeflate
	closing atomic.Bool

	open           drain.Group // connections that hold a descriptor
	protocolErrors atomic.Uint64
	slowPeers      atomic.Uint64
	takeovers      atomic.Uint64

	notHijacker sync.Once // logs that middleware prevents upgrades

	mu         sync.Mutex
	streams    map[*stream]*Conn // started goroutine connections
	refuse     bool              // no more of them, nor event loops
	goroutines drain.Group       // that serve them
}

// Stats are figures of a Server since it was made.
type Stats struct {
	Open           int64  // connections that hold a descriptor, including those that wait for a peer to close
	ProtocolErrors uint64 // connections ended because the peer broke the protocol or exceeded a limit
	SlowPeers      uint64 // connections ended with transport.ErrSlowPeer
	Takeovers      uint64 // times that a Run blocked so long that its loop went on without it
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

// loops returns the event loops and starts them if there are none. It returns nil if connections have goroutines. The error
// is that of a system call; a later call may succeed.
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

// Stats returns the present figures.
func (s *Server) Stats() Stats {
	return Stats{
		Open:           int64(s.open.Len()),
		ProtocolErrors: s.protocolErrors.Load(),
		SlowPeers:      s.slowPeers.Load(),
		Takeovers:      s.takeovers.Load(),
	}
}

// Shutdown refuses new connections, closes each connection with code 1001 (going away) unless it is
// closing already, waits until all are gone or ctx is done, and then does what Close does. It returns
// the error of ctx if connections were left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	for _, c := range s.conns() {
		c.Close(transport.CloseGoingAway)
	}
	err := s.open.Wait(ctx)
	s.Close()
	return err
}

// Close refuses new connections, aborts all that there are and ends the loops. It does not wait for a Run
// that has not returned. If another method of a Handler calls Close or Shutdown, its loop cannot end before that method
// returns: Close then waits for a second.
//
// Connections that Upgrade has returned but that were never started, closed or aborted stay open.
func (s *Server) Close() {
	s.closing.Store(true)
	s.mu.Lock()
	s.refuse = true
	s.mu.Unlock()
	for _, c := range s.conns() {
		c.Abort()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if p := s.poller.Load(); p != nil {
			p.close()
		}
		_ = s.goroutines.Wait(context.Background()) // it has no end
	}()
	select {
	case <-ended:
	case <-time.After(closeGrace): // the caller may itself be what they wait for
	}
}

// closeGrace is how long Close waits for loops and goroutines whose connections are closed.
const closeGrace = time.Second

// conns returns the started connections.
func (s *Server) conns() []*Conn {
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
