package parser

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/myriad-rt/myriad/internal/jsontext"
	"github.com/myriad-rt/myriad/internal/msgpack"
)

// Translation between the JSON text with attachments that a packet carries and MessagePack.

// AppendMessagePack appends v to dst as MessagePack, with binary in place of placeholders, and null
// if v has no data. Integers have their shortest form, as in JavaScript whether they were written
// 1, 1.0 or 1e0.
func AppendMessagePack(dst []byte, v Value) []byte {
	if v.Data == nil {
		return msgpack.AppendNil(dst)
	}
	var few [32]int
	p := packer{Value: v, out: dst, counts: few[:0]}
	p.count()
	p.value(0)
	return p.out
}

// packer converts JSON into MessagePack.
type packer struct {
	Value
	out    []byte
	counts []int // numbers of elements of the arrays and objects whose heads have not been written, in their order
}

// count fills counts: a head comes before the elements, and counting them there would read the text
// once for each level.
func (p *packer) count() {
	var few [32]int
	open := few[:0] // indices in counts
	for i := 0; i < len(p.Data); {
		switch p.Data[i] {
		case '"':
			i = jsontext.SkipString(p.Data, i)
			continue
		case '[', '{':
			open = append(open, len(p.counts))
			n := 1
			if next := p.Data[jsontext.SkipSpace(p.Data, i+1)]; next == ']' || next == '}' {
				n = 0
			}
			p.counts = append(p.counts, n)
		case ']', '}':
			open = open[:len(open)-1]
		case ',':
			p.counts[open[len(open)-1]]++
		}
		i++
	}
}

// next takes the first of counts.
func (p *packer) next() (n int) {
	n, p.counts = p.counts[0], p.counts[1:]
	return n
}

// value appends the value at i and returns the index behind it. It recurses as deep as the text is nested.
func (p *packer) value(i int) (end int) {
	switch p.Data[i] {
	case '"':
		return p.string(i)
	case 't', 'f':
		p.out = msgpack.AppendBool(p.out, p.Data[i] == 't')
		return jsontext.SkipScalar(p.Data, i)
	case 'n':
		p.out = msgpack.AppendNil(p.out)
		return jsontext.SkipScalar(p.Data, i)
	case '[':
		return p.list(i)
	case '{':
		if num, end, ok := placeholderAt(p.Data, i, len(p.Attachments)); ok {
			p.next()
			p.out = msgpack.AppendBinary(p.out, p.Attachments[num])
			return end
		}
		return p.object(i)
	}
	end = jsontext.SkipScalar(p.Data, i)
	p.number(p.Data[i:end])
	return end
}

func (p *packer) string(i int) (end int) {
	content, end := jsontext.ReadString(p.Data, i)
	p.out = append(msgpack.AppendStringHead(p.out, len(content)), content...)
	return end
}

func (p *packer) number(text []byte) {
	if u, err := strconv.ParseUint(string(text), 10, 64); err == nil {
		p.out = msgpack.AppendUint(p.out, u)
		return
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		p.out = msgpack.AppendInt(p.out, n)
		return
	}
	f, _ := strconv.ParseFloat(string(text), 64) // too large a number is an infinity, as in JavaScript
	switch {
	case f != math.Trunc(f) || f >= 1<<64 || f < math.MinInt64:
		p.out = msgpack.AppendFloat(p.out, f)
	case f >= 0:
		p.out = msgpack.AppendUint(p.out, uint64(f))
	default:
		p.out = msgpack.AppendInt(p.out, int64(f))
	}
}

func (p *packer) list(i int) (end int) {
	p.out = msgpack.AppendArrayHead(p.out, p.next())
	for i = jsontext.SkipSpace(p.Data, i+1); p.Data[i] != ']'; {
		i = jsontext.Next(p.Data, p.value(i))
	}
	return i + 1
}

func (p *packer) object(i int) (end int) {
	p.out = msgpack.AppendMapHead(p.out, p.next())
	for i = jsontext.SkipSpace(p.Data, i+1); p.Data[i] != '}'; {
		i = jsontext.SkipSpace(p.Data, p.string(i)) + 1
		i = jsontext.Next(p.Data, p.value(jsontext.SkipSpace(p.Data, i)))
	}
	return i + 1
}

// AppendFromMessagePack appends the MessagePack value at the start of b to dst as JSON, with its
// binary values appended to attachments and placeholders in their place, numbered from
// len(attachments), and returns how many bytes of b it took. dates says that extension -1 is a
// date, as it is for the libraries that cluster adapters use; NewMessagePack tells how other values
// are converted. The attachments are copies. The error is a *SyntaxError; the other results are then zero.
func AppendFromMessagePack(dst []byte, attachments [][]byte, b []byte, dates bool) (text []byte, all [][]byte, n int, err error) {
	u := unpacker{Reader: msgpack.NewReader(b), out: dst, attachments: attachments, dates: dates}
	u.options = Options{MaxAttachments: math.MaxInt, MaxDepth: defaultMaxDepth}
	if err := u.value(0); err != nil {
		return nil, nil, 0, &SyntaxError{Reason: reasonUnreadable, Offset: u.Pos()}
	}
	return u.out, u.attachments, u.Pos(), nil
}

var undefined = msgpack.Token{Kind: msgpack.Ext, Fixed: true, Bytes: []byte{0}}

func isUndefined(t msgpack.Token) bool {
	return t.Kind == msgpack.Ext && t.Ext == 0 && t.Fixed && len(t.Bytes) == 1
}

var (
	errManyBinary = errors.New("too many binary values")
	errKey        = errors.New("value cannot be a key")
)

// unpacker converts MessagePack into JSON.
type unpacker struct {
	msgpack.Reader
	options     Options
	dates       bool
	out         []byte
	attachments [][]byte
}

func (u *unpacker) value(depth int) error {
	t, err := u.Next()
	if err != nil {
		return err
	}
	return u.token(t, depth)
}

// token appends the value that starts with t, inside depth others.
func (u *unpacker) token(t msgpack.Token, depth int) error {
	switch t.Kind {
	case msgpack.Nil:
		u.out = append(u.out, "null"...)
	case msgpack.Bool:
		u.out = strconv.AppendBool(u.out, t.Bool)
	case msgpack.Uint:
		u.out = strconv.AppendUint(u.out, t.Uint, 10)
	case msgpack.Int:
		u.out = strconv.AppendInt(u.out, t.Int, 10)
	case msgpack.Float:
		if math.IsNaN(t.Float) || math.IsInf(t.Float, 0) {
			u.out = append(u.out, "null"...)
		} else {
			u.out = jsontext.AppendFloat(u.out, t.Float, 64)
		}
	case msgpack.String:
		u.out = jsontext.AppendString(u.out, t.Bytes)
	case msgpack.Binary:
		return u.binary(t.Bytes)
	case msgpack.Ext:
		return u.ext(t)
	case msgpack.Array:
		return u.list(t.Len, depth)
	case msgpack.Map:
		return u.object(t.Len, depth)
	}
	return nil
}

func (u *unpacker) binary(b []byte) error {
	if len(u.attachments) >= u.options.MaxAttachments {
		return errManyBinary
	}
	u.out = appendPlaceholder(u.out, len(u.attachments))
	u.attachments = append(u.attachments, append(make([]byte, 0, len(b)), b...))
	return nil
}

func (u *unpacker) list(n, depth int) error {
	if depth >= u.options.MaxDepth {
		return msgpack.ErrDepth
	}
	u.out = append(u.out, '[')
	for i := range n {
		if i > 0 {
			u.out = append(u.out, ',')
		}
		if err := u.value(depth + 1); err != nil {
			return err
		}
	}
	u.out = append(u.out, ']')
	return nil
}

func (u *unpacker) object(n, depth int) error {
	if depth >= u.options.MaxDepth {
		return msgpack.ErrDepth
	}
	start := len(u.out)
	u.out = append(u.out, '{')
	for range n {
		before := len(u.out)
		if before > start+1 {
			u.out = append(u.out, ',')
		}
		if err := u.key(); err != nil {
			return err
		}
		u.out = append(u.out, ':')
		t, err := u.Next()
		switch {
		case err != nil:
			return err
		case isUndefined(t):
			u.out = u.out[:before]
			continue
		}
		if err := u.token(t, depth+1); err != nil {
			return err
		}
	}
	u.out = append(u.out, '}')
	u.out = disguise(u.out, start)
	return nil
}

// key appends the key of an object. JavaScript makes strings of keys that are something else.
func (u *unpacker) key() error {
	t, err := u.Next()
	if err != nil {
		return err
	}
	switch t.Kind {
	case msgpack.String, msgpack.Binary:
		u.out = jsontext.AppendString(u.out, t.Bytes)
	case msgpack.Uint, msgpack.Int, msgpack.Float, msgpack.Bool, msgpack.Nil:
		u.out = append(u.out, '"')
		if err := u.token(t, 0); err != nil {
			return err
		}
		u.out = append(u.out, '"')
	default:
		return errKey
	}
	return nil
}

// ext appends the value of an extension.
func (u *unpacker) ext(t msgpack.Token) error {
	switch {
	case isUndefined(t):
		u.out = append(u.out, "null"...)
		return nil
	case t.Ext == 0 && t.Fixed && len(t.Bytes) == 8:
		u.out = jsontext.AppendTime(u.out, time.UnixMilli(int64(binary.BigEndian.Uint64(t.Bytes))))
		return nil
	case t.Ext == 0 && !t.Fixed:
		return u.binary(t.Bytes)
	case t.Ext == -1 && u.dates:
		if d, ok := timestamp(t.Bytes); ok {
			u.out = jsontext.AppendTime(u.out, d)
			return nil
		}
	}
	u.out = append(u.out, '[')
	u.out = strconv.AppendInt(u.out, int64(t.Ext), 10)
	u.out = append(u.out, ',')
	if err := u.binary(t.Bytes); err != nil {
		return err
	}
	u.out = append(u.out, ']')
	return nil
}

// timestamp reads the content of extension -1.
//
// MessagePack specification, "Timestamp extension type".
func timestamp(b []byte) (d time.Time, ok bool) {
	switch len(b) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0), true
	case 8:
		n := binary.BigEndian.Uint64(b)
		return time.Unix(int64(n&(1<<34-1)), int64(n>>34)), true
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))), true
	}
	return d, false
}
