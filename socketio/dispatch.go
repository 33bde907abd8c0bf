package socketio

import (
	"context"
	"log/slog"
)

// dispatch calls the handlers of an event. It runs on the client's queue.
func (s *Socket) dispatch(e *Event) {
	if !s.listens() {
		return
	}
	x := s.extra.Load()
	for _, f := range s.ns.handlers.any.all() {
		e.kept = true
		f(e)
	}
	if x != nil {
		for _, f := range x.handlers.any.all() {
			e.kept = true
			f(e)
		}
		for _, f := range x.middleware.all() {
			e.kept = true
			if err := f(e); err != nil {
				s.handleError(err)
				return
			}
		}
	}
	if !s.listens() || e.name == nil {
		return
	}
	s.call(&s.ns.handlers, e)
	if x != nil {
		s.call(&x.handlers, e)
	}
}

func (s *Socket) listens() bool { return s.status.state() != stateGone && !s.status.marked(deaf) }

func (s *Socket) call(h *handlers, e *Event) {
	list := h.named(e.name)
	for _, f := range list {
		if f.once != nil {
			list = h.removeOnce(e.name, list)
			break
		}
	}
	for _, f := range list {
		if f.keeps {
			e.kept = true
		}
		f.do(e)
	}
}

// handleError calls the error handlers of s.
func (s *Socket) handleError(err error) {
	s.ns.server.opts.Logger.LogAttrs(context.Background(), slog.LevelDebug, "socket error",
		slog.String("namespace", s.ns.name), slog.String("socket", s.id), slog.Any("err", err))
	for _, f := range s.ns.errors.all() {
		f(s, err)
	}
	if x := s.extra.Load(); x != nil {
		for _, f := range x.errors.all() {
			f(err)
		}
	}
}
