package polling

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/internal/form"
	"github.com/myriad-rt/myriad/transport"
)

const binaryContent = "application/octet-stream"

var requests bufpool.Pool

// post is a POST request without a response yet. Its fields are guarded by Conn.mu.
type post struct {
	controller *http.ResponseController
	received   bool // the body has arrived
	handed     bool // its packets have been delivered
	cut        bool // interrupted
}

// cutOff interrupts p unless its body has arrived. A Read that waits fails; without deadlines the next Read fails.
func (p *post) cutOff() {
	if !p.received {
		p.cut = true
		_ = p.controller.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *Conn) servePost(w http.ResponseWriter, r *http.Request) error {
	binary := r.Header.Get("Content-Type") == binaryContent
	p := &post{controller: http.NewResponseController(w)}
	var err error
	c.mu.Lock()
	c.hearLocked()
	switch {
	case c.state == stateEnded || c.frozen:
		c.mu.Unlock()
		return transport.ErrClosed
	case c.post != nil:
		err = ErrPostOverlap
	case binary && !c.v3:
		err = ErrContent
	default:
		c.post = p
		_ = p.controller.SetReadDeadline(c.bodyDeadline(r))
	}
	c.posts++
	c.mu.Unlock()
	defer c.served()

	if err == nil {
		err = c.take(p, w, r, binary)
	}
	if err == errCut {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		c.handler.HandleError(err)
	}
	c.awaitLate(r)
	h := w.Header()
	switch err {
	case nil:
		h.Set("Content-Type", "text/html")
		h.Set("Content-Length", "2")
		c.finishHeader(h, r)
		limit(w, r)
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "ok") // a client that has left will not poll again either
	case ErrPostOverlap, ErrContent:
		w.WriteHeader(http.StatusBadRequest)
	case ErrPostSize, ErrPostPieces:
		c.refuse(w, p, http.StatusRequestEntityTooLarge)
	case ErrPostTimeout:
		c.refuse(w, p, http.StatusRequestTimeout)
	default:
		panic(http.ErrAbortHandler)
	}
	return nil
}

// served is called at the end of servePost.
func (c *Conn) served() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hearLocked()
	if c.posts--; c.posts == 0 {
		c.late = false
	}
}

// bodyDeadline returns the time at which the body of a request must have arrived.
func (c *Conn) bodyDeadline(r *http.Request) time.Time {
	d := c.config.BodyTimeout
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.ReadTimeout > 0 {
		d = min(d, s.ReadTimeout)
	}
	return time.Now().Add(d)
}

// refusedTime is how long the rest of a rejected body is read before the connection is closed. Closing it at once could
// destroy the response.
const refusedTime = 2 * time.Second

// refuse answers a POST whose body has not been read completely.
func (c *Conn) refuse(w http.ResponseWriter, p *post, status int) {
	_ = p.controller.SetReadDeadline(time.Now().Add(refusedTime))
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

// errCut is returned for a POST that was interrupted because the session has ended.
var errCut = errors.New("polling: cut off")

// take reads the body of a POST and delivers its packets, and then waits while c is paused. After an error another POST
// may follow.
func (c *Conn) take(p *post, w http.ResponseWriter, r *http.Request, binary bool) error {
	body := requests.Get()
	defer func() {
		if body != nil {
			requests.Put(body)
		}
	}()
	err := c.readBody(body, r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	p.received = true
	if p.cut {
		err = errCut
	}
	if err == nil {
		c.mu.Unlock()
		c.handOver(body.B, binary)
		requests.Put(body) // the body is not kept while the response is held back
		body = nil
		c.mu.Lock()
		p.handed = true
		c.wakeLocked()
		if c.lost {
			err = ErrPollClosed
		} else {
			err = c.holdLocked(w, r)
		}
	}
	c.post = nil
	return err
}

// readBody reads all of r into b.
func (c *Conn) readBody(b *bytebufferpool.ByteBuffer, r io.Reader) error {
	const step = 512
	b.Reset()
	for pieces := 0; ; {
		if cap(b.B)-len(b.B) < step {
			b.B = append(b.B, make([]byte, max(step, len(b.B)))...)[:len(b.B)]
		}
		n, err := r.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		if n > 0 {
			pieces++
		}
		var tooLarge *http.MaxBytesError
		switch {
		case len(b.B) > c.config.MaxBodyBytes || errors.As(err, &tooLarge):
			return ErrPostSize
		case pieces > c.config.MaxBodyPieces:
			return ErrPostPieces
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return ErrPostTimeout
		case err != nil:
			return ErrPostClosed
		}
	}
}

// handOver decodes the body of a POST and delivers its packets.
func (c *Conn) handOver(body []byte, binary bool) {
	if !binary {
		body = packet.Sanitize(body)
	}
	if c.jsonp {
		d, ok := form.Value(string(body), "d")
		if !ok {
			return
		}
		body, binary = unescapeLines(d), false
	}
	switch {
	case !c.v3:
		payload := packet.NewPayload(body)
		c.handler.HandlePayload(payload.Next)
	case binary:
		payload := packet.NewBinaryPayloadV3(body)
		c.handler.HandlePayload(payload.Next)
	default:
		payload := packet.NewStringPayloadV3(body)
		c.handler.HandlePayload(payload.Next)
	}
}

// holdLocked waits until c is resumed, if it is paused. It returns ErrPostClosed if the client leaves.
func (c *Conn) holdLocked(w http.ResponseWriter, r *http.Request) error {
	if c.paused && c.state == stateOpen {
		unlimit(w)
	}
	for c.paused && c.state == stateOpen {
		if !c.waitLocked(r.Context().Done(), nil) {
			return ErrPostClosed
		}
	}
	return nil
}

// lateTime bounds how long the response to a POST waits for a GET that may be about to arrive.
const lateTime = 250 * time.Millisecond

// awaitLate waits for the GET that is still answered after c has ended.
func (c *Conn) awaitLate(r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.late {
		return
	}
	due := time.NewTimer(lateTime)
	defer due.Stop()
	for c.late && c.waitLocked(r.Context().Done(), due.C) {
	}
	c.late = false
}

// unescapeLines undoes the escaping by which JSONP clients protect line feeds from form encoding: a backslash and
// an n stand for a line feed, and two backslashes and an n for a backslash and an n.
func unescapeLines(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch rest := s[i:]; {
		case strings.HasPrefix(rest, `\n`):
			b = append(b, '\n')
			i++
		case strings.HasPrefix(rest, `\\n`):
			b = append(b, `\n`...)
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return b
}
