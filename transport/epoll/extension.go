package epoll

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// extensionName is the only supported extension, RFC 7692 section 7.
const extensionName = "permessage-deflate"

// parameter is a parameter of permessage-deflate, RFC 7692 section 7.1. Parameters that the client
// has not mentioned appear in the response in this order.
type parameter uint8

const (
	serverNoContextTakeover parameter = iota
	clientNoContextTakeover
	serverMaxWindowBits
	clientMaxWindowBits

	parameters = iota
)

var parameterNames = [parameters]string{
	"server_no_context_takeover",
	"client_no_context_takeover",
	"server_max_window_bits",
	"client_max_window_bits",
}

const (
	minWindowBits = 8
	maxWindowBits = 15

	// stated is the value of a parameter without a value.
	stated = 1
)

// extension is an offer of permessage-deflate or the response to it.
type extension struct {
	order []parameter // present parameters
	value [parameters]int
}

// set appends a parameter or changes its value.
func (e *extension) set(p parameter, value int) {
	if e.value[p] == 0 {
		e.order = append(e.order, p)
	}
	e.value[p] = value
}

func (e *extension) remove(p parameter) {
	e.value[p] = 0
	e.order = slices.DeleteFunc(e.order, func(other parameter) bool { return other == p })
}

// windowBits returns the value of p, or its default if p is absent.
func (e *extension) windowBits(p parameter) int {
	if e.value[p] < minWindowBits {
		return maxWindowBits
	}
	return e.value[p]
}

// append appends the text of e.
func (e *extension) append(dst []byte) []byte {
	dst = append(dst, extensionName...)
	for _, p := range e.order {
		dst = append(append(dst, "; "...), parameterNames[p]...)
		if e.value[p] != stated {
			dst = strconv.AppendInt(append(dst, '='), int64(e.value[p]), 10)
		}
	}
	return dst
}

// negotiate returns the response to the client's offers, or nil if it does not offer permessage-deflate. As in the
// reference, it refuses a malformed list of extensions, and offers none of which is acceptable.
func (o *PerMessageDeflate) negotiate(r *http.Request) (*extension, *HandshakeError) {
	if len(r.Header["Sec-Websocket-Extensions"]) == 0 {
		return nil, nil
	}
	offers, ok := parseOffers(headerValue(r, "Sec-Websocket-Extensions"))
	if ok && len(offers) == 0 {
		return nil, nil
	}
	if ok {
		for i := range offers {
			if e := &offers[i]; o.acceptable(e) {
				o.accept(e)
				return e, nil
			}
		}
	}
	return nil, &HandshakeError{http.StatusBadRequest, "Invalid or unacceptable Sec-WebSocket-Extensions header"}
}

// acceptable reports whether an offer is compatible with the options.
func (o *PerMessageDeflate) acceptable(e *extension) bool {
	if o.DisableServerNoContextTakeover && e.value[serverNoContextTakeover] != 0 {
		return false
	}
	if bits := e.value[serverMaxWindowBits]; bits != 0 && (o.ServerMaxWindowBits < 0 || o.ServerMaxWindowBits > bits) {
		return false
	}
	if o.ClientMaxWindowBits > 0 {
		bits := e.value[clientMaxWindowBits]
		return bits == stated || bits != 0 && bits >= o.ClientMaxWindowBits
	}
	return true
}

// accept turns an acceptable offer into the response.
func (o *PerMessageDeflate) accept(e *extension) {
	if o.ServerNoContextTakeover {
		e.set(serverNoContextTakeover, stated)
	}
	if o.ClientNoContextTakeover {
		e.set(clientNoContextTakeover, stated)
	}
	if o.ServerMaxWindowBits > 0 {
		e.set(serverMaxWindowBits, o.ServerMaxWindowBits)
	}
	switch {
	case o.ClientMaxWindowBits > 0:
		e.set(clientMaxWindowBits, o.ClientMaxWindowBits)
	case o.ClientMaxWindowBits < 0, e.value[clientMaxWindowBits] == stated:
		e.remove(clientMaxWindowBits)
	}
}

// parseOffers returns the offers of permessage-deflate in a Sec-WebSocket-Extensions header. ok is false if the
// header is malformed, or if such an offer has an unknown, repeated or invalid parameter.
//
// RFC 6455 section 9.1, RFC 7692 section 7.1.
func parseOffers(header string) (offers []extension, ok bool) {
	s := scanner{rest: header}
	for {
		known := s.token() == extensionName
		var e extension
		for s.skipTo(';') {
			name, value, hasValue := s.parameter()
			if known && !s.bad && !e.add(name, value, hasValue) {
				s.bad = true
			}
		}
		if known {
			offers = append(offers, e)
		}
		if !s.skipTo(',') {
			return offers, !s.bad && s.rest == ""
		}
	}
}

// add adds a parameter to an offer. It returns false if the parameter is unknown, repeated or invalid.
func (e *extension) add(name, value string, hasValue bool) bool {
	p := parameter(slices.Index(parameterNames[:], name))
	if p >= parameters || e.value[p] != 0 {
		return false
	}
	bits := stated
	switch {
	case hasValue:
		var err error
		bits, err = strconv.Atoi(value)
		if err != nil || bits < minWindowBits || bits > maxWindowBits || p < serverMaxWindowBits {
			return false
		}
	case p == serverMaxWindowBits:
		return false
	}
	e.set(p, bits)
	return true
}

// scanner reads the value of a header. Its results are meaningless once bad is set.
type scanner struct {
	rest string
	bad  bool
}

// skipTo skips the separator c and surrounding white space, and reports whether c was present.
func (s *scanner) skipTo(c byte) bool {
	rest := strings.TrimLeft(s.rest, " \t")
	if s.bad || rest == "" || rest[0] != c {
		return false
	}
	s.rest = strings.TrimLeft(rest[1:], " \t")
	return true
}

// token reads a token, RFC 9110 section 5.6.2.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	s.bad = s.bad || n == 0
	return token
}

// parameter reads a token with or without a value.
func (s *scanner) parameter() (name, value string, hasValue bool) {
	name = s.token()
	if rest, ok := strings.CutPrefix(s.rest, `="`); ok {
		s.rest = rest
		return name, s.quoted(), true
	}
	if rest, ok := strings.CutPrefix(s.rest, "="); ok {
		s.rest = rest
		return name, s.token(), true
	}
	return name, "", false
}

// quoted reads the rest of a quoted string. Without its escapes it must be a token.
func (s *scanner) quoted() string {
	var value []byte
	for i := 0; i < len(s.rest); i++ {
		b := s.rest[i]
		if b == '"' && len(value) > 0 {
			s.rest = s.rest[i+1:]
			return string(value)
		}
		if b == '\\' && i+1 < len(s.rest) {
			i++
			b = s.rest[i]
		}
		if !isTokenByte(b) {
			break
		}
		value = append(value, b)
	}
	s.bad = true
	return ""
}
