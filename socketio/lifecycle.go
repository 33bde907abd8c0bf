package socketio

import (
	"errors"
	"runtime/debug"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// hold keeps the namespace from being dropped while a socket connects, is connected or disconnects.
func (n *space) hold() bool { return n.entry.Hold() }

// release undoes hold.
func (n *space) release() { n.entry.Release() }

// newJoined creates a socket for a client that joins n, with a copy of the payload of CONNECT, and queues middleware,
// the answer and connection handlers. It returns nil if n has just been dropped as an empty dynamic namespace.
func newJoined(n *Namespace, c *client, auth []byte) *Socket {
	if !n.hold() {
		return nil
	}
	s := newSocket(n, c, auth)
	c.queue.push(s.admit)
	return s
}

// admit runs on the client's queue.
func (s *Socket) admit() {
	s.ns.entry.Wait() // middleware and handlers may still be being registered
	middleware := s.ns.middleware.all()
	pid, offset := s.resumes()
	if len(middleware) == 0 && pid == "" {
		s.admitted(nil)
		return
	}
	// Middleware may block. Sockets of the client in other namespaces continue meanwhile, and the end of the connection is
	// noticed.
	go func() {
		opened, err := false, errInternal
		defer func() {
			if err == errInternal {
				s.client.panicked(s, recover(), debug.Stack())
			}
			if !opened {
				s.client.queue.push(func() { s.admitted(err) })
			}
			s.client.schedule()
		}()
		var refusal error
		if opened, refusal = s.restore(pid, offset, middleware); !opened && refusal == nil {
			refusal = s.runMiddleware(middleware)
		}
		err = refusal
	}()
}

// errInternal is sent to a client if middleware panics.
var errInternal = errors.New("internal error")

func (s *Socket) runMiddleware(middleware []func(*Socket) error) error {
	for _, f := range middleware {
		if s.status.state() != statePending {
			return nil // the client has gone
		}
		if err := f(s); err != nil {
			return err
		}
	}
	return nil
}

// admitted runs on the client's queue when middleware has decided.
//
// Socket.IO protocol v5, "CONNECT" and "CONNECT_ERROR".
func (s *Socket) admitted(refusal error) {
	if refusal != nil {
		there := s.status.move(statePending, stateGone)
		if there {
			s.client.left(s)
			s.lose(ServerNamespaceDisconnect, nil)
		}
		s.ns.adapter.RemoveAll((*member)(s))
		if there { // the client is told when nothing of it is left
			s.refuse(refusal)
		}
		s.ns.release()
		return
	}
	if s.client.session.State() == engineio.StateClosed && s.status.move(statePending, stateGone) {
		// The session has ended, and s is about to be notified. The client must not receive CONNECT.
		s.client.left(s)
		s.lose(TransportClose, nil)
	}
	// Unless a connection handler waits, the client receives nothing before all of them have returned. Its socket has then
	// joined its rooms, so peers that learn of the client can reach it.
	s.client.cork()
	defer s.client.uncork()
	_ = s.ns.adapter.Add((*member)(s), s.id) // its own room does not count
	connected := s.connect(nil)
	s.client.flush()
	if !connected {
		s.cleanUp()
		return
	}
	s.client.joined()
	s.connected()
}

// connectData is the payload of the CONNECT packet that s is told of its ids by. Clients of
// Socket.IO v2 get none.
func (s *Socket) connectData() []byte {
	if s.client.session.Protocol() == 3 {
		return nil
	}
	data := append(make([]byte, 0, 64), `{"sid":"`...)
	data = append(append(data, s.id...), '"')
	if s.ns.Recovers() {
		data = append(append(data, `,"pid":"`...), s.more().pid...)
		data = append(data, '"')
	}
	return append(data, '}')
}

// connected calls the handlers for connections. It runs on the client's queue, in front of the end of s.
func (s *Socket) connected() {
	s.status.mark(announced)
	for _, f := range s.ns.connect.all() {
		f(s)
	}
}

// cleanUp removes a socket that has never connected.
func (s *Socket) cleanUp() {
	s.ns.adapter.RemoveAll((*member)(s))
	s.ns.release()
}

// refuse sends CONNECT_ERROR. Clients of Socket.IO v2 get the data alone, or the message if there is none.
func (s *Socket) refuse(refusal error) {
	message, data := refusal.Error(), any(nil)
	var ce *ConnectError
	if errors.As(refusal, &ce) {
		message, data = ce.Message, ce.Data
	}
	payload := func(data any) any {
		switch {
		case s.client.session.Protocol() != 3:
			return struct {
				Message string `json:"message"`
				Data    any    `json:"data,omitempty"`
			}{message, data}
		case data != nil:
			return data
		default:
			return message
		}
	}
	list, _, err := parser.AppendArgs(nil, nil, payload(data))
	switch string(list) {
	case "[false]", "[0]", `[""]`, "[null]": // falsy values of JavaScript
		list, _, err = parser.AppendArgs(nil, nil, message)
	}
	if err != nil {
		s.ns.server.opts.Logger.Warn("data of a connect error cannot be encoded", "namespace", s.ns.name, "err", err)
		list, _, _ = parser.AppendArgs(nil, nil, payload(nil)) // a string always encodes
	}
	// The payload stands in a list of arguments.
	_ = s.write(&parser.Packet{Type: parser.ConnectError, Namespace: s.ns.name, Data: list[1 : len(list)-1]}, false)
}

// end disconnects s for a reason, with details in err, and tells the client if the server decided it. When end returns,
// s is disconnected, and everything that waits for the client has been woken. Handlers are called, and rooms left, on
// the client's queue. end reports whether it queued anything; the caller must then schedule the queue.
func (s *Socket) end(reason DisconnectReason, err error) (queued bool) {
	for {
		st := s.status.state()
		switch st {
		case statePending:
			if s.status.move(st, stateGone) {
				s.client.left(s)
				s.lose(reason, err)
				return false // admitted cleans up
			}
		case stateConnected:
			to := stateLeaving
			switch {
			case reason == ServerNamespaceDisconnect:
				to |= deaf
			case s.mayResume(reason):
				to |= resumable
			}
			if !s.status.move(st, to) {
				continue
			}
			s.client.left(s)
			s.lose(reason, err)
			// If a handler panics in the first task, the second still runs.
			s.client.queue.push(func() { s.leaving(reason) })
			s.client.queue.push(func() { s.leave(reason) })
			if reason == ServerNamespaceDisconnect {
				// The client may rejoin as soon as it receives this.
				_ = s.write(&parser.Packet{Type: parser.Disconnect, Namespace: s.ns.name}, false)
			}
			return true
		default:
			return false
		}
	}
}

// lose wakes everything that waits for the client, including handlers in front of leave in the queue.
func (s *Socket) lose(reason DisconnectReason, err error) {
	x := s.more()
	x.mu.Lock()
	awaited := x.loseAcksLocked()
	x.cause = &DisconnectError{Reason: reason, Err: err}
	cause, cancel := x.cause, x.cancel
	x.mu.Unlock()
	if awaited {
		s.client.await(-1)
	}
	if cancel != nil {
		cancel(cause)
	}
}

// leaving runs on the client's queue, in front of leave.
func (s *Socket) leaving(reason DisconnectReason) {
	if !s.status.marked(announced) {
		return
	}
	for _, f := range s.ns.disconnecting.all() {
		f(s, reason)
	}
	if x := s.extra.Load(); x != nil {
		for _, f := range x.disconnecting.all() {
			f(reason)
		}
	}
}

// leave runs on the client's queue.
func (s *Socket) leave(reason DisconnectReason) {
	n := s.ns
	defer n.release()
	s.persist(reason)
	n.adapter.RemoveAll((*member)(s))
	s.status.move(stateLeaving, stateGone)
	if !s.status.marked(announced) {
		return
	}
	for _, f := range n.disconnect.all() {
		f(s, reason)
	}
	if x := s.extra.Load(); x != nil {
		for _, f := range x.disconnect.all() {
			f(reason)
		}
	}
}
