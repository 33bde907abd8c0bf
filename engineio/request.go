package engineio

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/myriad-rt/myriad/internal/form"
	"github.com/myriad-rt/myriad/internal/ident"
)

// Request is the head of the HTTP request that opened a session. It is immutable. It is stored as two strings and parsed
// on demand, so each call of a method that returns a map costs time and memory.
//
// The requests of similar clients differ in a few lines only. Lines that many clients send are stored once.
type Request struct {
	own    string                // prelude, parts
	shared unique.Handle[string] // parts
}

// prelude holds the parts that differ in every request. It is encoded as a byte of flags, five bytes for the time, then
// id, address and key; those whose size is not implied by a flag are preceded by it as a varint. The prelude of a
// typical client takes 48 bytes, a size class of the allocator.
type prelude struct {
	flags   byte
	id      string // of the session
	address string // of the peer: as text, or IP and port as bytes
	key     string // the 16 decoded bytes of Sec-WebSocket-Key
}

const (
	hasPlainID = 1 << iota // of ident.Size bytes
	hasIPv4
	hasIPv6
	hasKey
	hasTLS
)

const issuedSize = 5 // bytes, for milliseconds

// issuedSince is the origin of the time in a prelude, which lasts for 34 years.
var issuedSince = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newPrelude takes the address and, if it is valid, the key from r.
func newPrelude(id string, r *http.Request) (p prelude) {
	p.id, p.address = id, r.RemoteAddr
	if len(id) == ident.Size {
		p.flags |= hasPlainID
	}
	if peer, err := netip.ParseAddrPort(p.address); err == nil && peer.String() == p.address && peer.Addr().Zone() == "" {
		p.flags |= hasIPv6
		if peer.Addr().Is4() {
			p.flags ^= hasIPv6 | hasIPv4
		}
		p.address = string(binary.BigEndian.AppendUint16(peer.Addr().AsSlice(), peer.Port()))
	}
	if values := r.Header[keyName]; len(values) == 1 && len(values[0]) == 24 {
		var key [18]byte
		if n, err := strictBase64.Decode(key[:], []byte(values[0])); err == nil && n == 16 {
			p.flags |= hasKey
			p.key = string(key[:n])
		}
	}
	if r.TLS != nil {
		p.flags |= hasTLS
	}
	return p
}

func (p *prelude) append(dst []byte, issued time.Time) []byte {
	dst = append(dst, p.flags)
	for ms, i := issued.Sub(issuedSince).Milliseconds(), issuedSize-1; i >= 0; i-- {
		dst = append(dst, byte(ms>>(8*i)))
	}
	if p.flags&hasPlainID == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(p.id)))
	}
	dst = append(dst, p.id...)
	if p.flags&(hasIPv4|hasIPv6) == 0 {
		dst = binary.AppendUvarint(dst, uint64(len(p.address)))
	}
	return append(append(dst, p.address...), p.key...)
}

// prelude returns the prelude of r and the parts that follow.
func (r *Request) prelude() (p prelude, parts string) {
	p.flags, parts = r.own[0], r.own[1+issuedSize:]
	size := ident.Size
	if p.flags&hasPlainID == 0 {
		size, parts = cutSize(parts)
	}
	p.id, parts = parts[:size], parts[size:]
	switch {
	case p.flags&hasIPv4 != 0:
		size = 4 + 2
	case p.flags&hasIPv6 != 0:
		size = 16 + 2
	default:
		size, parts = cutSize(parts)
	}
	p.address, parts = parts[:size], parts[size:]
	if p.flags&hasKey != 0 {
		p.key, parts = parts[:16], parts[16:]
	}
	return p, parts
}

// cutSize returns the varint at the beginning of s, and the rest.
func cutSize(s string) (size int, rest string) {
	v, n := binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen64)]))
	return int(v), s[n:]
}

// A part of a request is a byte with its kind, the length of its value as a varint, and the value.
const (
	partTarget = 't'
	partHost   = 'h'
	partField  = 'f' // of the header: name, colon, value
)

func appendPart(dst []byte, kind byte, value ...string) []byte {
	size := 0
	for _, v := range value {
		size += len(v)
	}
	dst = binary.AppendUvarint(append(dst, kind), uint64(size))
	for _, v := range value {
		dst = append(dst, v...)
	}
	return dst
}

// cutPart returns the first part and the remaining ones.
func cutPart(parts string) (kind byte, value, rest string) {
	size, rest := cutSize(parts[1:])
	return parts[0], rest[:size], rest[size:]
}

const keyName = "Sec-Websocket-Key"

// strictBase64 accepts only the canonical encoding.
var strictBase64 = base64.StdEncoding.Strict()

// newRequest returns the head of r for a session with this id. known decides which parts are shared.
func newRequest(id string, r *http.Request, known *frequent) Request {
	const own, shared = 0, 1
	var space [2][512]byte
	parts := [2][]byte{space[own][:0], space[shared][:0]}
	p := newPrelude(id, r)
	parts[own] = p.append(parts[own], time.Now())
	place := func(name string, values ...string) int {
		if known.add(name, values...) {
			return shared
		}
		return own
	}
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI()
	}
	i := place(":target", target)
	parts[i] = appendPart(parts[i], partTarget, target)
	i = place(":host", r.Host)
	parts[i] = appendPart(parts[i], partHost, r.Host)

	// The same fields must produce the same string.
	var nameSpace [32]string
	names := nameSpace[:0]
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := r.Header[name]
		if name == keyName && p.flags&hasKey != 0 {
			continue
		}
		i := place(name, values...)
		for _, value := range values {
			parts[i] = appendPart(parts[i], partField, name, ":", value)
		}
	}
	return Request{own: string(parts[own]), shared: unique.Make(string(parts[shared]))}
}

// parts calls yield for each part until it returns false. The values of a field keep their order.
func (r *Request) parts(yield func(kind byte, value string) bool) {
	_, own := r.prelude()
	for _, rest := range [...]string{own, r.shared.Value()} {
		for rest != "" {
			var kind byte
			var value string
			if kind, value, rest = cutPart(rest); !yield(kind, value) {
				return
			}
		}
	}
}

// part returns the first part of a kind, or "".
func (r *Request) part(kind byte) string {
	for k, v := range r.parts {
		if k == kind {
			return v
		}
	}
	return ""
}

func (r *Request) id() string {
	if r.own[0]&hasPlainID != 0 {
		return r.own[1+issuedSize:][:ident.Size]
	}
	p, _ := r.prelude()
	return p.id
}

// RemoteAddr returns the IP address and port of the peer, in the form of [http.Request.RemoteAddr].
func (r *Request) RemoteAddr() string {
	p, _ := r.prelude()
	if p.flags&(hasIPv4|hasIPv6) == 0 {
		return p.address
	}
	ip := len(p.address) - 2
	addr, _ := netip.AddrFromSlice([]byte(p.address[:ip])) // its size is right
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16([]byte(p.address[ip:]))).String()
}

// URL returns the request target as sent by the client: path and query.
func (r *Request) URL() string { return r.part(partTarget) }

// Host returns the value of the Host header field.
func (r *Request) Host() string { return r.part(partHost) }

// Query returns the decoded query parameters. If a name occurs several times, the last value counts.
func (r *Request) Query() map[string]string {
	values := make(map[string]string)
	target, _, _ := strings.Cut(r.URL(), "#")
	_, query, _ := strings.Cut(target, "?")
	for name, value := range form.Pairs(query) {
		values[form.Decode(name)] = form.Decode(value)
	}
	return values
}

// Header returns the header fields, except Host.
func (r *Request) Header() http.Header {
	h := make(http.Header)
	for kind, value := range r.parts {
		if kind == partField {
			name, value, _ := strings.Cut(value, ":")
			h[name] = append(h[name], value)
		}
	}
	if p, _ := r.prelude(); p.key != "" {
		h[keyName] = []string{base64.StdEncoding.EncodeToString([]byte(p.key))}
	}
	return h
}

// Secure reports whether the request came over TLS.
func (r *Request) Secure() bool { return r.own[0]&hasTLS != 0 }

// Issued returns the time at which the session was opened, to the millisecond.
func (r *Request) Issued() time.Time {
	var ms int64
	for _, b := range []byte(r.own[1 : 1+issuedSize]) {
		ms = ms<<8 | int64(b)
	}
	return issuedSince.Add(time.Duration(ms) * time.Millisecond)
}

// HTTP returns a new http.Request with the method, target, header, host and remote address of the original. Its TLS
// field is an empty ConnectionState if the original came over TLS. It has no body, and its context is
// context.Background().
func (r *Request) HTTP() *http.Request {
	request := (&http.Request{
		Method:     http.MethodGet,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     r.Header(),
		Body:       http.NoBody,
		Host:       r.Host(),
		RemoteAddr: r.RemoteAddr(),
		RequestURI: r.URL(),
	}).WithContext(context.Background())
	var err error
	if request.URL, err = url.ParseRequestURI(r.URL()); err != nil {
		request.URL = &url.URL{Path: r.URL()}
	}
	if r.Secure() {
		request.TLS = new(tls.ConnectionState)
	}
	return request
}
