package coding

import "testing"

func TestNegotiate(t *testing.T) {
	tests := map[string]string{
		"":                                "",
		"gzip":                            "gzip",
		"deflate":                         "deflate",
		"gzip, deflate, br":               "gzip",
		"deflate, gzip":                   "deflate",
		"DEFLATE":                         "deflate",
		"br":                              "",
		"identity":                        "",
		"x-gzip":                          "",
		"*":                               "gzip",
		"gzip;q=0":                        "",
		"gzip;q=0, *":                     "deflate",
		"gzip;q=0.5, deflate;q=0.8":       "deflate",
		"gzip;q=0.5, deflate; q=0.5":      "gzip",
		"gzip;q=0.3, *;q=0.7":             "deflate",
		"*;q=0":                           "",
		"gzip;q=oops":                     "",
		"gzip;q=2":                        "",
		"gzip;level=9;q=0.1, deflate":     "deflate",
		"identity;q=1, gzip;q=0.5, *;q=0": "gzip",
		",,;,gzip":                        "gzip",
	}
	for accept, want := range tests {
		if got := Negotiate(accept, "gzip", "deflate"); got != want {
			t.Errorf("Negotiate(%q) = %q, want %q", accept, got, want)
		}
	}
}

func TestOrderOfOffer(t *testing.T) {
	for accept, want := range map[string]string{
		"*":                   "br",
		"br;q=0, *":           "gzip",
		"gzip;q=0.2, *;q=0.3": "br",
		"gzip;q=0.3, *;q=0.2": "gzip",
		"gzip, deflate, br":   "gzip",
	} {
		if got := Negotiate(accept, "br", "gzip", "deflate"); got != want {
			t.Errorf("Negotiate(%q) = %q, want %q", accept, got, want)
		}
	}
}
