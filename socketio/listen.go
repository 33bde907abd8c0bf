package socketio

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/internal/reuseport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

const (
	// handshakeTimeout bounds the time in which a new connection must have sent its request head.
	handshakeTimeout = 10 * time.Second
	// defaultCloseGrace is how long Close waits for responses to be written.
	defaultCloseGrace = time.Second
)

// ListenAndServe listens on the TCP address addr and serves until Shutdown or Close; then it returns
// [http.ErrServerClosed]. An empty addr means ":http".
//
// It behaves as the Server does inside an http.Server, but a WebSocket handshake is taken from the
// connection directly, which costs less, and on Linux a poll that waits takes no goroutine unless the Engine has
// middleware. Requests outside the server's path go to Options.NotFound. On Linux, TCP
// connections are without keep-alive: heartbeats find out which are dead.
func (s *Server) ListenAndServe(addr string) error {
	l, err := s.listen(addr, ":http")
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// ListenAndServeTLS is ListenAndServe over TLS, with the certificate chain and key of two PEM files. An
// empty addr means ":https".
func (s *Server) ListenAndServeTLS(addr, certFile, keyFile string) error {
	l, err := s.listen(addr, ":https")
	if err != nil {
		return err
	}
	return s.ServeTLS(l, certFile, keyFile)
}

func (s *Server) listen(addr, otherwise string) (net.Listener, error) {
	if addr == "" {
		addr = otherwise
	}
	return reuseport.Listen(context.Background(), addr, s.opts.ReusePort)
}

// ServeTLS is ListenAndServeTLS on a listener of the caller's, which it closes.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	h := s.newHTTPServer()
	if !s.listeners.track(h) {
		l.Close()
		return http.ErrServerClosed
	}
	defer s.listeners.forget(h)
	return h.ServeTLS(l, certFile, keyFile)
}

func (s *Server) newHTTPServer() *http.Server {
	return &http.Server{Handler: s, ReadHeaderTimeout: handshakeTimeout}
}

// Serve is ListenAndServe on a listener of the caller's, which it closes. It is ended by Shutdown or Close: that the caller
// closes the listener goes unnoticed where there is epoll.
func (s *Server) Serve(l net.Listener) error {
	if !s.opts.DisableEpoll {
		l = epoll.NewListener(l)
	}
	f := &front{server: s, listener: l, rest: make(chan net.Conn), done: make(chan struct{})}
	if !s.opts.DisableEpoll {
		f.keeper = newKeeper(s, f.give)
	}
	h := &ownServer{Server: s.newHTTPServer(), keeper: f.keeper}
	if !s.listeners.track(h) {
		f.Close()
		return http.ErrServerClosed
	}
	defer s.listeners.forget(h)
	failed := make(chan error, 1)
	go func() { failed <- f.accept() }()
	// net/http closes f, and with it l, when it is told to stop.
	err := h.Serve(f)
	f.Close()
	if cause := <-failed; !errors.Is(err, http.ErrServerClosed) && cause != nil {
		err = cause
	}
	f.pending.Wait()
	return err
}

// ownServer is an http.Server, and what serves connections beside it.
type ownServer struct {
	*http.Server
	keeper *keeper // may be nil
}

// Shutdown implements stopper.
func (o *ownServer) Shutdown(ctx context.Context) error {
	if o.keeper == nil {
		return o.Server.Shutdown(ctx)
	}
	ended := make(chan error, 1)
	go func() { ended <- o.keeper.shutdown(ctx) }()
	err := o.Server.Shutdown(ctx)
	return errors.Join(err, <-ended)
}

// front accepts connections. It takes those that begin with a WebSocket handshake, has a keeper for those that send plain
// requests, and is the listener from which net/http gets the others.
type front struct {
	server   *Server
	listener net.Listener
	keeper   *keeper // nil where there is no epoll
	rest     chan net.Conn
	once     sync.Once
	done     chan struct{}

	mu      sync.Mutex
	fresh   map[net.Conn]struct{} // those whose request head is being waited for
	pending sync.WaitGroup
}

func (f *front) accept() error {
	defer f.Close()
	var pause time.Duration
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			select {
			case <-f.done:
				return nil
			default:
			}
			//lint:ignore SA1019 it is what net/http asks, too: too many open files is temporary
			if ne, ok := err.(net.Error); ok && ne.Temporary() {
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				f.server.opts.Logger.Warn("accept failed", "err", err, "retry", pause)
				time.Sleep(pause)
				continue
			}
			return err
		}
		pause = 0
		r := heads.Get().(*bufio.Reader)
		r.Reset(conn)
		if w, ok := conn.(epoll.Waiter); ok {
			if f.handshake(conn, r, false) {
				continue
			}
			if f.keeper != nil {
				if !f.keeper.keep(w, release(r)) {
					conn.Close()
				}
				continue
			}
			_ = w.Wait() // if it fails, so does reading
		}
		if !f.begin(conn) {
			conn.Close()
			continue
		}
		go f.handshake(conn, r, true)
	}
}

func (f *front) begin(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
		return false
	default:
	}
	if f.fresh == nil {
		f.fresh = make(map[net.Conn]struct{})
	}
	f.fresh[conn] = struct{}{}
	f.pending.Add(1)
	return true
}

func (f *front) end(conn net.Conn) {
	f.mu.Lock()
	delete(f.fresh, conn)
	f.mu.Unlock()
	f.pending.Done()
}

// heads holds the buffers that request heads are read into.
var heads = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// handshake reads the head of the first request and decides who gets the connection. If that may take time and
// wait is false, it returns false, and is to be called again.
func (f *front) handshake(conn net.Conn, r *bufio.Reader, wait bool) bool {
	if wait {
		defer f.end(conn)
		conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	}
	upgrade, err := peekUpgrade(r)
	if !wait && (err == epoll.ErrWouldBlock || err == nil && !(upgrade && f.server.answersAtOnce(r))) {
		return false
	}
	if err == nil && !upgrade {
		conn.SetReadDeadline(time.Time{})
		f.pass(conn, release(r))
		return true
	}
	if err != nil {
		conn.Close()
	} else {
		f.serve(conn, r, !wait)
	}
	release(r)
	return true
}

// release returns what r, one of heads, still holds.
func release(r *bufio.Reader) (ahead []byte) {
	ahead, _ = r.Peek(r.Buffered())
	ahead = bytes.Clone(ahead)
	r.Reset(nil)
	heads.Put(r)
	return ahead
}

// pass leaves a connection to net/http.
func (f *front) pass(conn net.Conn, ahead []byte) {
	select {
	case f.rest <- &readConn{Conn: conn, ahead: ahead}:
	case <-f.done:
		conn.Close()
	}
}

// give is pass for a connection that was kept.
func (f *front) give(conn epoll.Waiter, ahead []byte) {
	_ = conn.Wait() // if it fails, so does reading
	if !f.begin(conn) {
		conn.Close()
		return
	}
	defer f.end(conn)
	f.pass(conn, ahead)
}

// answersAtOnce reports whether the WebSocket handshake in r concerns the server alone and runs no function of the
// application. The answer is a short one.
func (s *Server) answersAtOnce(r *bufio.Reader) bool {
	o := s.opts
	head, _ := r.Peek(r.Buffered())
	target, ok := bytes.CutPrefix(head, []byte("GET "))
	rest, exact := bytes.CutPrefix(target, []byte(s.path))
	return ok && exact && (rest[0] == '?' || rest[0] == ' ') && s.engine.IsPlain(&http.Request{}) &&
		o.AllowRequest == nil && o.GenerateID == nil && o.CORSFunc == nil && o.OnInitialHeaders == nil &&
		o.OnHeaders == nil && o.OnConnectionError == nil && o.Value == nil && o.Hooks == nil
}

// serve answers the WebSocket handshake that r has all of. If no function of the application is asked (atOnce),
// nothing of the request is kept.
func (f *front) serve(conn net.Conn, r *bufio.Reader, atOnce bool) {
	conn.SetReadDeadline(time.Time{})
	if atOnce {
		e := exchanges.Get().(*exchange)
		defer e.recycle()
		head, _ := r.Peek(r.Buffered())
		if end := bytes.Index(head, headEnd) + len(headEnd); e.parse(string(head[:end])) && e.request.ContentLength == 0 {
			_, _ = r.Discard(end) // it is there
			e.writer.conn, e.writer.r = conn, r
			f.answer(&e.writer, &e.request)
			return
		}
	}
	req, err := http.ReadRequest(r)
	if err != nil {
		io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
		return
	}
	f.answer(&directWriter{conn: conn, r: r}, req)
}

func (f *front) answer(w *directWriter, req *http.Request) {
	req.RemoteAddr = w.conn.RemoteAddr().String()
	defer w.finish()
	defer func() {
		// As in net/http: Options.NotFound, say, may panic, and that ends one connection.
		p := recover()
		if p != nil && !w.hijacked {
			w.hijacked = true // there is no answer
			w.conn.Close()
		}
		if p != nil && p != http.ErrAbortHandler {
			f.server.opts.Logger.Error("panic while serving a request", "remote", req.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f.server.ServeHTTP(w, req)
}

var headEnd = []byte("\r\n\r\n")

// peekUpgrade reports whether r begins with a complete request head that asks for a WebSocket. A head that
// does not fit the buffer of r is left to net/http.
func peekUpgrade(r *bufio.Reader) (bool, error) {
	for n := 1; ; n = r.Buffered() + 1 {
		_, err := r.Peek(n)
		if errors.Is(err, bufio.ErrBufferFull) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		head, _ := r.Peek(r.Buffered())
		if len(head) >= 4 && string(head[:4]) != "GET " {
			return false, nil
		}
		if end := bytes.Index(head, headEnd); end >= 0 {
			return asksForWebSocket(head[:end]), nil
		}
	}
}

func asksForWebSocket(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(name, []byte("Upgrade")) {
			return bytes.EqualFold(bytes.TrimSpace(value), []byte("websocket"))
		}
	}
	return false
}

// Accept implements net.Listener for net/http.
func (f *front) Accept() (net.Conn, error) {
	select {
	case conn := <-f.rest:
		return conn, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (f *front) Close() error {
	err := net.ErrClosed
	f.once.Do(func() {
		close(f.done)
		err = f.listener.Close()
		if f.keeper != nil {
			f.keeper.end()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for conn := range f.fresh {
			conn.SetReadDeadline(time.Unix(1, 0))
		}
	})
	return err
}

// Addr implements net.Listener.
func (f *front) Addr() net.Addr { return f.listener.Addr() }

// readConn is a connection of which ahead has been read.
type readConn struct {
	net.Conn
	ahead []byte
}

func (c *readConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// directWriter is the http.ResponseWriter of a request that net/http has never seen. The connection is
// closed after the response, if it has not been hijacked.
type directWriter struct {
	reply
	conn     net.Conn
	r        *bufio.Reader
	hijacked bool
}

// Hijack implements http.Hijacker.
func (w *directWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	w.hijacked = true
	if w.r.Buffered() == 0 {
		return w.conn, nil, nil // only the transport asks, which writes to the connection itself
	}
	return w.conn, bufio.NewReadWriter(w.r, nil), nil
}

func (w *directWriter) finish() {
	if w.hijacked {
		return
	}
	defer w.conn.Close()
	b := replies.Get()
	defer replies.Put(b)
	w.append(b, true)
	w.conn.SetWriteDeadline(time.Now().Add(handshakeTimeout))
	_, _ = w.conn.Write(b.B) // the peer may be gone
}

// stopper is a server for HTTP connections. [http.Server] is one.
type stopper interface {
	Shutdown(ctx context.Context) error
	Close() error
}

// listeners is the set of servers that the Server runs itself.
type listeners struct {
	grace time.Duration // of close

	mu     sync.Mutex
	open   map[stopper]struct{}
	closed bool
}

func (l *listeners) track(h stopper) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.open == nil {
		l.open = make(map[stopper]struct{})
	}
	l.open[h] = struct{}{}
	return true
}

func (l *listeners) forget(h stopper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, h)
}

// take returns the servers to be stopped; there will be no others.
func (l *listeners) take() []stopper {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	servers := make([]stopper, 0, len(l.open))
	for h := range l.open {
		servers = append(servers, h)
	}
	return servers
}

// shutdown waits for the requests that are being answered, until ctx ends; it closes the connections that are left.
func (l *listeners) shutdown(ctx context.Context) error {
	var errs []error
	for _, h := range l.take() {
		if err := h.Shutdown(ctx); err != nil {
			errs = append(errs, err)
			h.Close()
		}
	}
	return errors.Join(errs...)
}

// close is shutdown for those who do not wait: polls have just been answered, and the answers are to leave.
func (l *listeners) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.grace)
	defer cancel()
	_ = l.shutdown(ctx) // peers that do not take their answer are what the limit is for
	return nil
}
