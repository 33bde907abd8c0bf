package socketio

// A Registrar accepts event handlers. It is a *Server, a *Namespace or a *Socket.
type Registrar interface {
	handle(event string, h handler)
}

// On registers f for an event whose first argument is decoded into a T, as parser.Args.Bind does: []byte receives
// binary, also inside T. If the event has no argument, v is the zero T.
//
// If the argument cannot be decoded, f is not called; error handlers receive a *BindError, and the client stays
// connected. On panics if f is nil or the event's name is reserved.
func On[T any](r Registrar, event string, f func(s *Socket, v T)) {
	handle(r, event, f == nil, func(e *Event) {
		var v T
		if bind(e, &v) {
			f(e.Socket(), v)
		}
	})
}

// On2 is like On for an event with two arguments. For more, use [Namespace.On] with [Event.Bind].
func On2[T, U any](r Registrar, event string, f func(s *Socket, v T, w U)) {
	handle(r, event, f == nil, func(e *Event) {
		var v T
		var w U
		if bind(e, &v, &w) {
			f(e.Socket(), v, w)
		}
	})
}

// OnAck is like On for an event that the client wants acknowledged. The result of f is the acknowledgement; it is
// dropped if the client did not request one.
//
// An ACK packet cannot carry an error: report failures inside R. For several results, or an acknowledgement that is
// sent later, use [Namespace.On] with [Event.Ack].
func OnAck[T, R any](r Registrar, event string, f func(s *Socket, v T) R) {
	handle(r, event, f == nil, func(e *Event) {
		var v T
		if bind(e, &v) {
			acknowledge(e, f(e.Socket(), v))
		}
	})
}

// OnAck2 is like OnAck for an event with two arguments.
func OnAck2[T, U, R any](r Registrar, event string, f func(s *Socket, v T, w U) R) {
	handle(r, event, f == nil, func(e *Event) {
		var v T
		var w U
		if bind(e, &v, &w) {
			acknowledge(e, f(e.Socket(), v, w))
		}
	})
}

func handle(r Registrar, event string, missing bool, f func(*Event)) {
	if missing {
		panic("socketio: nil event handler")
	}
	r.handle(event, handler{do: f})
}

func bind(e *Event, dst ...any) bool {
	err := e.Bind(dst...)
	if err != nil {
		e.socket.handleError(&BindError{Event: e.Name(), Err: err})
	}
	return err == nil
}

func acknowledge(e *Event, result any) {
	if !e.WantsAck() {
		return
	}
	if err := e.Ack(result); err != nil {
		e.socket.handleError(err)
	}
}
