package socketio

import (
	"net/url"
	"strings"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// Clients of Socket.IO v1 and v2 differ from later ones in that they are in the namespace "/" without asking
// for it, and in that they give parameters for others as a query behind the name. See also [Socket.connectData] and
// [Socket.refuse].

// joinImplicitly makes a socket in "/" for a client that has just opened its session.
func (c *client) joinImplicitly() {
	c.join(c.server.root, nil)
	c.schedule()
}

// splitNamespace takes the namespace of a packet apart as the reference does, which reads it as a URL. For a
// CONNECT packet it returns the query as the payload that later clients send.
func splitNamespace(name string, p *parser.Packet) (path string, data []byte, err error) {
	if plainPath(name) {
		return name, p.Data, nil
	}
	u, err := url.Parse("http://localhost" + name)
	if err != nil {
		return "", nil, err
	}
	path = u.JoinPath().EscapedPath()
	if p.Type != parser.Connect {
		return path, p.Data, nil
	}
	query := make(map[string]string)
	for key, values := range u.Query() {
		query[key] = values[len(values)-1]
	}
	if data, _, err = parser.AppendArgs(nil, nil, query); err != nil {
		return "", nil, err
	}
	return path, data[1 : len(data)-1], nil // out of the list of arguments
}

// plainPath reports whether name reads the same as a URL.
func plainPath(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-_~!$&*+=:@", c) >= 0) {
			return false
		}
	}
	return true
}
