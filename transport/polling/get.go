package polling

import (
	"net/http"

	"github.com/myriad-rt/myriad/engineio/packet"
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
	c.answer(w, r, c.encodePackets(packets, true))
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
	c.hearLocked()
	switch {
	case c.late:
		c.late = false
		answer := c.encode([]Item{{Type: c.farewell}})
		c.wakeLocked()
		c.mu.Unlock()
		c.answer(w, r, answer)
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
		c.answer(w, r, answer)
		c.handler.HandleDrain()
	case c.state == stateClosing:
		answer := c.encode([]Item{{Type: packet.Noop}, {Type: packet.Close}})
		c.endLocked()
		c.mu.Unlock()
		c.handler.HandleEnd()
		c.answer(w, r, answer)
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
	unlimit(w)
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
	limit(w, r)
	c.answer(w, r, answer)
}

// lose ends the session because the client has abandoned a GET. If a POST is being received, which the client sent
// before it left, that is handled first. lose returns false if the GET has been answered.
func (c *Conn) lose(g *get) bool {
	c.mu.Lock()
	if c.get != g {
		c.mu.Unlock()
		return false
	}
	c.get = nil
	c.hearLocked()
	c.lost = c.post != nil && !c.post.handed
	later := c.lost
	c.mu.Unlock()
	if !later {
		c.handler.HandleError(ErrPollClosed)
	}
	return true
}

// answerLocked passes items to the waiting GET.
func (c *Conn) answerLocked(items ...Item) { c.deliverLocked(c.encode(items)) }

// deliverLocked passes a response to the waiting GET.
func (c *Conn) deliverLocked(answer response) {
	g := c.get
	c.get = nil
	c.hearLocked()
	switch {
	case g.parker == nil:
		g.answer <- answer
	case c.config.Header != nil:
		go c.unparkApart(g, answer) // a function of the application may block
	case c.compresses(answer):
		compressors.do(func() { c.unpark(g, answer) })
	default:
		c.unpark(g, answer)
	}
}

// unpark answers a parked GET. The caller may hold any lock, unless there is a Config.Header.
func (c *Conn) unpark(g *get, answer response) {
	err := c.write(g.parker, g.request, answer)
	if gone := g.parker.Unpark(); err != nil || gone != nil {
		go c.handler.HandleError(ErrPollClosed)
	}
}
