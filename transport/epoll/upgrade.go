package epoll

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/transport"
)

// HandshakeError describes why a request did not become a WebSocket connection. The client has received Status and
// Message.
type HandshakeError struct {
	Status  int    // HTTP status
	Message string // body of the response
}

// Error implements error.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("epoll: handshake refused with status %d: %s", e.Status, e.Message)
}

// A Detacher is a connection that can give up its descriptor.
type Detacher interface {
	net.Conn
	// Detach returns the descriptor of the connection, a non-blocking socket, which then belongs to the caller. No
	// other method may be called afterwards. Detach returns -1 if the connection must be used as it is.
	Detach() (fd int)
}

// acceptGUID is appended to the client's key, RFC 6455 section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// refusalTimeout bounds the time in which a client must receive the refusal of its handshake.
const refusalTimeout = 5 * time.Second

// ownHeaders are response headers that the caller of Upgrade cannot set.
var ownHeaders = map[string]bool{
	"Connection":               true,
	"Content-Length":           true,
	"Sec-Websocket-Accept":     true,
	"Sec-Websocket-Extensions": true,
	"Sec-Websocket-Protocol":   true,
	"Transfer-Encoding":        true,
	"Upgrade":                  true,
}

// Upgrade makes the connection of r a WebSocket connection whose messages are sent in format. header holds
// additional headers for the handshake response; it may be nil. The response is held back until Start, so that it
// travels in one segment with the messages sent before. The caller must call Start, Close or Abort. Neither the
// caller nor other handlers may use w afterwards.
//
// w must be an [http.Hijacker] or unwrap to one, as with [http.ResponseController]. A program that reads requests
// itself may pass any such w. Hijack must return the connection and a reader holding the bytes that the client sent
// after the request; those bytes are processed first. The descriptor of a *net.TCPConn or *net.UnixConn is
// duplicated and the net.Conn closed. The descriptor of a [Detacher] is used directly.
//
// If the request is not a valid handshake, the client receives the same response as from the reference server, its
// connection is closed, and the error is a *HandshakeError. Other errors come from hijacking; the client has
// received status 500 if possible.
//
// RFC 6455 section 4.2.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, header http.Header, format transport.Format) (*Conn, error) {
	key, protocol, refusal := checkHandshake(r)
	var extension *extension
	if refusal == nil && s.options.PerMessageDeflate != nil {
		extension, refusal = s.options.PerMessageDeflate.negotiate(r)
	}
	var loops *poller
	if refusal == nil {
		loops, refusal = s.ready()
	}
	if refusal != nil {
		refuse(w, refusal)
		return nil, refusal
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.notHijacker.Do(func() {
			s.options.Logger.Error("cannot hijack a WebSocket connection: middleware must pass a ResponseWriter that implements "+
				"http.Hijacker or Unwrap (see http.ResponseController); http.TimeoutHandler does not",
				"err", err, "writer", fmt.Sprintf("%T", w))
		})
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return nil, fmt.Errorf("epoll: hijack: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("epoll: clear deadlines: %w", err)
	}
	var early []byte
	if buffered != nil {
		early = peekBuffered(buffered.Reader)
	}
	c := s.adopt(loops, conn)
	c.state.Store(uint32(format) << formatShift)
	if extension != nil {
		c.deflate = s.newDeflate(extension)
	}
	if len(early) > 0 {
		c.incomplete().early = early
	}
	s.open.Add(1)

	answer := buffers.Get()
	defer buffers.Put(answer)
	answer.B = appendAnswer(answer.B, key, protocol, extension, header)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendLocked(answer.B, nil)
	return c, nil
}

// ready returns the event loops, nil if connections use goroutines, or a refusal if s accepts no connections.
func (s *Server) ready() (*poller, *HandshakeError) {
	loops, err := s.loops()
	if err != nil {
		s.options.Logger.Error("cannot start event loops; WebSocket handshake refused", "err", err)
	}
	if err != nil || s.closing.Load() {
		return nil, &HandshakeError{http.StatusServiceUnavailable, "Service Unavailable"}
	}
	return loops, nil
}

// adopt returns a Conn for conn, which it then owns. loops may be nil.
func (s *Server) adopt(loops *poller, conn net.Conn) *Conn {
	if loops != nil {
		if c := loops.adopt(conn); c != nil {
			return c
		}
	}
	return newStream(s, conn)
}

// checkHandshake returns the key and the subprotocol for the response; protocol is "" if the client offered none.
// Order and wording of the refusals match the reference.
func checkHandshake(r *http.Request) (key, protocol string, refusal *HandshakeError) {
	bad := func(message string) (string, string, *HandshakeError) {
		return "", "", &HandshakeError{http.StatusBadRequest, message}
	}
	if r.Method != http.MethodGet {
		return "", "", &HandshakeError{http.StatusMethodNotAllowed, "Invalid HTTP method"}
	}
	if !strings.EqualFold(headerValue(r, "Upgrade"), "websocket") {
		return bad("Invalid Upgrade header")
	}
	key = headerValue(r, "Sec-Websocket-Key")
	if !validKey(key) {
		return bad("Missing or invalid Sec-WebSocket-Key header")
	}
	if version := headerValue(r, "Sec-Websocket-Version"); version != "13" && version != "8" {
		return bad(badVersion)
	}
	if len(r.Header["Sec-Websocket-Protocol"]) > 0 {
		var ok bool
		if protocol, ok = firstProtocol(headerValue(r, "Sec-Websocket-Protocol")); !ok {
			return bad("Invalid Sec-WebSocket-Protocol header")
		}
	}
	return key, protocol, nil
}

const badVersion = "Missing or invalid Sec-WebSocket-Version header"

// headerValue returns all values of a header as one, RFC 9110 section 5.3. name is canonical.
func headerValue(r *http.Request, name string) string {
	values := r.Header[name]
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values, ", ")
}

// validKey reports whether key looks like the base64 of 16 bytes.
func validKey(key string) bool {
	if len(key) != 24 || key[22:] != "==" {
		return false
	}
	for i := range 22 {
		switch b := key[i]; {
		case b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '+', b == '/':
		default:
			return false
		}
	}
	return true
}

// firstProtocol returns the first entry of a comma-separated list of distinct tokens. ok is false if offered is not
// such a list.
func firstProtocol(offered string) (first string, ok bool) {
	all := strings.Split(offered, ",")
	seen := make(map[string]bool, len(all))
	for i, name := range all {
		name = strings.Trim(name, " \t")
		if !isToken(name) || seen[name] {
			return "", false
		}
		seen[name] = true
		all[i] = name
	}
	return all[0], true
}

// isToken reports whether s is a token, RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(b byte) bool {
	return b > ' ' && b < 0x7F && strings.IndexByte("\"(),/:;<=>?@[\\]{}", b) < 0
}

// appendAnswer appends the handshake response.
func appendAnswer(dst []byte, key, protocol string, accepted *extension, header http.Header) []byte {
	var text [24 + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(text[:0], key...), acceptGUID...))
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	if protocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, protocol...)
	}
	if accepted != nil {
		dst = accepted.append(append(dst, "\r\nSec-WebSocket-Extensions: "...))
	}
	dst = append(dst, "\r\n"...)
	if len(header) > 0 {
		var b bytes.Buffer
		header.WriteSubset(&b, ownHeaders) // a bytes.Buffer accepts everything
		dst = append(dst, b.Bytes()...)
	}
	return append(dst, "\r\n"...)
}

// refuse answers a handshake with the same bytes as the reference, and closes the connection. If the connection
// cannot be hijacked, as with HTTP/2, it writes an ordinary response.
func refuse(w http.ResponseWriter, e *HandshakeError) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h := w.Header()
		h.Set("Connection", "close")
		h.Set("Content-Type", "text/html")
		h.Set("Content-Length", strconv.Itoa(len(e.Message)))
		if e.Message == badVersion {
			h.Set("Sec-Websocket-Version", "13, 8")
		}
		w.WriteHeader(e.Status)
		w.Write([]byte(e.Message))
		return
	}
	defer conn.Close()
	var versions string
	if e.Message == badVersion {
		versions = "Sec-WebSocket-Version: 13, 8\r\n"
	}
	conn.SetDeadline(time.Now().Add(refusalTimeout))
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: %d\r\n%s\r\n%s",
		e.Status, http.StatusText(e.Status), len(e.Message), versions, e.Message)
}

// peekBuffered returns a copy of the bytes buffered in r.
func peekBuffered(r *bufio.Reader) []byte {
	if r == nil || r.Buffered() == 0 {
		return nil
	}
	b, _ := r.Peek(r.Buffered()) // cannot fail: the bytes are buffered
	return bytes.Clone(b)
}
