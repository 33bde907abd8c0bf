package engineio

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/myriad-rt/myriad/internal/form"
	"github.com/myriad-rt/myriad/internal/ident"
	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
	"github.com/myriad-rt/myriad/transport/polling"
)

// params are the query parameters of the protocol. If a name occurs several times, the last value counts.
type params struct {
	transport string
	named     bool // there is a transport
	sid       string
	protocol  int // 4 or 3
	base64    bool
	jsonp     bool
	index     string
}

func parseParams(u *url.URL) params {
	p := params{protocol: 3}
	// net/http leaves a fragment in the query or the path.
	query, _, _ := strings.Cut(u.RawQuery, "#")
	if strings.Contains(u.RawPath, "#") {
		query = ""
	}
	for name, value := range form.Pairs(query) {
		switch value = form.Decode(value); form.Decode(name) {
		case "transport":
			p.transport, p.named = value, true
		case "sid":
			p.sid = value
		case "EIO":
			p.protocol = 3
			if value == "4" {
				p.protocol = 4
			}
		case "b64":
			p.base64 = value != ""
		case "j":
			p.jsonp, p.index = true, value
		}
	}
	return p
}

// format returns the encoding of messages in WebSocket frames.
func (p *params) format() transport.Format {
	switch {
	case p.protocol == 4 && p.base64:
		return transport.FormatV4Base64
	case p.protocol == 4:
		return transport.FormatV4
	case p.base64:
		return transport.FormatV3Base64
	default:
		return transport.FormatV3
	}
}

// verify decides whether a request is served. It returns the session of the request, or nil if the request opens one.
// The checks are in the same order as in the reference.
func (s *Server) verify(r *http.Request, p *params, upgrade bool) (*Session, *ConnectionError) {
	if p.transport == WebTransport || !slices.Contains(s.options.Transports, p.transport) {
		context := make(map[string]any)
		if p.named {
			context["transport"] = p.transport
		}
		return nil, refusal(r, CodeUnknownTransport, context)
	}
	if origin := r.Header.Get("Origin"); !validHeader(origin) {
		r.Header.Del("Origin")
		return nil, refusal(r, CodeBadRequest, map[string]any{"name": "INVALID_ORIGIN", "origin": origin})
	}
	if p.sid == "" {
		return nil, s.verifyHandshake(r, p, upgrade)
	}
	session := s.lookup(p.sid, upgrade)
	if session == nil {
		return nil, refusal(r, CodeUnknownSession, map[string]any{"sid": p.sid})
	}
	if current := session.Transport(); !upgrade && p.transport != current {
		return nil, refusal(r, CodeBadRequest, map[string]any{
			"name": "TRANSPORT_MISMATCH", "transport": p.transport, "previousTransport": current,
		})
	}
	if current := session.Protocol(); p.protocol != current {
		return nil, refusal(r, CodeBadRequest, map[string]any{
			"name": "PROTOCOL_MISMATCH", "protocol": p.protocol, "previousProtocol": current,
		})
	}
	return session, nil
}

// lookup returns the session of a request, or nil. It first ends a session whose heartbeat is overdue, so that a timer
// that is late by microseconds does not extend the deadline.
func (s *Server) lookup(id string, upgrade bool) *Session {
	session := s.sessions.get(id)
	if session == nil || session.flags.Load()&flagOpened == 0 {
		return nil
	}
	s.wheel.ExpireIfDue(&session.timer)
	if session.State() == StateClosed && (upgrade || session.finished()) {
		return nil
	}
	return session
}

// verifyHandshake decides whether a request may open a session.
func (s *Server) verifyHandshake(r *http.Request, p *params, upgrade bool) *ConnectionError {
	if r.Method != http.MethodGet {
		return refusal(r, CodeBadMethod, map[string]any{"method": r.Method})
	}
	if p.transport == WebSocket && !upgrade {
		return refusal(r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	}
	if p.transport != WebSocket && upgrade {
		return nil // no session will be opened
	}
	if s.options.AllowRequest != nil {
		if err := s.options.AllowRequest(r); err != nil {
			e := refusal(r, CodeForbidden, map[string]any{"message": err.Error()})
			e.answer, e.Err = err.Error(), err
			return e
		}
	}
	if p.protocol == 3 && !s.options.AllowEIO3 {
		return refusal(r, CodeUnsupportedVersion, map[string]any{"protocol": 3})
	}
	return nil
}

// validHeader reports whether value has only characters that are valid in a header field.
func validHeader(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

var sessionIDs ident.Source

var errDuplicateID = errors.New("engineio: GenerateID returned an id that is empty or in use")

// newSession returns a session for r. It is not registered yet.
func (s *Server) newSession(r *http.Request, p *params) (*Session, *ConnectionError) {
	var id string
	if s.options.GenerateID == nil {
		id = sessionIDs.New()
	} else {
		var err error
		if id, err = s.options.GenerateID(r); err == nil && (id == "" || s.sessions.get(id) != nil) {
			err = errDuplicateID
		}
		if err != nil {
			return nil, refuseID(r, err)
		}
	}
	session := &Session{server: s, request: newRequest(id, r, s.frequent)}
	flags := uint32(flagBusy) // until it has a handler
	if p.protocol == 3 {
		flags |= flagV3
	}
	session.flags.Store(flags)
	if s.options.Value != nil {
		session.extra.Store(&extra{value: s.options.Value(r)})
	}
	return session, nil
}

// openPolling opens a session and responds with its open packet.
func (s *Server) openPolling(w http.ResponseWriter, r *http.Request, p *params) {
	if s.closing.Load() {
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	session, e := s.newSession(r, p)
	if e != nil {
		s.refuse(w, e, false)
		return
	}
	conn := polling.New(s.polling, (*pollingHandler)(session), polling.Params{
		V3: p.protocol == 3, Base64: p.base64, JSONP: p.jsonp, Index: p.index,
	})
	session.polling = &pollingState{conn: conn}
	if !session.open() {
		s.refuse(w, refuseID(r, errDuplicateID), false)
		return
	}
	if s.options.Cookie != nil {
		w.Header().Add("Set-Cookie", s.options.Cookie.header(session.ID()))
	}
	conn.Handshake(w, r, `{"sid":`+quoteJSON(session.ID())+s.openTailPolling, s.options.InitialPacket)
}

// serveUpgrade serves a WebSocket handshake. If session is nil, it opens a session.
func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request, p *params, session *Session) {
	opens := session == nil && p.transport == WebSocket
	if opens {
		var e *ConnectionError
		if session, e = s.newSession(r, p); e != nil {
			s.refuse(w, e, true)
			return
		}
	}
	header := w.Header()
	if s.options.OnInitialHeaders != nil && p.sid == "" {
		s.options.OnInitialHeaders(header, r)
	}
	if s.options.OnHeaders != nil {
		s.options.OnHeaders(header, r)
	}
	conn, err := s.sockets.Upgrade(w, r, header, p.format())
	if err != nil {
		return // the response has been sent
	}
	switch {
	case p.transport != WebSocket:
		conn.Close(transport.CloseNone)
	case opens:
		s.openWebSocket(r, session, conn)
	default:
		session.probe(conn)
	}
}

// openWebSocket opens a session on conn.
func (s *Server) openWebSocket(r *http.Request, session *Session, conn *epoll.Conn) {
	session.conn = conn
	session.flags.Or(flagWebSocket)
	err := conn.SendText(`0{"sid":` + quoteJSON(session.ID()) + s.openTail)
	if err == nil && s.options.InitialPacket != nil {
		err = conn.Send(s.options.InitialPacket)
	}
	if err != nil {
		conn.Abort()
		return
	}
	if !session.open() {
		conn.Close(transport.CloseNone)
		if !s.closing.Load() {
			s.figures.refused.Add(1)
			if s.options.OnConnectionError != nil {
				s.options.OnConnectionError(refuseID(r, errDuplicateID))
			}
		}
		return
	}
	conn.Start((*webSocketHandler)(session))
}

// refuseID returns the refusal of a request for which no session id could be generated.
func refuseID(r *http.Request, err error) *ConnectionError {
	e := refusal(r, CodeBadRequest, map[string]any{"name": "ID_GENERATION_ERROR", "error": err})
	e.Err = err
	return e
}
