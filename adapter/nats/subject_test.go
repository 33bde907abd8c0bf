package nats

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/adapter"
)

func TestToken(t *testing.T) {
	long := strings.Repeat("x", maxToken)
	for name, want := range map[string]string{
		"": "%", "room-1_A": "room-1_A", "a.b": "a%2Eb", "*": "%2A", ">": "%3E", " \t\r\n": "%20%09%0D%0A",
		"%": "%25", "~": "%7E", "é": "%C3%A9", "\xff\x00": "%FF%00", long: long,
		long + "x":                  "~",
		strings.Repeat(".", 100000): "",
	} {
		got := token(name)
		if want == "" || strings.HasPrefix(want, "~") {
			if len(got) != 65 || got[0] != '~' || !validPrefix(got) {
				t.Errorf("%.20q: got %q, want a hash", name, got)
			}
			continue
		}
		if got != want || !validPrefix(got) {
			t.Errorf("%.20q: got %q, want %q", name, got, want)
		}
	}
	if token(long+"x") == token(long+"y") {
		t.Error("two names, one token")
	}
}

func TestSubjects(t *testing.T) {
	id := strings.Repeat("i", 20)
	one := adapter.Options{Rooms: []string{"a.b"}}
	for _, test := range []struct {
		namespace string
		mode      adapter.SubscriptionMode
		m         adapter.Message
		want      string
	}{
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcast}, "p.%.all"},
		{"/chat", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcast, Options: one}, "p.chat.room.a%2Eb"},
		{"/a/b", adapter.Dynamic, adapter.Message{Type: adapter.MessageSocketsJoin, Options: one}, "p.a%2Fb.room.a%2Eb"},
		{"/", adapter.Static, adapter.Message{Type: adapter.MessageBroadcast, Options: one}, "p.%.all"},
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcast, RequestID: "r", Options: one}, "p.%.all"},
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcast, Options: adapter.Options{Rooms: []string{"a", "b"}}}, "p.%.all"},
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcast, Options: adapter.Options{Rooms: []string{id}}}, "p.%.all"},
		{"/", adapter.DynamicPrivate, adapter.Message{Type: adapter.MessageBroadcast, Options: adapter.Options{Rooms: []string{id}}}, "p.%.room." + id},
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcastAck, RequestID: "r", To: "uid"}, "p.%.node.uid"},
		// A forged request can direct answers only to the subject of a node.
		{"/", adapter.Dynamic, adapter.Message{Type: adapter.MessageBroadcastAck, RequestID: "r", To: "a.>"}, "p.%.node.a%2E%3E"},
	} {
		if got := newSubjects("p", test.namespace, test.mode).of(&test.m); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.m, got, test.want)
		}
	}
}

func TestInvalidOptions(t *testing.T) {
	for _, o := range []Options{
		{Prefix: "."}, {Prefix: "a..b"}, {Prefix: "a.*"}, {Prefix: ">"}, {Prefix: "a b"}, {Prefix: "a\n"},
		{Prefix: strings.Repeat("x", 300)}, {SubscriptionMode: "other"},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v is accepted", o)
				}
			}()
			New(nil, &o)
		}()
	}
}
