package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// client speaks the protocol by long-polling: packets are lines of text that a test can spell out.
type client struct {
	t       *testing.T
	url     string
	packets []string // that have come and have not been asked for
}

func connect(t *testing.T, h *httptest.Server) *client {
	t.Helper()
	c := &client{t: t, url: h.URL + "/socket.io/?EIO=4&transport=polling"}
	_, after, _ := strings.Cut(c.next(), `"sid":"`) // the open packet
	sid, _, _ := strings.Cut(after, `"`)
	c.url += "&sid=" + sid
	c.send("40")
	if p := c.next(); !strings.HasPrefix(p, "40{") {
		t.Fatalf("answer to CONNECT = %s", p)
	}
	return c
}

// send sends a packet: "4" for a message, then type, acknowledgement id and arguments.
func (c *client) send(packet string) { c.request(http.MethodPost, packet) }

// next returns the next packet of the server.
func (c *client) next() string {
	c.t.Helper()
	if len(c.packets) == 0 {
		c.packets = strings.Split(c.request(http.MethodGet, ""), "\x1e")
	}
	p := c.packets[0]
	c.packets = c.packets[1:]
	return p
}

func (c *client) want(packet string) {
	c.t.Helper()
	if got := c.next(); got != packet {
		c.t.Errorf("got %s, want %s", got, packet)
	}
}

func (c *client) request(method, body string) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s %s %v", method, res.Status, text, err)
	}
	return string(text)
}

func start(t *testing.T) (first, second *client) {
	server := newServer()
	h := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close() // sessions first: a poll that waits would keep the listener open
		h.Close()
	})
	return connect(t, h), connect(t, h)
}

func TestItemIsAcknowledgedToldAndKept(t *testing.T) {
	client, other := start(t)
	client.send(`420["add","milk"]`)
	client.want(`430[{"id":1}]`)
	other.want(`42["added",{"id":1,"title":"milk"}]`)
	other.send(`427["list"]`)
	other.want(`437[[{"id":1,"title":"milk"}]]`)
}

func TestItemNeedsTitle(t *testing.T) {
	client, _ := start(t)
	for _, title := range []string{`""`, `5`, `null`} {
		client.send(`420["add",` + title + `]`)
		client.want(`430[{"error":"a title is needed"}]`)
	}
	client.send(`421["list"]`)
	client.want(`431[[]]`)
}
