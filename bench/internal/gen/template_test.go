//go:build linux

package gen

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// readFrame parses a frame as a server does.
func readFrame(t *testing.T, b []byte) (ws.OpCode, string) {
	t.Helper()
	r := bytes.NewReader(b)
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	if !h.Fin || !h.Masked || r.Len() > 0 {
		t.Fatalf("not one masked frame: %+v", h)
	}
	ws.Cipher(payload, h.Mask, 0)
	return h.OpCode, string(payload)
}

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65_535, 65_536} {
		for _, isBinary := range []bool{false, true} {
			want := strings.Repeat("x", n)
			op, got := readFrame(t, AppendFrame(nil, []byte(want), isBinary))
			if got != want || (op == ws.OpBinary) != isBinary {
				t.Errorf("%d bytes: read %d bytes as %v", n, len(got), op)
			}
		}
	}
}

func TestTemplate(t *testing.T) {
	for _, padding := range []int{0, 1, 200, 70_000} {
		before := strings.Repeat("-", padding)
		frame := NewTemplate([]byte(before+"0000|bbbb"), true)
		frame.Digits(padding, 4, 123)
		frame.Uint32(padding+5, 0x61626364)
		if _, got := readFrame(t, frame.Bytes()); got != before+"0123|abcd" {
			t.Errorf("padding of %d: got %.20q", padding, got[padding:])
		}
		frame.Digits(padding, 4, 9876)
		if _, got := readFrame(t, frame.Bytes()); got != before+"9876|abcd" {
			t.Errorf("padding of %d, second time: got %.20q", padding, got[padding:])
		}
	}
	plain := []byte("a0000b")
	if Digits(plain, 1, 4, 42); string(plain) != "a0042b" {
		t.Errorf("got %q", plain)
	}
}
