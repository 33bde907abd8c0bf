package form

import (
	"net/url"
	"testing"

	"github.com/myriad-rt/myriad/engineio/packet"
)

func TestValue(t *testing.T) {
	tests := []struct {
		in, key, want string
		ok            bool
	}{
		{"a=1&b=2", "b", "2", true},
		{"a=1&a=2", "a", "2", true},
		{"a", "a", "", true},
		{"a=b=c", "a", "b=c", true},
		{"&&a=%41+b", "a", "A b", true},
		{"%61=1", "a", "1", true},
		{"a=%", "a", "%", true},
		{"a=%4", "a", "%4", true},
		{"a=%zz%2f", "a", "%zz/", true},
		{"a=%ff", "a", "\uFFFD", true},
		{"b=1", "a", "", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		if got, ok := Value(tt.in, tt.key); got != tt.want || ok != tt.ok {
			t.Errorf("Value(%q, %q) = %q, %v", tt.in, tt.key, got, ok)
		}
	}
}

func FuzzForm(f *testing.F) {
	for _, seed := range []string{"d=4hello", "d=%34%0a", `d=\n\\n`, "%64=+", "d=%e2%82"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Value(s, "d")
		if values, err := url.ParseQuery(s); err == nil && ok {
			all := values["d"]
			if want := string(packet.Sanitize([]byte(all[len(all)-1]))); got != want {
				t.Errorf("Value(%q) = %q, want %q", s, got, want)
			}
		}
	})
}
