package redisstreams_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/adapter/redisstreams"
	"github.com/myriad-rt/myriad/internal/testing/redistest"
)

func TestEmitter(t *testing.T) {
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
			t.Cleanup(func() { client.Close() })
			node := func() adapter.Factory { return redisstreams.New(client, &o) }
			adaptertest.RunEmitter(t, node, redisstreams.NewEmitter(client, &o))
		})
	}
}

func TestEmitterWithoutRedis(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second, DialerRetries: 1, MaxRetries: -1})
	defer client.Close()
	if err := redisstreams.NewEmitter(client, nil).Emit("x"); err == nil {
		t.Error("no error")
	}
}

// TestNodeEmitter adds entries recorded from @socket.io/redis-streams-emitter to the stream, call by call.
func TestNodeEmitter(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Addr})
	t.Cleanup(func() { client.Close() })
	open := redisstreams.New(client, nil)
	connect := func(namespace, id string, rooms ...string) (*adaptertest.Node, *adaptertest.Socket) {
		n := adaptertest.NewNode(namespace)
		n.Adapter = open(n)
		t.Cleanup(func() { _ = n.Adapter.Close(context.Background()) })
		return n, n.Connect(id, rooms...)
	}
	node, one := connect("/", "one", "room1")
	two := node.Connect("two", "room2", "room3")
	_, custom := connect("/custom", "custom", "r")
	calls := emitterCalls(t)
	add := func(call string) {
		t.Helper()
		fields, ok := calls[call]
		if !ok {
			t.Fatalf("no call %s", call)
		}
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "socket.io", Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// await waits until the sockets are in the wanted state.
	await := func(what, want string, state func() string) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if got = state(); got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: got %s, want %s", what, got, want)
			}
		}
	}
	await("the first entry", "true", func() string {
		add("emit")
		time.Sleep(5 * time.Millisecond)
		return fmt.Sprint(len(one.Take()) > 0)
	})
	received := map[*adaptertest.Socket][]string{}
	texts := func() string {
		var all []string
		for _, s := range []*adaptertest.Socket{one, two, custom} {
			for _, text := range s.Take() {
				if !strings.Contains(text, "hello") {
					received[s] = append(received[s], text)
				}
			}
			all = append(all, strings.Join(received[s], " "))
		}
		return strings.Join(all, "|")
	}
	for _, step := range []struct{ call, one, two, custom string }{
		{"emit-room", `2["x"]`, "", ""},
		{"emit-rooms-except", `2["x"]`, "", ""},
		{"emit-binary", `51-["bin",{"_placeholder":true,"num":0}]`, `51-["bin",{"_placeholder":true,"num":0}]`, ""},
		{"emit-nsp", "", "", `2/custom,["x"]`},
		{"emit-undefined", `2["u",null,{}]`, `2["u",null,{}]`, ""},
	} {
		clear(received)
		add(step.call)
		await(step.call, step.one+"|"+step.two+"|"+step.custom, texts)
	}
	rooms := func() string { return fmt.Sprint(one.InRooms(), two.InRooms(), custom.InRooms()) }
	add("join")
	await("join", "[one r1 room1] [r1 room2 room3 two] [custom r]", rooms)
	add("join-room")
	await("join-room", "[one r1 r2 room1] [r1 room2 room3 two] [custom r]", rooms)
	add("leave")
	await("leave", "[one r2 room1] [r1 room2 room3 two] [custom r]", rooms)
	add("server-side-emit")
	await("server-side-emit", `["sse",1,{"a":2}]`, func() string { return strings.Join(node.Emits(), " ") })
	connected := func() string { return fmt.Sprint(one.Reachable(), two.Reachable(), custom.Reachable()) }
	add("disconnect-close")
	await("disconnect-close", "false true true", connected)
	add("disconnect")
	await("disconnect", "false false true", connected)
	if s := node.Stats(); s.Malformed > 0 {
		t.Errorf("%+v", s)
	}
	if count, err := node.Adapter.ServerCount(t.Context()); count != 1 || err != nil {
		t.Errorf("%d nodes, %v: emitters are none", count, err)
	}
}

// emitterCalls returns the fields of the recorded entries of an emitter, by the name of the call.
func emitterCalls(t *testing.T) map[string][]string {
	calls := make(map[string][]string)
	for _, call := range adaptertest.ReadGolden[struct {
		ID     string
		Fields []string
	}](t, "testdata/emitter.jsonl") {
		calls[call.ID] = call.Fields
	}
	return calls
}
