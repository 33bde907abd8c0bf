//go:build unix

package postgres_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/postgres"
	"github.com/myriad-rt/myriad/internal/testing/pgtest"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// wire is a connection that listens to a node and sends recorded messages of Node.js.
type wire struct {
	*pgx.Conn
	node *adaptertest.Node
}

// newWire connects to a database with one node of "/".
func newWire(t *testing.T) *wire {
	server := pgtest.Start(t)
	pool := open(t, server.URL, nil)
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	w := &wire{Conn: conn, node: adaptertest.NewNode("/")}
	w.exec(t, `LISTEN "socket.io#/"`)
	w.node.Adapter = postgres.New(pool, &postgres.Options{ClusterOptions: adapter.ClusterOptions{
		Heartbeat: &adapter.HeartbeatOptions{Interval: time.Hour, Timeout: time.Hour},
		Logger:    slog.New(slog.DiscardHandler),
	}})(w.node)
	t.Cleanup(func() { _ = w.node.Adapter.Close(context.Background()) })
	w.expect(t, `{"type":1,"uid":"SELF","nsp":"/"}`)
	return w
}

func (w *wire) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

var rooms = regexp.MustCompile(`"rooms":\["[^]]*"\]`)

// sortRooms sorts rooms, whose order is random.
func sortRooms(text string) string {
	return rooms.ReplaceAllStringFunc(text, func(list string) string {
		names := strings.Split(strings.TrimSuffix(strings.TrimPrefix(list, `"rooms":[`), "]"), ",")
		slices.Sort(names)
		return `"rooms":[` + strings.Join(names, ",") + "]"
	})
}

var requestIDs = regexp.MustCompile(`"requestId":"[0-9a-f]{16}"`)

// expect waits for the node's next notification. In want, SELF stands for the node's uid and NEW for a new request id. expect
// returns the attachment, if any.
func (w *wire) expect(t *testing.T, want string) (attachment []byte) {
	t.Helper()
	self := w.node.Stats().UID
	ctx, cancel := context.WithTimeout(t.Context(), adaptertest.Patience)
	defer cancel()
	for {
		n, err := w.WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("instead of %s: %v", want, err)
		}
		if !strings.Contains(n.Payload, self) {
			continue
		}
		got := sortRooms(strings.ReplaceAll(n.Payload, self, "SELF"))
		if strings.Contains(want, `"NEW"`) {
			got = requestIDs.ReplaceAllString(got, `"requestId":"NEW"`)
		}
		if got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		var ref struct{ AttachmentID string }
		if err := json.Unmarshal([]byte(n.Payload), &ref); err != nil {
			t.Fatal(err)
		}
		if ref.AttachmentID != "" {
			if err := w.QueryRow(ctx, "SELECT payload FROM socket_io_attachments WHERE id = "+ref.AttachmentID).Scan(&attachment); err != nil {
				t.Fatal(err)
			}
		}
		return attachment
	}
}

// TestWireOut repeats on a node the calls that produced the golden messages of Node.js, and expects the same messages.
func TestWireOut(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	a := w.node.Adapter
	packet := func(data string, attachments ...[]byte) *parser.Packet {
		return &parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(data), Attachments: attachments}
	}
	room := adapter.Options{Rooms: []string{"room1"}}
	attachments := 0
	for _, test := range []struct {
		name string
		do   func() error
		want string // hexadecimal: in the table
	}{
		{"emit to all", func() error { return a.Broadcast(packet(`["hello",1,"2",{"3":["4"]}]`), adapter.Options{}) },
			`{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"2",{"3":["4"]}]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"SELF","nsp":"/"}`},
		{"emit to a room", func() error {
			return a.Broadcast(packet(`["x"]`), adapter.Options{Rooms: []string{"room1"}, Except: []string{"r2"}, Flags: adapter.Flags{Volatile: true}})
		}, `{"type":3,"data":{"packet":{"type":2,"data":["x"]},"opts":{"rooms":["room1"],"except":["r2"],"flags":{"volatile":true}}},"uid":"SELF","nsp":"/"}`},
		{"binary", func() error {
			return a.Broadcast(packet(`["bin",{"_placeholder":true,"num":0}]`, []byte{1, 2, 3}), adapter.Options{})
		}, "84a47479706503a46461746182a67061636b657482a47479706502a46461746192a362696ec403010203a46f70747383a5726f6f6d7390a665786365707490a5666c61677380a3756964b0SELFa36e7370a12f"},
		{"join", func() error { return a.AddSockets(room, "ra", "rb") },
			`{"type":4,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"rooms":["ra","rb"]},"uid":"SELF","nsp":"/"}`},
		{"leave", func() error { return a.RemoveSockets(adapter.Options{}, "ra") },
			`{"type":5,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["ra"]},"uid":"SELF","nsp":"/"}`},
		{"disconnect", func() error { return a.DisconnectSockets(room, true) },
			`{"type":6,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"close":true},"uid":"SELF","nsp":"/"}`},
		{"server-side emit", func() error { return a.ServerSideEmit(parser.Args{Data: []byte(`["sse",1]`)}) },
			`{"type":9,"data":{"packet":["sse",1]},"uid":"SELF","nsp":"/"}`},
		{"server-side emit of binary", func() error {
			return a.ServerSideEmit(parser.Args{Data: []byte(`["sse",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}})
		}, "84a47479706509a46461746181a67061636b657492a3737365c40101a3756964b0SELFa36e7370a12f"},
	} {
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.want[0] == '{' {
			w.expect(t, test.want)
			continue
		}
		attachments++
		raw, err := hex.DecodeString(strings.Replace(test.want, "SELF", hex.EncodeToString([]byte(w.node.Stats().UID)), 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.expect(t, fmt.Sprintf(`{"uid":"SELF","type":%d,"attachmentId":"%d"}`, raw[6], attachments)); !bytes.Equal(got, raw) {
			t.Errorf("%s:\n got %x\nwant %x", test.name, got, raw)
		}
	}

	// Requests need a second node. It does not answer.
	w.say(t, golden{Channel: "socket.io#/", JSON: `{"type":2,"uid":"60d6ff6f985c21fb","nsp":"/"}`})
	awaitNodes(t, w.node, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for _, test := range []struct {
		name string
		do   func() error
		want string
	}{
		{"fetch", func() error { _, err := a.FetchSockets(ctx, room); return err },
			`{"type":7,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{}},"requestId":"NEW"},"uid":"SELF","nsp":"/"}`},
		{"server-side emit with answers", func() error {
			_, err := a.ServerSideEmitWithAck(ctx, parser.Args{Data: []byte(`["sse",1]`)})
			return err
		}, `{"type":9,"data":{"requestId":"NEW","packet":["sse",1]},"uid":"SELF","nsp":"/"}`},
		{"broadcast with acknowledgements", func() error {
			_, err := a.BroadcastWithAck(t.Context(), packet(`["ack","x"]`), adapter.Options{Flags: adapter.Flags{Timeout: 500 * time.Millisecond}})
			return err
		}, `{"type":3,"data":{"packet":{"type":2,"data":["ack","x"]},"requestId":"NEW","opts":{"rooms":[],"except":[],"flags":{"timeout":500}}},"uid":"SELF","nsp":"/"}`},
	} {
		if err := test.do(); !errors.Is(err, adapter.ErrTimeout) {
			t.Errorf("%s: %v", test.name, err)
		}
		w.expect(t, test.want)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.expect(t, `{"type":13,"uid":"SELF","nsp":"/"}`)
}

func awaitNodes(t *testing.T, n *adaptertest.Node, want int) {
	t.Helper()
	adaptertest.Eventually(t, func() string {
		if got, err := n.Adapter.ServerCount(t.Context()); got != want || err != nil {
			return fmt.Sprintf("ServerCount: %d, %v, want %d", got, err, want)
		}
		return ""
	})
}

// golden is a message of Node.js as in testdata.
type golden struct {
	ID, Channel, JSON, Attachment string
}

// say sends a recorded message of a Node.js node.
func (w *wire) say(t *testing.T, g golden) {
	t.Helper()
	payload := g.JSON
	if g.Attachment != "" {
		b := adaptertest.Unhex(t, g.Attachment)
		var id string
		if err := w.QueryRow(t.Context(), "INSERT INTO socket_io_attachments (payload) VALUES ($1) RETURNING id::text", b).Scan(&id); err != nil {
			t.Fatal(err)
		}
		payload = regexp.MustCompile(`"attachmentId":"\d+"`).ReplaceAllString(payload, `"attachmentId":"`+id+`"`)
	}
	w.exec(t, "SELECT pg_notify($1, $2)", g.Channel, payload)
}

// TestWireIn sends the golden messages to a node.
func TestWireIn(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	all := make(map[string][]golden) // by ID
	for _, g := range adaptertest.ReadGolden[golden](t, "testdata/postgres.jsonl") {
		all[g.ID] = append(all[g.ID], g)
	}
	s := w.node.Connect("s", "room1")
	s.Reply = func() parser.Args { return parser.Args{Data: []byte(`["pong-s","more"]`)} }
	say := func(id string) golden {
		t.Helper()
		if len(all[id]) == 0 {
			t.Fatalf("no golden message %q", id)
		}
		w.say(t, all[id][0])
		return all[id][0]
	}
	for _, test := range []struct {
		id    string
		frame string
	}{
		{"emit-all", `2["hello",1,"2",{"3":["4"]}]`},
		{"emit-room", `2["x"]`},
		{"emit-binary", `51-["bin",{"_placeholder":true,"num":0}]`},
		{"emit-undefined-binary", `51-["ub",{"_placeholder":true,"num":0},null,{"a":null}]`},
		{"emitter-emit", `2["fromEmitter",1]`},
		{"emitter-emit-binary", `51-["bin",{"_placeholder":true,"num":0}]`},
	} {
		say(test.id)
		adaptertest.Eventually(t, func() string {
			got := s.Take()
			if len(got) > 0 && (len(got) > 1 || got[0] != test.frame) {
				t.Fatalf("%s: got %q, want %s", test.id, got, test.frame)
			}
			if len(got) == 0 {
				return test.id + " does not arrive"
			}
			return ""
		})
	}
	inRooms := func(want ...string) {
		t.Helper()
		adaptertest.Eventually(t, func() string {
			if got := s.InRooms(); !slices.Equal(got, want) {
				return fmt.Sprintf("rooms %q, want %q", got, want)
			}
			return ""
		})
	}
	say("sockets-join")
	inRooms("ra", "rb", "room1", "s")
	say("sockets-leave")
	inRooms("rb", "room1", "s")
	say("emitter-join")
	inRooms("r9", "rb", "room1", "s")
	say("emitter-leave")
	inRooms("rb", "room1", "s")
	say("emitter-disconnect") // selects an empty room

	requestID := func(g golden) string { return requestIDs.FindString(g.JSON) }
	id := requestID(say("broadcast-with-ack"))
	w.expect(t, `{"type":11,"data":{`+id+`,"clientCount":1},"uid":"SELF","nsp":"/"}`)
	w.expect(t, `{"type":12,"data":{`+id+`,"packet":"pong-s"},"uid":"SELF","nsp":"/"}`)
	id = requestID(say("broadcast-with-ack-binary-response")) // for a socket that is not here
	w.expect(t, `{"type":11,"data":{`+id+`,"clientCount":0},"uid":"SELF","nsp":"/"}`)
	id = requestID(say("fetch-sockets"))
	w.expect(t, `{"type":8,"data":{`+id+`,"sockets":[{"id":"s","handshake":{},"rooms":["rb","room1","s"],"data":{"of":"s"}}]},"uid":"SELF","nsp":"/"}`)

	id = requestID(say("server-side-emit-ack"))
	w.expect(t, `{"type":10,"data":{`+id+`,"packet":"sse"},"uid":"SELF","nsp":"/"}`)
	say("server-side-emit")
	say("server-side-emit-binary")
	say("emitter-sse")
	want := []string{`["sse",1]`, `["sse",1]`, `["sse",{"_placeholder":true,"num":0}]`, `["sse",1]`}
	adaptertest.Eventually(t, func() string {
		if got := w.node.Emits(); !slices.Equal(got, want) {
			return fmt.Sprintf("server-side events %q, want %q", got, want)
		}
		return ""
	})

	// Two other nodes are known. One leaves, and the other starts.
	w.say(t, golden{Channel: "socket.io#/", JSON: `{"type":2,"uid":"60d6ff6f985c21fb","nsp":"/"}`})
	awaitNodes(t, w.node, 3)
	w.say(t, all["close-B"][1])
	awaitNodes(t, w.node, 2)
	w.say(t, all["start-B"][0])
	w.expect(t, `{"type":2,"uid":"SELF","nsp":"/"}`)
	awaitNodes(t, w.node, 3)
	say("disconnect-sockets")
	adaptertest.Eventually(t, func() string {
		if s.Reachable() {
			return "the socket is not disconnected"
		}
		return ""
	})
	if stats := w.node.Stats(); stats.Malformed > 0 {
		t.Errorf("%+v", stats)
	}
}

// TestAnswersForOthers sends references to answers that are missing in the table. The node must fetch them only while it
// waits for an answer.
func TestAnswersForOthers(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	answer := golden{Channel: "socket.io#/", JSON: `{"uid":"60d6ff6f985c21fb","type":8,"attachmentId":"77"}`}
	w.say(t, answer)
	awaitNodes(t, w.node, 2) // its sender is known nevertheless
	if stats := w.node.Stats(); stats.Malformed > 0 || stats.Received != 1 {
		t.Errorf("%+v", stats)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.node.Adapter.FetchSockets(ctx, adapter.Options{})
		done <- err
	}()
	w.expect(t, `{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"NEW"},"uid":"SELF","nsp":"/"}`)
	w.say(t, answer)
	adaptertest.Eventually(t, func() string {
		if stats := w.node.Stats(); stats.Malformed != 1 {
			return fmt.Sprintf("the attachment is not asked for: %+v", stats)
		}
		return ""
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("fetching: %v", err)
	}
}
