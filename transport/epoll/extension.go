package epoll

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// extensionName is the only extension that is known, RFC 7692 section 7.
const extensionName = "permessage-deflate"

// parameter of permessage-deflate, RFC 7692 section 7.1. They are in the order in which those that the
// client has not mentioned stand in the answer.
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

// extension is an offer of permessage-deflate, or the answer to it.
type extension struct {
	order []parameter // that are present
	value [parameters]int
}

// set adds a parameter behind the others, or changes the one that is there.
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

// windowBits returns the value of p, or the one that its absence stands for.
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

// negotiate returns the answer to what a client offers, nil if it does not offer permessage-deflate. A
// list of extensions that is malformed is refused as in the reference, and so are offers of which none
// can be accepted.
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

// acceptable reports whether an offer agrees with the options.
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

// accept makes an acceptable offer the answer to it.
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

// parseOffers returns the offers of permessage-deflate in the value of a Sec-WebSocket-Extensions header.
// ok is false if the value is malformed or such an offer has a parameter that is unknown, repeated or has
// a wrong value.
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

// add adds a parameter of an offer. It returns false if that is not possible.
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

// scanner reads the value of a header. What it returns once bad is set means nothing.
type scanner struct {
	rest string
	bad  bool
}

// skipTo skips the separator c and the white space around it, and reports whether it was there.
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

// quoted reads the rest of a quoted string, which has to be a token once the escapes are taken away.
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
