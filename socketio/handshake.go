package socketio

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"
)

// Handshake describes how a socket connected: the first HTTP request of its client, and the payload of its CONNECT
// packet. The request is parsed on each call.
type Handshake struct {
	// Request is the first HTTP request of the session.
	*Request
	// Auth is the payload of the CONNECT packet: an object, which is empty if the client sent none.
	Auth Value
	// Time is when the socket was created.
	Time time.Time
}

// HandshakeDetails is the form in which nodes of a cluster exchange handshakes. It has the fields of socket.handshake
// in Node.js.
type HandshakeDetails struct {
	Headers map[string]string `json:"headers"`
	Time    string            `json:"time"`    // as JavaScript prints a Date
	Address string            `json:"address"` // the peer's IP address
	XDomain bool              `json:"xdomain"` // an Origin header was there
	Secure  bool              `json:"secure"`
	Issued  int64             `json:"issued"` // milliseconds since 1970
	URL     string            `json:"url"`
	Query   map[string]string `json:"query"`
	Auth    json.RawMessage   `json:"auth"`
}

// Details returns the handshake in the form that nodes exchange.
func (h *Handshake) Details() HandshakeDetails {
	header := h.Header()
	host, _, err := net.SplitHostPort(h.RemoteAddr())
	if err != nil {
		host = h.RemoteAddr()
	}
	return HandshakeDetails{
		Headers: flattenHeader(h.Host(), header),
		Time:    h.Time.Format("Mon Jan 02 2006 15:04:05 GMT-0700 (MST)"),
		Address: host,
		XDomain: header.Get("Origin") != "",
		Secure:  h.Secure(),
		Issued:  h.Time.UnixMilli(),
		URL:     h.URL(),
		Query:   h.Query(),
		Auth:    json.RawMessage(h.Auth.String()),
	}
}

func flattenHeader(host string, header http.Header) map[string]string {
	flat := make(map[string]string, len(header)+1)
	flat["host"] = host
	for name, values := range header {
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		flat[strings.ToLower(name)] = strings.Join(values, separator)
	}
	return flat
}
