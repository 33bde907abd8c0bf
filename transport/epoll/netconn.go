package epoll

import (
	"errors"
	"io"
	"net"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

const (
	streamReadBuffer = 4 << 10 // bytes
	streamVectors    = 32      // chunks that are written at once
)

// stream is the carrier of one connection that is served by goroutines: one reads, one writes while
// something is queued, and one comes for each signal.
type stream struct {
	owner *Server
	self  carrier // the stream; Conn.by points here
	conn  net.Conn

	// calls keeps the calls of the Handler apart, apart from Run, and guards Conn.handler and Conn.in.
	// It is taken before Conn.mu.
	calls  sync.Mutex
	resume sync.Cond // on Conn.mu: reading may go on
}

func newStream(s *Server, conn net.Conn) *Conn {
	st := &stream{owner: s, conn: conn}
	st.self = st
	c := &Conn{by: &st.self, fd: -1}
	st.resume.L = &c.mu
	return c
}

func (st *stream) server() *Server { return st.owner }

func (st *stream) start(c *Conn) {
	s := st.owner
	s.mu.Lock()
	refuse := s.refuse
	if !refuse {
		s.streams[st] = c
		st.run(func() { st.read(c) })
	}
	s.mu.Unlock()
	if refuse {
		c.endLocked(broken, nil)
		return
	}
	st.watch(c)
}

// run starts a goroutine that Server.Close waits for.
func (st *stream) run(f func()) {
	st.owner.goroutines.Add(1)
	go func() {
		defer st.owner.goroutines.Add(-1)
		pprof.SetGoroutineLabels(connLabel)
		f()
	}()
}

// write leaves everything to the writer: a net.Conn cannot be written without waiting.
func (st *stream) write(*Conn, []byte) (int, error) { return 0, nil }

func (st *stream) writeQueue(*Conn) (int, error) { return 0, nil }

func (st *stream) watch(c *Conn) {
	st.resume.Broadcast()
	if c.unsentLocked() && !c.has(writing|dead) {
		c.state.Or(writing)
		st.run(func() { st.drain(c) })
	}
}

func (st *stream) signal(c *Conn) {
	st.resume.Broadcast()
	if c.has(closing) && !c.has(timed) {
		c.state.Or(timed)
		st.conn.SetDeadline(time.Now().Add(st.owner.options.CloseTimeout))
	}
	// What has been read with the handshake needs no signal: the reader begins with it.
	st.run(func() { st.settle(c) })
}

// settle acts on the state of c.
func (st *stream) settle(c *Conn) {
	st.calls.Lock()
	c.mu.Lock()
	c.state.And(^uint32(signalled))
	tell, act, err := c.dutiesLocked()
	if act == actClose {
		c.state.Or(dead)
	}
	c.mu.Unlock()
	if tell != nil {
		tell.HandleClose(c, err)
	}
	st.calls.Unlock()

	switch act {
	case actHalfClose:
		if half, ok := st.conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	case actClose:
		if err == transport.ErrSlowPeer {
			discardUnsent(st.conn)
		}
		st.conn.Close() // ends the reader and the writer
		st.owner.mu.Lock()
		delete(st.owner.streams, st)
		st.owner.mu.Unlock()
		st.owner.open.Add(-1)
	}
}

// discardUnsent frees what the kernel holds for a peer that does not read.
func discardUnsent(conn net.Conn) {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

// read is the reading goroutine.
func (st *stream) read(c *Conn) {
	b := make([]byte, streamReadBuffer)
	st.handle(c, nil) // what has been read with the handshake
	for {
		n, err := st.conn.Read(b)
		if n > 0 {
			st.waitResumed(c)
			st.handle(c, b[:n])
		}
		if err != nil {
			c.lost(lostError(err))
			break
		}
	}
	st.calls.Lock()
	c.settleInput(true)
	st.calls.Unlock()
}

func (st *stream) waitResumed(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.has(paused) {
		st.resume.Wait()
	}
}

// handle processes what has been read.
func (st *stream) handle(c *Conn, b []byte) {
	st.calls.Lock()
	run := c.feedEarly()
	run = c.feed(b) || run
	if run {
		c.handler.HandleBatch(c)
		go work(c.handler, c)
	}
	st.calls.Unlock()
}

// drain is the writing goroutine.
func (st *stream) drain(c *Conn) {
	vectors := make([][]byte, 0, streamVectors)
	c.mu.Lock()
	for c.unsentLocked() && !c.has(dead) {
		// Send appends behind these bytes only, so that they can be written without the lock.
		vectors = c.out.vectors(vectors[:0])
		c.mu.Unlock()
		buffers := net.Buffers(vectors)
		n, err := buffers.WriteTo(st.conn)
		c.mu.Lock()
		if err != nil {
			c.writeFailedLocked(err)
			break
		}
		c.advanceLocked(int(n))
	}
	c.state.And(^uint32(writing))
	if c.has(closing) {
		c.signal()
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()

	st.calls.Lock()
	defer st.calls.Unlock()
	if h := c.handler; h != nil && c.Writable() {
		h.HandleDrain(c)
	}
}

// peerGone reports whether err says that the TCP connection has ended, and not that something is wrong
// with what came over it or with this side.
func peerGone(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return true
	}
	for _, gone := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.EPIPE, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// lostError is what HandleClose receives if err has ended the connection.
func lostError(err error) error {
	if peerGone(err) {
		return nil
	}
	return err
}
