package socketio_test

import (
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/myriad-rt/myriad/socketio"
)

// Caches can tell the codings of a client file apart, and a tag of one is not a tag of another.
func TestClientFilesInCaches(t *testing.T) {
	address := serve(t, newServer(t, &socketio.Options{
		CORS: &socketio.CORS{Origin: "http://b"},
		ClientFiles: fstest.MapFS{
			"socket.io.js":     {Data: []byte("/* Socket.IO v4.8.4 */")},
			"socket.io.min.js": {Data: []byte("without a version")},
		},
	}))
	get := func(name, coding, match string) *http.Response {
		t.Helper()
		r, err := http.NewRequest("GET", address+"/socket.io/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", coding)
		if match != "" {
			r.Header.Set("If-None-Match", match)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	const plain, packed = `"4.8.4"`, `"4.8.4-gzip"`
	for name, tt := range map[string]struct {
		coding, match string
		status        int
		etag          string
	}{
		"plain":                 {"identity", "", 200, plain},
		"packed":                {"gzip", "", 200, packed},
		"plain, known":          {"identity", plain, 304, plain},
		"packed, known":         {"gzip", packed, 304, packed},
		"packed, known weakly":  {"gzip", "W/" + packed, 304, packed},
		"packed, one of a list": {"gzip", `"4.8.3-gzip" , ` + packed, 304, packed},
		"packed, other known":   {"gzip", plain, 200, packed},
		"plain, other known":    {"identity", packed, 200, plain},
	} {
		t.Run(name, func(t *testing.T) {
			res := get("socket.io.js", tt.coding, tt.match)
			if res.StatusCode != tt.status || res.Header.Get("Etag") != tt.etag {
				t.Errorf("%s, %v", res.Status, res.Header)
			}
			if vary := res.Header.Values("Vary"); len(vary) != 2 || vary[0] != "Origin" || vary[1] != "Accept-Encoding" {
				t.Errorf("Vary: %q", vary)
			}
		})
	}
	if res := get("socket.io.min.js", "gzip", `""`); res.StatusCode != 200 || res.Header.Get("Etag") != "" {
		t.Errorf("without a version: %s, %v", res.Status, res.Header)
	}
	// As with the reference, names are compared as they are sent.
	if res := get("socket.io%2ejs", "gzip", ""); res.StatusCode != 400 {
		t.Errorf("an encoded name: %s", res.Status)
	}
}
