package httpserver

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// accept serves the connections of a until it fails.
func (s *Server) accept(a *acceptor) error {
	const longest = time.Second
	for pause := time.Duration(0); ; {
		c, err := a.accept()
		//lint:ignore SA1019 net/http asks for it, too: too many open files is temporary
		if ne, ok := err.(net.Error); ok && ne.Temporary() {
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			s.config.Logger.Warn("accept failed", "err", err, "retry", pause)
			time.Sleep(pause)
			continue
		}
		if err != nil {
			return err
		}
		pause = 0
		s.admit(c)
	}
}

// scratch holds buffers for reading request heads.
var scratch = sync.Pool{New: func() any { return new([maxHead]byte) }}

// admit serves a new connection. Usually the first request has already arrived.
func (s *Server) admit(c *socket) {
	b := scratch.Get().(*[maxHead]byte)
	defer scratch.Put(b)
	n, err := c.Read(b[:])
	switch {
	case err != nil && err != errWouldBlock:
		c.Close()
	case !s.answerAtOnce(c, b[:n]):
		s.keep(c, bytes.Clone(b[:n]))
	}
}

var headEnd = []byte("\r\n\r\n")

// answerAtOnce answers a WebSocket handshake at the beginning of the bytes read from c, if it is complete and
// Config.Immediate.
func (s *Server) answerAtOnce(c *socket, read []byte) bool {
	end := bytes.Index(read, headEnd) + len(headEnd)
	if end < len(headEnd) || !asksForWebSocket(read[:end]) {
		return false
	}
	h := handshakes.Get().(*handshake)
	defer h.recycle()
	if !h.parse(string(read[:end])) || h.request.ContentLength > 0 || !s.config.Plain(&h.request) || !s.config.Immediate(&h.request) {
		return false
	}
	h.request.RemoteAddr = c.RemoteAddr().String()
	h.writer.socket, h.writer.ahead = c, read[end:]
	h.writer.finish(s.serveHTTP(&h.writer, &h.request))
	return true
}

// serveHTTP calls the Handler. It returns false after a panic, which ends the connection, as in net/http.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			s.config.Logger.Error("panic while serving a request", "remote", r.RemoteAddr, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	s.config.Handler.ServeHTTP(w, r)
	return true
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

// handshake holds the request and the response of a handshake answered at once. It is reused.
type handshake struct {
	head
	writer onceWriter
}

var handshakes = sync.Pool{New: func() any {
	return &handshake{head: head{request: http.Request{Header: make(http.Header)}}, writer: onceWriter{reply: reply{header: make(http.Header)}}}
}}

// maxPooledFields bounds the header fields of a handshake that is reused: a map does not shrink.
const maxPooledFields = 64

func (h *handshake) recycle() {
	header, written := h.request.Header, h.writer.header
	if len(header) > maxPooledFields || len(written) > maxPooledFields {
		return
	}
	clear(header)
	clear(written)
	clear(h.values)
	*h = handshake{
		head:   head{request: http.Request{Header: header}, values: h.values[:0]},
		writer: onceWriter{reply: reply{header: written}},
	}
	handshakes.Put(h)
}

// onceWriter is the http.ResponseWriter for the only request of a connection.
type onceWriter struct {
	reply
	socket *socket // nil once hijacked
	ahead  []byte  // bytes read after the request
}

// Hijack implements http.Hijacker.
func (w *onceWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s := w.socket
	if s == nil {
		return nil, nil, http.ErrHijacked
	}
	w.socket = nil
	return s, buffered(w.ahead), nil
}

// buffered returns a reader for bytes read ahead, or nil if there are none. The hijacker writes to the connection
// directly.
func buffered(ahead []byte) *bufio.ReadWriter {
	if len(ahead) == 0 {
		return nil
	}
	r := bufio.NewReaderSize(bytes.NewReader(ahead), len(ahead))
	_, _ = r.Peek(len(ahead)) // the bytes are buffered
	return bufio.NewReadWriter(r, nil)
}

// finish sends the buffered response, if any. It closes the connection unless it has been hijacked.
func (w *onceWriter) finish(answered bool) {
	if w.socket == nil {
		return
	}
	if answered {
		b := replies.Get()
		defer replies.Put(b)
		w.append(b, true)
		_, _ = w.socket.tryWrite(b.B) // the peer may have left
	}
	w.socket.Close()
}
