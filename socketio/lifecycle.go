package socketio

import (
	"errors"
	"runtime/debug"

	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// hold keeps the namespace while a socket comes, is there or goes.
func (n *space) hold() bool { return n.entry.Hold() }

// release undoes hold.
func (n *space) release() { n.entry.Release() }

// newJoined makes a socket for a client that asks to join n with this payload of CONNECT, which is copied, and
// queues what remains to be done for it: middleware, the answer, connection handlers. It returns nil if n has
// just been dropped, as empty dynamic namespaces are.
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
	s.ns.entry.Wait() // middleware and handlers may just be being registered
	middleware := s.ns.middleware.all()
	pid, offset := s.resumes()
	if len(middleware) == 0 && pid == "" {
		s.admitted(nil)
		return
	}
	// Middleware may wait for as long as it wants: sockets of the client in other namespaces go on
	// meanwhile, and so does the end of its connection.
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

// errInternal is what a client is told of middleware that has panicked.
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
		// The session has ended, and s is about to be told. Its client will not hear of a connection.
		s.client.left(s)
		s.lose(TransportClose, nil)
	}
	// The client hears of nothing before its handlers for connections have returned, unless they wait: by then it
	// is in the rooms that they put it into, and whoever it tells of its being there will reach it.
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

// cleanUp removes what is left of a socket that has never been connected.
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
	case "[false]", "[0]", `[""]`, "[null]": // what JavaScript takes for nothing
		list, _, err = parser.AppendArgs(nil, nil, message)
	}
	if err != nil {
		s.ns.server.opts.Logger.Warn("data of a connect error cannot be encoded", "namespace", s.ns.name, "err", err)
		list, _, _ = parser.AppendArgs(nil, nil, payload(nil)) // a string always encodes
	}
	// The payload stands in a list of arguments.
	_ = s.write(&parser.Packet{Type: parser.ConnectError, Namespace: s.ns.name, Data: list[1 : len(list)-1]}, false)
}

// end takes s out of its namespace for this reason and, if the server decided it, tells the client.
// err says what went wrong, if anything did. The socket is disconnected when it returns; handlers are
// called, and rooms left, on the client's queue, but whoever waits for the client hears of it at once. It reports
// whether anything was queued: the caller sees to it that the queue runs.
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
			// A handler that panics in the first does not keep the second from happening.
			s.client.queue.push(func() { s.leaving(reason) })
			s.client.queue.push(func() { s.leave(reason) })
			if reason == ServerNamespaceDisconnect {
				// The client may join again as soon as it hears of this.
				_ = s.write(&parser.Packet{Type: parser.Disconnect, Namespace: s.ns.name}, false)
			}
			return true
		default:
			return false
		}
	}
}

// lose ends what waits for the client: its handlers perhaps, behind which leave is queued.
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
