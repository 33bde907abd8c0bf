package socketio

import (
	"strings"
	"testing"

	"github.com/myriad-rt/myriad/socketio/parser"
)

func TestSplitNamespace(t *testing.T) {
	for _, test := range []struct{ name, path, auth string }{
		{"/", "/", ""},
		{"/chat", "/chat", ""},
		{"/chat?token=x%20y&b=1&b=2", "/chat", `{"b":"2","token":"x y"}`},
		{"/chat?", "/chat", `{}`},
		{"/a/../b/./c", "/b/c", `{}`},
		{"/é ü", "/%C3%A9%20%C3%BC", `{}`},
	} {
		path, data, err := splitNamespace(test.name, &parser.Packet{Type: parser.Connect})
		if err != nil || path != test.path || string(data) != test.auth {
			t.Errorf("%q: got %q %s, %v; want %q %s", test.name, path, data, err, test.path, test.auth)
		}
	}
	if _, _, err := splitNamespace("/%zz", new(parser.Packet)); err == nil {
		t.Error("what is no URL is accepted")
	}
}

// FuzzSplitNamespace reads names as a client of Socket.IO v2 may send them.
func FuzzSplitNamespace(f *testing.F) {
	for _, name := range []string{"/", "/a?b=c", "/%zz", "/..//..", "/?%", "/\x00", "/a?\xff=&=", "/@:80/[", "//x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !strings.HasPrefix(name, "/") {
			return // rejected by the parser
		}
		path, data, err := splitNamespace(name, &parser.Packet{Type: parser.Connect})
		if err == nil && !strings.HasPrefix(path, "/") {
			t.Errorf("%q: path %q", name, path)
		}
		if err == nil && data != nil && !parser.Valid(data) {
			t.Errorf("%q: auth %q", name, data)
		}
	})
}
