package polling

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/internal/coding"
	"github.com/myriad-rt/myriad/transport"
)

// Parker is an http.ResponseWriter that needs no goroutine while its request waits. The ones of net/http are not
// Parkers; a program that reads requests itself may provide one.
type Parker interface {
	http.ResponseWriter

	// Park lets the handler return before the response is written. Another goroutine may then write the response
	// and must end it with Unpark. Until Unpark, writes are only buffered and cannot fail. If the client leaves
	// first, gone is called once, but not by Park.
	Park(gone func())

	// Unpark sends the response without waiting for the client. It returns an error if the client has left.
	Unpark() error
}

// get is a waiting GET: a goroutine receives from answer or, if answer is nil, the request is parked.
type get struct {
	answer  chan response // buffered
	parker  Parker
	request *http.Request
}

// Handshake answers the first request of a session with an open packet whose data is open, followed by the message
// initial if it is not nil.
func (c *Conn) Handshake(w http.ResponseWriter, r *http.Request, open string, initial *transport.Message) {
	packets := []packet.Packet{{Type: packet.Open, Data: []byte(open)}}
	if initial != nil {
		packets = appendMessage(packets, initial)
	}
	c.write(w, r, c.encodePackets(packets, true))
}

// Serve answers a request of the session; a GET waits until there is something to send. If c has ended, Serve
// writes nothing and returns transport.ErrClosed. To drop a connection it panics with http.ErrAbortHandler, as is
// usual with net/http.
func (c *Conn) Serve(w http.ResponseWriter, r *http.Request) error {
	switch r.Method {
	case http.MethodGet:
		return c.serveGet(w, r)
	case http.MethodPost:
		return c.servePost(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError)
		return nil
	}
}

func (c *Conn) serveGet(w http.ResponseWriter, r *http.Request) error {
	c.mu.Lock()
	switch {
	case c.state == stateEnded:
		c.mu.Unlock()
		return transport.ErrClosed
	case c.get != nil:
		c.mu.Unlock()
		c.handler.HandleError(ErrOverlap)
		w.WriteHeader(http.StatusBadRequest)
	case len(c.queue) > 0 && !c.corked:
		answer := c.takeLocked()
		c.mu.Unlock()
		c.write(w, r, answer)
		c.handler.HandleDrain()
	case c.state == stateClosing:
		answer := c.encode([]item{{kind: packet.Noop}, {kind: packet.Close}})
		c.endLocked()
		c.mu.Unlock()
		c.handler.HandleEnd()
		c.write(w, r, answer)
	default:
		if parker, ok := w.(Parker); ok {
			g := &get{parker: parker, request: r}
			c.get = g
			parker.Park(func() { c.lose(g) })
			c.mu.Unlock()
			return nil
		}
		g := &get{answer: make(chan response, 1)}
		c.get = g
		c.mu.Unlock()
		c.wait(w, r, g)
	}
	return nil
}

// wait waits until a GET is answered or its client leaves.
func (c *Conn) wait(w http.ResponseWriter, r *http.Request, g *get) {
	var answer response
	select {
	case answer = <-g.answer:
	case <-r.Context().Done():
		if c.lose(g) {
			return
		}
		// The GET was answered at the same moment; writing that answer fails like any other.
		answer = <-g.answer
	}
	c.write(w, r, answer)
}

// lose ends the session because the client of a GET has left. It returns false if the GET has been answered.
func (c *Conn) lose(g *get) bool {
	c.mu.Lock()
	lost := c.get == g
	if lost {
		c.get = nil
	}
	c.mu.Unlock()
	if lost {
		c.handler.HandleError(ErrPollClosed)
	}
	return lost
}

// unpark answers a parked GET. The caller may hold any lock.
func (c *Conn) unpark(g *get, answer response) {
	c.write(g.parker, g.request, answer)
	if g.parker.Unpark() != nil {
		go c.handler.HandleError(ErrPollClosed)
	}
}

// unparkApart is unpark on its own goroutine. It recovers panics of application functions.
func (c *Conn) unparkApart(g *get, answer response) {
	defer func() {
		if p := recover(); p != nil {
			clear(g.parker.Header())
			g.parker.WriteHeader(http.StatusInternalServerError)
			_ = g.parker.Unpark() // the session ends in any case
			c.handler.HandlePanic(p, debug.Stack())
		}
	}()
	c.unpark(g, answer)
}

// compresses reports whether a response is compressed for clients that accept it.
func (c *Conn) compresses(answer response) bool {
	return answer.compress && c.config.CompressFrom >= 0 && answer.body.Len() >= c.config.CompressFrom
}

// write writes a successful response to a GET and releases it.
func (c *Conn) write(w http.ResponseWriter, r *http.Request, answer response) {
	defer answer.release()
	h := w.Header()
	if answer.binary {
		h.Set("Content-Type", "application/octet-stream")
	} else {
		h.Set("Content-Type", "text/plain; charset=UTF-8")
	}
	encoding := ""
	if c.compresses(answer) {
		encoding = coding.Negotiate(r.Header.Get("Accept-Encoding"), gzipCoding, deflateCoding)
	}
	if encoding == "" {
		h.Set("Content-Length", strconv.Itoa(answer.body.Len()))
	} else {
		h.Set("Content-Encoding", encoding)
	}
	c.finishHeader(h, r)
	w.WriteHeader(http.StatusOK)
	var err error
	if encoding == "" {
		_, err = w.Write(answer.body.B)
	} else {
		err = compress(w, encoding, answer.body.B)
	}
	if err != nil {
		c.handler.HandleError(ErrPollClosed)
	}
}

// finishHeader adds the fields common to all successful responses.
func (c *Conn) finishHeader(h http.Header, r *http.Request) {
	h.Set("Cache-Control", "no-store")
	// Internet Explorer would apply its XSS filter to the response.
	if agent := r.UserAgent(); strings.Contains(agent, ";MSIE") || strings.Contains(agent, "Trident/") {
		h.Set("X-XSS-Protection", "0")
	}
	if c.config.Header != nil {
		c.config.Header(h, r)
	}
}
