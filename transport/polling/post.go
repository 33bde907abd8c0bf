package polling

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/bufpool"
	"github.com/myriad-rt/myriad/transport"
)

const binaryContent = "application/octet-stream"

var requests bufpool.Pool

func (c *Conn) servePost(w http.ResponseWriter, r *http.Request) error {
	binary := r.Header.Get("Content-Type") == binaryContent
	p := &post{controller: http.NewResponseController(w)}
	c.mu.Lock()
	switch {
	case c.state == stateEnded:
		c.mu.Unlock()
		return transport.ErrClosed
	case c.post != nil:
		c.mu.Unlock()
		c.handler.HandleError(ErrPostOverlap)
		w.WriteHeader(http.StatusBadRequest)
		return nil
	case binary && !c.v3:
		c.mu.Unlock()
		c.handler.HandleError(ErrContent)
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	c.post = p
	c.mu.Unlock()

	switch err := c.take(p, r, binary); {
	case errors.Is(err, errTooLarge):
		refuseBody(w, r, p.controller)
		return nil
	case err != nil:
		if !errors.Is(err, errCut) {
			c.handler.HandleError(ErrPostClosed)
		}
		panic(http.ErrAbortHandler)
	}
	c.hold(r)

	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", "2")
	c.finishHeader(h, r)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "ok") // a client that has left will not poll again either
	return nil
}

var (
	errTooLarge = errors.New("polling: body too large")
	errCut      = errors.New("polling: session ended while a POST was being received")
)

// take reads the body of a POST and delivers its packets. The body is not kept while the response is held back.
// After an error another POST may follow.
func (c *Conn) take(p *post, r *http.Request, binary bool) error {
	body := requests.Get()
	defer requests.Put(body)
	err := readBody(body, r.Body, c.config.MaxBodyBytes)
	c.mu.Lock()
	p.received = true
	if p.cut {
		err = errCut
	}
	if err != nil {
		c.post = nil
	}
	c.mu.Unlock()
	if err == nil {
		c.handOver(body.B, binary)
	}
	return err
}

// readBody reads r to its end into b, or returns errTooLarge after more than limit bytes.
func readBody(b *bytebufferpool.ByteBuffer, r io.Reader, limit int) error {
	const step = 512
	b.Reset()
	for {
		if cap(b.B)-len(b.B) < step {
			b.B = append(b.B, make([]byte, max(step, len(b.B)))...)[:len(b.B)]
		}
		n, err := r.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		switch {
		case len(b.B) > limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

const (
	// refusedBytes and refusedTime bound the part of a refused body that is read to keep its connection usable.
	refusedBytes = 64 << 20
	refusedTime  = 30 * time.Second
)

// refuseBody answers 413 while the client is still sending, and then reads the rest of the body so that the
// connection can be used for the next request.
func refuseBody(w http.ResponseWriter, r *http.Request, controller *http.ResponseController) {
	// If the response cannot be sent early, it is sent after the body has been read.
	_ = controller.EnableFullDuplex()
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_ = controller.Flush()
	_ = controller.SetReadDeadline(time.Now().Add(refusedTime))
	_, _ = io.CopyN(io.Discard, r.Body, refusedBytes)
}

// handOver decodes the body of a POST and delivers its packets.
func (c *Conn) handOver(body []byte, binary bool) {
	c.dispatch.Lock()
	defer c.dispatch.Unlock()
	c.mu.Lock()
	ended := c.state == stateEnded
	c.mu.Unlock()
	if ended || c.frozen {
		return
	}
	if !binary {
		body = packet.Sanitize(body)
	}
	if c.jsonp {
		d, ok := FormValue(string(body), "d")
		if !ok {
			return
		}
		body, binary = unescapeLines(d), false
	}
	var next func() (packet.Packet, bool, error)
	switch {
	case !c.v3:
		payload := packet.NewPayload(body)
		next = payload.Next
	case binary:
		payload := packet.NewBinaryPayloadV3(body)
		next = payload.Next
	default:
		payload := packet.NewStringPayloadV3(body)
		next = payload.Next
	}
	for {
		p, ok, err := next()
		if !ok {
			c.handler.HandlePosted(err)
			return
		}
		if !c.handler.HandlePacket(p) {
			c.handler.HandlePosted(nil)
			return
		}
	}
}

// hold waits until c is resumed, if it is paused.
func (c *Conn) hold(r *http.Request) {
	c.mu.Lock()
	for c.paused && c.state == stateOpen {
		if c.resume == nil {
			c.resume = make(chan struct{})
		}
		resume := c.resume
		c.mu.Unlock()
		select {
		case <-resume:
			c.mu.Lock()
		case <-r.Context().Done():
			c.mu.Lock()
			c.post = nil
			c.mu.Unlock()
			return
		}
	}
	c.post = nil
	c.mu.Unlock()
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
