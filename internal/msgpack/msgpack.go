// Package msgpack reads and writes MessagePack, one value at a time. It does not interpret extensions: the dialects
// of the JavaScript libraries differ there.
//
// A [Reader] is safe for hostile input: it never allocates, never reads outside its data, and reports a container
// only if the remaining data could hold that many elements.
package msgpack

import (
	"encoding/binary"
	"errors"
	"math"
)

// Kind is the kind of a value.
type Kind uint8

const (
	Nil Kind = iota
	Bool
	Uint // a non-negative integer, of either family
	Int  // a negative integer
	Float
	String
	Binary
	Array
	Map
	Ext
)

// Token is a value, or the head of an array or map whose elements follow.
type Token struct {
	Kind  Kind
	Ext   int8    // type of an Ext
	Bool  bool    // value of a Bool
	Fixed bool    // the Ext uses a form with a fixed length of 1, 2, 4, 8 or 16 bytes
	Uint  uint64  // value of a Uint
	Int   int64   // value of an Int
	Float float64 // value of a Float
	Bytes []byte  // content of a String, Binary or Ext; a part of the data
	Len   int     // number of elements of an Array, or of pairs of a Map
}

var (
	// ErrTruncated reports a value that is longer than the data.
	ErrTruncated = errors.New("msgpack: data ends inside a value")
	// ErrInvalid reports the byte that starts no value.
	ErrInvalid = errors.New("msgpack: invalid type byte")
	// ErrDepth reports values nested too deeply.
	ErrDepth = errors.New("msgpack: nested too deep")
)

// Reader reads the values in a byte slice. After an error its position does not change.
type Reader struct {
	data []byte
	pos  int
}

// NewReader returns a Reader for data, which must not change during reading.
func NewReader(data []byte) Reader { return Reader{data: data} }

// Pos returns the index of the next byte.
func (r *Reader) Pos() int { return r.pos }

// Seek sets the position to pos, which must be an earlier result of Pos.
func (r *Reader) Seek(pos int) { r.pos = pos }

// Rest returns the number of unread bytes.
func (r *Reader) Rest() int { return len(r.data) - r.pos }

// Next reads one value, or the head of an array or map.
func (r *Reader) Next() (t Token, err error) {
	start := r.pos
	t, err = r.next()
	if err == nil && (t.Kind == Array && t.Len > r.Rest() || t.Kind == Map && t.Len > r.Rest()/2) {
		err = ErrTruncated
	}
	if err != nil {
		r.pos = start
		return Token{}, err
	}
	return t, nil
}

func (r *Reader) next() (t Token, err error) {
	if r.Rest() == 0 {
		return t, ErrTruncated
	}
	c := r.data[r.pos]
	r.pos++
	switch {
	case c < 0x80:
		return Token{Kind: Uint, Uint: uint64(c)}, nil
	case c < 0x90:
		return Token{Kind: Map, Len: int(c & 0x0f)}, nil
	case c < 0xa0:
		return Token{Kind: Array, Len: int(c & 0x0f)}, nil
	case c < 0xc0:
		return r.bytes(String, uint64(c&0x1f))
	case c >= 0xe0:
		return Token{Kind: Int, Int: int64(int8(c))}, nil
	}
	switch c {
	case 0xc0:
		return Token{Kind: Nil}, nil
	case 0xc2, 0xc3:
		return Token{Kind: Bool, Bool: c == 0xc3}, nil
	case 0xc4, 0xc5, 0xc6:
		n, err := r.uint(1 << (c - 0xc4))
		if err != nil {
			return t, err
		}
		return r.bytes(Binary, n)
	case 0xc7, 0xc8, 0xc9:
		n, err := r.uint(1 << (c - 0xc7))
		if err != nil {
			return t, err
		}
		return r.ext(n, false)
	case 0xca, 0xcb:
		n, err := r.uint(4 << (c - 0xca))
		f := math.Float64frombits(n)
		if c == 0xca {
			f = float64(math.Float32frombits(uint32(n)))
		}
		return Token{Kind: Float, Float: f}, err
	case 0xcc, 0xcd, 0xce, 0xcf:
		n, err := r.uint(1 << (c - 0xcc))
		return Token{Kind: Uint, Uint: n}, err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		size := 1 << (c - 0xd0)
		n, err := r.uint(size)
		shift := 64 - 8*size
		if i := int64(n<<shift) >> shift; i < 0 {
			return Token{Kind: Int, Int: i}, err
		}
		return Token{Kind: Uint, Uint: n}, err
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return r.ext(1<<(c-0xd4), true)
	case 0xd9, 0xda, 0xdb:
		n, err := r.uint(1 << (c - 0xd9))
		if err != nil {
			return t, err
		}
		return r.bytes(String, n)
	case 0xdc, 0xdd:
		n, err := r.uint(2 << (c - 0xdc))
		return Token{Kind: Array, Len: length(n)}, err
	case 0xde, 0xdf:
		n, err := r.uint(2 << (c - 0xde))
		return Token{Kind: Map, Len: length(n)}, err
	}
	return t, ErrInvalid
}

// length converts a number of elements. Where int has 32 bits, a number that is too large remains too large.
func length(n uint64) int { return int(min(n, math.MaxInt32)) }

func (r *Reader) uint(size int) (n uint64, err error) {
	if r.Rest() < size {
		return 0, ErrTruncated
	}
	for _, c := range r.data[r.pos : r.pos+size] {
		n = n<<8 | uint64(c)
	}
	r.pos += size
	return n, nil
}

func (r *Reader) bytes(kind Kind, n uint64) (t Token, err error) {
	if uint64(r.Rest()) < n {
		return t, ErrTruncated
	}
	start := r.pos
	r.pos += int(n)
	return Token{Kind: kind, Bytes: r.data[start:r.pos:r.pos]}, nil
}

func (r *Reader) ext(n uint64, fixed bool) (t Token, err error) {
	kind, err := r.uint(1)
	if err != nil {
		return t, err
	}
	t, err = r.bytes(Ext, n)
	t.Ext = int8(kind)
	t.Fixed = fixed
	return t, err
}

// Skip reads one value with all its elements, nested no deeper than maxDepth. It does not recurse.
func (r *Reader) Skip(maxDepth int) error {
	start := r.pos
	// left counts the unread values on each level but the outermost.
	var few [16]int
	left := few[:0]
	for {
		t, err := r.Next()
		if err != nil {
			r.pos = start
			return err
		}
		n := t.Len
		if t.Kind == Map {
			n *= 2
		}
		if t.Kind == Array || t.Kind == Map {
			if len(left) >= maxDepth {
				r.pos = start
				return ErrDepth
			}
			left = append(left, n)
		} else if len(left) > 0 {
			left[len(left)-1]--
		}
		for len(left) > 0 && left[len(left)-1] == 0 {
			if left = left[:len(left)-1]; len(left) > 0 {
				left[len(left)-1]--
			}
		}
		if len(left) == 0 {
			return nil
		}
	}
}

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return append(dst, 0xc0) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

// AppendUint appends an integer in its shortest form.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}

// AppendInt appends an integer in its shortest form, of the unsigned family unless it is negative.
func AppendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(dst, uint64(v))
	case v >= -0x20:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, 0xd0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
}

// AppendFloat appends a float 64.
func AppendFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(v))
}

// AppendStringHead appends the head of a string of n bytes. The caller appends the bytes.
func AppendStringHead(dst []byte, n int) []byte {
	if n < 0x20 {
		return append(dst, 0xa0|byte(n))
	}
	return appendLen(dst, 0xd9, n)
}

// AppendString appends a string.
func AppendString(dst []byte, s string) []byte {
	return append(AppendStringHead(dst, len(s)), s...)
}

// AppendBinary appends binary data.
func AppendBinary(dst, b []byte) []byte {
	return append(appendLen(dst, 0xc4, len(b)), b...)
}

// AppendArrayHead appends the head of an array of n elements.
func AppendArrayHead(dst []byte, n int) []byte { return appendHead(dst, 0x90, 0xdc, n) }

// AppendMapHead appends the head of a map of n pairs.
func AppendMapHead(dst []byte, n int) []byte { return appendHead(dst, 0x80, 0xde, n) }

// AppendExt appends an extension, in a form with a fixed length if possible.
func AppendExt(dst []byte, kind int8, b []byte) []byte {
	switch len(b) {
	case 1:
		dst = append(dst, 0xd4)
	case 2:
		dst = append(dst, 0xd5)
	case 4:
		dst = append(dst, 0xd6)
	case 8:
		dst = append(dst, 0xd7)
	case 16:
		dst = append(dst, 0xd8)
	default:
		dst = appendLen(dst, 0xc7, len(b))
	}
	return append(append(dst, byte(kind)), b...)
}

// appendLen appends one of three consecutive types, with a length of 8, 16 or 32 bits.
func appendLen(dst []byte, kind byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, kind, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, kind+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, kind+2), uint32(n))
}

func appendHead(dst []byte, fixed, kind byte, n int) []byte {
	switch {
	case n < 0x10:
		return append(dst, fixed|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, kind), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, kind+1), uint32(n))
}
