package adaptertest

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// Golden is a message published by a Node.js server or emitter: either JSON text or bytes in hexadecimal.
type Golden struct {
	ID, Channel, JSON, Hex string
}

// Payload returns the bytes of the message.
func (g *Golden) Payload(t testing.TB) []byte {
	t.Helper()
	if g.Hex == "" {
		return []byte(g.JSON)
	}
	return Unhex(t, g.Hex)
}

// Unhex decodes hexadecimal text. It fails the test if text is invalid.
func Unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ReadGolden decodes each line of files as the JSON of one G. It fails the test if a file is empty.
func ReadGolden[G any](t testing.TB, files ...string) (all []G) {
	t.Helper()
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		before := len(all)
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var g G
			if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, g)
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(all) == before {
			t.Fatalf("%s is empty", name)
		}
	}
	return all
}
