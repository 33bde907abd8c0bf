package socketio

// Registrar is what handlers for events can be registered on: a *Server, a *Namespace or a *Socket.
type Registrar interface {
	handle(event string, h handler)
}

// On registers f for an event whose first argument is decoded into a T, as [parser.Args.Bind] does: []byte
// receives binary, here and anywhere inside T. An event without arguments gives the zero T.
//
// If the argument does not fit, f is not called; error handlers get a *BindError, and the client stays connected.
// It panics if f is nil or the event's name is reserved.
func On[T any](r Registrar, event string, f func(s *Socket, v T)) {
	if f == nil {
		panic("socketio: nil event handler")
	}
	r.handle(event, handler{do: func(e *Event) {
		var v T
		if bind(e, &v) {
			f(e.Socket(), v)
		}
	}})
}

// OnAck is On for an event that the client wants acknowledged: what f returns is the acknowledgement. If the
// client did not ask for one, the result is dropped.
//
// An ACK packet has no place for an error: report failures inside R. For several results, or
// an acknowledgement that is sent later, use [Namespace.On] with [Event.Ack].
func OnAck[T, R any](r Registrar, event string, f func(s *Socket, v T) R) {
	if f == nil {
		panic("socketio: nil event handler")
	}
	r.handle(event, handler{do: func(e *Event) {
		var v T
		if !bind(e, &v) {
			return
		}
		result := f(e.Socket(), v)
		if !e.WantsAck() {
			return
		}
		if err := e.Ack(result); err != nil {
			e.socket.handleError(err)
		}
	}})
}

func bind(e *Event, dst any) bool {
	err := e.Bind(dst)
	if err != nil {
		e.socket.handleError(&BindError{Event: e.Name(), Err: err})
	}
	return err == nil
}
