package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// compressDirectly returns b compressed with references that reach as far back as DEFLATE allows.
func compressDirectly(b []byte, level int) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, level)
	w.Write(b)
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xFF, 0xFF})
}

func TestInflate(t *testing.T) {
	noise := make([]byte, 100_000)
	r := rand.NewChaCha8([32]byte{})
	r.Read(noise)
	for _, data := range [][]byte{nil, []byte("a"), jsonData(), bitmapData(), noise, bytes.Repeat([]byte("abc"), 100_000)} {
		for level := flate.HuffmanOnly; level <= 9; level++ {
			f := inflater{limit: maxDistance}
			for range 2 {
				got, err := f.inflate(compressDirectly(data, level))
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%d bytes at level %d: %d bytes, %v", len(data), level, len(got), err)
				}
			}
		}
	}
}

// TestInflateJudgesDistances uses a message that refers to bytes 600 positions earlier.
func TestInflateJudgesDistances(t *testing.T) {
	noise := make([]byte, 600)
	rand.NewChaCha8([32]byte{}).Read(noise)
	far := compressDirectly(append(noise, noise...), 9)
	for limit, want := range map[int]error{512: errDistance, 1024: nil} {
		f := inflater{limit: limit}
		if _, err := f.inflate(far); err != want {
			t.Errorf("window of %d bytes: %v, want %v", limit, err, want)
		}
	}
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 9)
	for i, want := range []error{nil, errDistance} {
		out.Reset()
		w.Write(noise)
		w.Flush()
		f := inflater{limit: maxDistance, forgets: true}
		if _, err := f.inflate(bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xFF, 0xFF})); err != want {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(compressDirectly([]byte("hello hello hello hello"), 9))
	f.Add(compressDirectly(jsonData()[:2000], 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := inflater{limit: maxDistance}
		_, _ = s.inflate(b) // must return
	})
}

func TestAnswersOffer(t *testing.T) {
	const plain, limited = plainOffer, plainOffer + "; server_max_window_bits=10"
	for _, c := range []struct {
		answer, offer string
		fits          bool
	}{
		{"permessage-deflate", plain, true},
		{"permessage-deflate; server_no_context_takeover", plain, true},
		{"permessage-deflate; client_no_context_takeover; server_max_window_bits=9", limited, true},
		{"permessage-deflate; server_max_window_bits=11", limited, false},
		{"permessage-deflate", limited, false},
		{"permessage-deflate; client_max_window_bits=15", "permessage-deflate", false},
		{"permessage-deflate; server_max_window_bits=7", plain, false},
		{"permessage-deflate; unknown", plain, false},
	} {
		_, answer := parseExtension(c.answer)
		_, offer := parseExtension(c.offer)
		if answersOffer(answer, offer) != c.fits {
			t.Errorf("%q for %q: fits %v", c.answer, c.offer, !c.fits)
		}
	}
}

// TestCasesFail runs cases against a server that echoes every frame, unmasked.
func TestCasesFail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go mirror(conn)
		}
	}()
	patience = 3 * time.Second
	results := runAll(groups(1)[1:7], []*target{{name: "mirror", addr: l.Addr().String()}})
	failed := func(id string) bool { return results[key{id, "mirror"}].failed != "" }
	// It answers a ping with a ping and echoes invalid text. Its answer to a close frame is correct.
	for _, id := range []string{"2.1", "2.5", "3.1", "3.2", "4.1.1", "4.2.5", "5.1", "5.6", "5.9", "5.15", "5.19", "6.3.1", "6.4.1", "6.20.7", "7.3.2", "7.5.1", "7.9.1"} {
		if !failed(id) {
			t.Errorf("case %s has not failed", id)
		}
	}
	for _, id := range []string{"5.3", "6.2.1", "7.7.1"} {
		if failed(id) {
			t.Errorf("case %s has failed", id)
		}
	}
}

// mirror answers a handshake and then sends every frame back.
func mirror(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	if _, err := http.ReadRequest(r); err != nil {
		return
	}
	_, _ = conn.Write([]byte(strings.Join([]string{
		"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "", "",
	}, "\r\n")))
	for {
		var head [6]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		payload := make([]byte, head[1]&0x7F)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= head[2+i&3]
		}
		_, _ = conn.Write(append([]byte{head[0], byte(len(payload))}, payload...))
		if head[0]&0x0F == closing {
			return
		}
	}
}
