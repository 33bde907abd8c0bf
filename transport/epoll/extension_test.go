package epoll

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

// TestNegotiation compares negotiate with ws 8.21, the WebSocket library of the reference, for the same offers and
// options. In testdata the answer "" is a handshake without the extension, and "400" a refusal.
func TestNegotiation(t *testing.T) {
	text, err := os.ReadFile("testdata/negotiation.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Options map[string]any
		Answers map[string]string
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		o := optionsOf(t, c.Options)
		for offer, want := range c.Answers {
			got := ""
			e, refusal := o.negotiate(&http.Request{Header: http.Header{"Sec-Websocket-Extensions": {offer}}})
			switch {
			case refusal != nil:
				got = "400"
			case e != nil:
				got = string(e.append(nil))
			}
			if got != want {
				t.Errorf("options %v: offer %q is answered %q, want %q", c.Options, offer, got, want)
			}
		}
	}
}

// optionsOf converts options of the reference.
func optionsOf(t *testing.T, from map[string]any) *PerMessageDeflate {
	o := new(PerMessageDeflate)
	bits := func(v any) int {
		if n, ok := v.(float64); ok {
			return int(n)
		}
		return -1 // false
	}
	for name, v := range from {
		switch name {
		case "serverNoContextTakeover":
			o.ServerNoContextTakeover, o.DisableServerNoContextTakeover = v == true, v == false
		case "clientNoContextTakeover":
			o.ClientNoContextTakeover = v == true
		case "serverMaxWindowBits":
			o.ServerMaxWindowBits = bits(v)
		case "clientMaxWindowBits":
			o.ClientMaxWindowBits = bits(v)
		default:
			t.Fatalf("unknown option %q", name)
		}
	}
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestNegotiationWithoutOrWithSeveralHeaders(t *testing.T) {
	o := optionsOf(t, nil)
	if e, refusal := o.negotiate(&http.Request{}); e != nil || refusal != nil {
		t.Errorf("no header: %v, %v", e, refusal)
	}
	e, refusal := o.negotiate(&http.Request{Header: http.Header{"Sec-Websocket-Extensions": {"other", "permessage-deflate; client_no_context_takeover"}}})
	if refusal != nil || e == nil || string(e.append(nil)) != "permessage-deflate; client_no_context_takeover" {
		t.Errorf("two headers: %v, %v", e, refusal)
	}
}

func TestPerMessageDeflateOptions(t *testing.T) {
	for _, test := range []struct {
		options PerMessageDeflate
		ok      bool
	}{
		{PerMessageDeflate{}, true},
		{PerMessageDeflate{Level: 9, ServerMaxWindowBits: 8, ClientMaxWindowBits: 15, Threshold: -1}, true},
		{PerMessageDeflate{ServerMaxWindowBits: -1, ClientMaxWindowBits: -1}, true},
		{PerMessageDeflate{Level: 10}, false},
		{PerMessageDeflate{Level: -1}, false},
		{PerMessageDeflate{ServerMaxWindowBits: 7}, false},
		{PerMessageDeflate{ClientMaxWindowBits: 16}, false},
	} {
		if _, err := test.options.withDefaults(); (err == nil) != test.ok {
			t.Errorf("%+v: %v", test.options, err)
		}
	}
}

func FuzzParseOffers(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate; client_max_window_bits", `a; b="c\d", permessage-deflate;server_max_window_bits=10`,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover, permessage-deflate", ",", "a;", "a;b=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		offers, ok := parseOffers(header)
		if !ok {
			return
		}
		for i := range offers {
			text := string(offers[i].append(nil))
			if again, ok := parseOffers(text); !ok || len(again) != 1 || again[0].value != offers[i].value {
				t.Errorf("%q: %q is read as %v", header, text, again)
			}
		}
	})
}
