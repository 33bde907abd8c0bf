package epoll

import (
	"errors"
	"io"
	"net"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

const (
	streamReadBuffer = 4 << 10 // bytes
	streamVectors    = 32      // chunks written at once
)

// stream is the carrier of one connection served by goroutines: one reads, one writes while the queue is not empty,
// and each signal starts one.
type stream struct {
	owner *Server
	self  carrier // the stream; Conn.by points here
	conn  net.Conn
	raw   syscall.RawConn // the descriptor below conn; nil if it cannot be waited for

	// calls serializes the calls of the Handler except Run, and guards Conn.handler and Conn.in. It is acquired
	// before Conn.mu.
	calls sync.Mutex

	// Guarded by Conn.mu.
	resume   sync.Cond // reading may go on
	awaiting bool      // the reader waits on raw for resume and for the end of the stream
	deadline time.Time // of conn; a time in the past ends the wait of the reader
}

// past is an expired deadline.
var past = time.Unix(1, 0)

func newStream(s *Server, conn net.Conn) *Conn {
	st := &stream{owner: s, conn: conn, raw: rawConn(conn)}
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
		defer st.owner.goroutines.Done()
		pprof.SetGoroutineLabels(connLabel)
		f()
	}()
}

// write leaves all bytes to the writer: a net.Conn cannot be written without waiting.
func (st *stream) write(*Conn, []byte) (int, error) { return 0, nil }

// slack allows for the bytes on their way to the writer.
func (st *stream) slack() int { return maxGathered }

func (st *stream) writeQueue(*Conn) (int, error) { return 0, nil }

func (st *stream) watch(c *Conn) {
	st.wake(c)
	if c.unsentLocked() && !c.has(writing|dead) {
		c.state.Or(writing)
		st.run(func() { st.drain(c) })
	}
}

// wake ends the wait of the reader unless c is paused.
func (st *stream) wake(c *Conn) {
	if c.has(paused) {
		return
	}
	st.resume.Broadcast()
	if st.awaiting {
		st.conn.SetReadDeadline(past)
	}
}

func (st *stream) heard(_ *Conn, within time.Duration) bool { return heard(st.raw, within) }

func (st *stream) unread(*Conn) bool {
	if unread(st.raw) || !st.calls.TryLock() {
		return true
	}
	st.calls.Unlock()
	return false
}

func (st *stream) signal(c *Conn) {
	if c.has(closing) && !c.has(timed) {
		c.state.Or(timed)
		st.deadline = time.Now().Add(st.owner.options.CloseTimeout)
		st.conn.SetDeadline(st.deadline)
		st.wake(c)
	}
	// The reader begins with the bytes read with the handshake; they need no signal.
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
		c.discardLocked()
	}
	slow := c.isSlowLocked()
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
		if slow {
			discardUnsent(st.conn)
		}
		st.conn.Close() // ends the reader and the writer
		st.owner.mu.Lock()
		delete(st.owner.streams, st)
		st.owner.mu.Unlock()
		st.owner.open.Done()
	}
}

// discardUnsent releases the bytes that the kernel holds for a peer that does not read.
func discardUnsent(conn net.Conn) {
	if tcp, ok := below(conn).(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

// below returns the connection below a TLS connection, or conn itself otherwise.
func below(conn net.Conn) net.Conn {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return conn
}

// read is the reading goroutine.
func (st *stream) read(c *Conn) {
	b := make([]byte, streamReadBuffer)
	st.handle(c, nil) // the bytes read with the handshake
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

// waitResumed returns when c is not paused or the peer has ended its stream.
func (st *stream) waitResumed(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.has(paused) {
		if st.raw == nil {
			st.resume.Wait()
			continue
		}
		st.awaiting = true
		c.mu.Unlock()
		ended := awaitEnd(st.raw)
		if ended {
			c.streamEnded()
		}
		c.mu.Lock()
		st.awaiting = false
		st.conn.SetReadDeadline(st.deadline)
	}
}

// handle processes the bytes read.
func (st *stream) handle(c *Conn, b []byte) {
	st.calls.Lock()
	run := c.feedEarly()
	run = c.feed(b) || run
	if run {
		go work(c.handler, c)
	}
	st.calls.Unlock()
}

// drain is the writing goroutine.
func (st *stream) drain(c *Conn) {
	vectors := make([][]byte, 0, streamVectors)
	c.mu.Lock()
	for c.unsentLocked() && !c.has(dead) {
		// Send only appends after these bytes, so they can be written without the lock.
		vectors = c.out.vectors(vectors[:0])
		c.mu.Unlock()
		buffers := net.Buffers(vectors)
		n, err := buffers.WriteTo(st.conn)
		c.mu.Lock()
		if err != nil {
			c.writeFailedLocked(err)
		} else if c.out != nil {
			c.advanceLocked(int(n))
		}
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
	if h := c.handler; h != nil && c.Queued() == 0 {
		h.HandleDrain(c)
	}
}

// peerGone reports whether err means that the TCP connection has ended. It is false for invalid data and local
// failures.
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

// lostError returns the error for HandleClose if err has ended the connection.
func lostError(err error) error {
	if peerGone(err) {
		return nil
	}
	return err
}
