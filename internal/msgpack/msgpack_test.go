package msgpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name string
		got  []byte
		want string // in hexadecimal digits; the start of it
	}{
		{"nil", AppendNil(nil), "c0"},
		{"true", AppendBool(nil, true), "c3"},
		{"false", AppendBool(nil, false), "c2"},
		{"0", AppendInt(nil, 0), "00"},
		{"127", AppendInt(nil, 127), "7f"},
		{"128", AppendInt(nil, 128), "cc80"},
		{"256", AppendInt(nil, 256), "cd0100"},
		{"65536", AppendInt(nil, 65536), "ce00010000"},
		{"2^32", AppendInt(nil, 1<<32), "cf0000000100000000"},
		{"max", AppendUint(nil, math.MaxUint64), "cfffffffffffffffff"},
		{"-1", AppendInt(nil, -1), "ff"},
		{"-32", AppendInt(nil, -32), "e0"},
		{"-33", AppendInt(nil, -33), "d0df"},
		{"-129", AppendInt(nil, -129), "d1ff7f"},
		{"-32769", AppendInt(nil, -32769), "d2ffff7fff"},
		{"-2^31-1", AppendInt(nil, math.MinInt32-1), "d3ffffffff7fffffff"},
		{"1.5", AppendFloat(nil, 1.5), "cb3ff8000000000000"},
		{"a", AppendString(nil, "a"), "a161"},
		{"32 bytes", AppendString(nil, long[:32]), "d92078"},
		{"256 bytes", AppendString(nil, long), "da010078"},
		{"65536 bytes", AppendString(nil, strings.Repeat(long, 256)), "db0001000078"},
		{"binary", AppendBinary(nil, []byte{1, 2}), "c4020102"},
		{"array", AppendArrayHead(nil, 15), "9f"},
		{"array 16", AppendArrayHead(nil, 16), "dc0010"},
		{"array 32", AppendArrayHead(nil, 65536), "dd00010000"},
		{"map", AppendMapHead(nil, 15), "8f"},
		{"map 16", AppendMapHead(nil, 16), "de0010"},
		{"map 32", AppendMapHead(nil, 65536), "df00010000"},
		{"ext 1", AppendExt(nil, 0, []byte{0}), "d40000"},
		{"ext 2", AppendExt(nil, -1, []byte{0, 1}), "d5ff0001"},
		{"ext 4", AppendExt(nil, -1, make([]byte, 4)), "d6ff00000000"},
		{"ext 8", AppendExt(nil, 0, make([]byte, 8)), "d7000000000000000000"},
		{"ext 16", AppendExt(nil, 1, make([]byte, 16)), "d80100"},
		{"ext", AppendExt(nil, 5, make([]byte, 3)), "c70305000000"},
	} {
		if got := hex.EncodeToString(c.got); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.40s, want %s", c.name, got, c.want)
		}
		r := NewReader(c.got)
		_, err := r.Next()
		if strings.HasPrefix(c.name, "array") || strings.HasPrefix(c.name, "map") {
			if !errors.Is(err, ErrTruncated) || r.Pos() != 0 {
				t.Errorf("%s: head without elements: %v", c.name, err)
			}
			continue
		}
		if err != nil || r.Rest() != 0 {
			t.Errorf("%s: reading it back: %v, %d bytes left", c.name, err, r.Rest())
		}
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want Token
	}{
		{"c0", Token{Kind: Nil}},
		{"c3", Token{Kind: Bool, Bool: true}},
		{"7f", Token{Kind: Uint, Uint: 127}},
		{"e0", Token{Kind: Int, Int: -32}},
		{"cc80", Token{Kind: Uint, Uint: 128}},
		{"cfffffffffffffffff", Token{Kind: Uint, Uint: math.MaxUint64}},
		{"d080", Token{Kind: Int, Int: -128}},
		{"d07f", Token{Kind: Uint, Uint: 127}},
		{"d1ff7f", Token{Kind: Int, Int: -129}},
		{"d2ffff7fff", Token{Kind: Int, Int: -32769}},
		{"d38000000000000000", Token{Kind: Int, Int: math.MinInt64}},
		{"ca3fc00000", Token{Kind: Float, Float: 1.5}},
		{"cb3ff8000000000000", Token{Kind: Float, Float: 1.5}},
		{"a161", Token{Kind: String, Bytes: []byte("a")}},
		{"db0000000161", Token{Kind: String, Bytes: []byte("a")}},
		{"c4020102", Token{Kind: Binary, Bytes: []byte{1, 2}}},
		{"c50001ff", Token{Kind: Binary, Bytes: []byte{255}}},
		{"92c0c0", Token{Kind: Array, Len: 2}},
		{"dc0001c0", Token{Kind: Array, Len: 1}},
		{"81c0c0", Token{Kind: Map, Len: 1}},
		{"d40000", Token{Kind: Ext, Bytes: []byte{0}, Fixed: true}},
		{"c702000506", Token{Kind: Ext, Bytes: []byte{5, 6}}},
		{"d6ff00000001", Token{Kind: Ext, Ext: -1, Bytes: []byte{0, 0, 0, 1}, Fixed: true}},
	} {
		data, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(data)
		got, err := r.Next()
		if err != nil || got.Kind != c.want.Kind || got.Ext != c.want.Ext || got.Bool != c.want.Bool ||
			got.Fixed != c.want.Fixed || got.Uint != c.want.Uint || got.Int != c.want.Int ||
			got.Float != c.want.Float || got.Len != c.want.Len || !bytes.Equal(got.Bytes, c.want.Bytes) {
			t.Errorf("%s: %+v, %v, want %+v", c.hex, got, err, c.want)
		}
		for n := range len(data) {
			r := NewReader(data[:n])
			if _, err := r.Next(); err == nil {
				t.Errorf("%s: no error for the first %d bytes", c.hex, n)
			}
			if r.Pos() != 0 {
				t.Errorf("%s: reader moved by an error", c.hex)
			}
		}
	}
	r := NewReader([]byte{0xc1})
	if _, err := r.Next(); !errors.Is(err, ErrInvalid) {
		t.Errorf("c1: %v", err)
	}
	for _, bomb := range []string{"dd7fffffff", "ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "c9ffffffff00"} {
		data, _ := hex.DecodeString(bomb)
		r := NewReader(data)
		if _, err := r.Next(); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: %v", bomb, err)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, c := range []struct {
		hex   string
		depth int
		rest  int
		err   error
	}{
		{hex: "00"},
		{hex: "90", depth: 1},
		{hex: "90", rest: 1, err: ErrDepth},
		{hex: "9191c0", depth: 2},
		{hex: "9191c0", depth: 1, rest: 3, err: ErrDepth},
		{hex: "82a16193010203a1628080", depth: 2, rest: 1},
		{hex: "93010203", depth: 1},
		{hex: "930102", depth: 1, rest: 3, err: ErrTruncated},
		{hex: "81a1", depth: 2, rest: 2, err: ErrTruncated},
	} {
		data, _ := hex.DecodeString(c.hex)
		r := NewReader(data)
		if err := r.Skip(c.depth); !errors.Is(err, c.err) || r.Rest() != c.rest {
			t.Errorf("%s: %v with %d bytes left, want %v with %d", c.hex, err, r.Rest(), c.err, c.rest)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"c0", "82a16193010203a16280", "dd7fffffff", "9191919191c0", "d7000000018bcfe5687b"} {
		data, _ := hex.DecodeString(s)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(data)
		for r.Rest() > 0 {
			before := r.Pos()
			if err := r.Skip(50); err != nil {
				if r.Pos() != before {
					t.Fatal("reader moved by an error")
				}
				if _, err := r.Next(); err != nil {
					return
				}
			}
			if r.Pos() <= before || r.Pos() > len(data) {
				t.Fatalf("position %d after %d", r.Pos(), before)
			}
		}
	})
}
