package parser

//lint:file-ignore SA5008 the tags are wrong on purpose: encoding/json defines a result for each
//lint:file-ignore U1000 unexported fields must be omitted

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

type (
	scalars struct {
		Bool    bool
		I8      int8
		U16     uint16 `json:"u16,omitempty"`
		Ptr     uintptr
		F32     float32 `json:"f32,omitempty"`
		F64     float64
		S       string `json:"s,omitempty"`
		Quoted  int    `json:",string"`
		QuotedS string `json:"qs,string"`
		QuotedP *bool  `json:"qp,string,omitempty"`
		QuotedF float64
		List    []int          `json:"list,omitempty,string"`
		Array   [2]byte        `json:"array,omitempty"`
		Map     map[string]int `json:"map,omitempty"`
		ByInt   map[int16]string
		ByUint  map[uint8][]string
		Any     any `json:"any,omitempty"`
		Struct  struct{ X, Y int }
		P       **int
		private int
	}

	// Embedded structs with names that hide one another.
	deep   struct{ Deep, Same, Tagged int }
	left   struct{ Left, Same, Both int }
	Right  struct{ Right, Same, Both int }
	tagged struct {
		X int `json:"Tagged"`
	}
	twice    struct{ Twice int }
	one      struct{ twice }
	two      struct{ twice }
	Alias    int
	embedder struct {
		left
		*Right
		*deep
		one
		two
		tagged
		Alias
		Named  deep `json:"named"`
		inner2 `json:"inner"`
		Odd    int    `json:"a\"b"`
		Sign   int    `json:"$%-/ü"`
		Dash   int    `json:"-,"`
		Skip   int    `json:"-"`
		Both   string `json:"both"`
	}
	inner2 struct{ A int }

	// zero has a method IsZero with a pointer receiver, whole one with a value receiver.
	zero  struct{ N int }
	whole struct{ N int }

	zeros struct {
		Zero      zero                       `json:",omitzero"`
		ZeroP     *zero                      `json:",omitzero"`
		Whole     whole                      `json:",omitzero"`
		WholeP    *whole                     `json:",omitzero"`
		Interface interface{ IsZero() bool } `json:",omitzero"`
		Any       any                        `json:",omitzero"`
		Struct    struct{ X int }            `json:",omitzero"`
		List      []int                      `json:",omitzero"`
		Both      []int                      `json:",omitzero,omitempty"`
		N         int                        `json:",omitzero"`
	}

	// Types that marshal themselves, one of them behind a pointer only.
	marshalers struct {
		Addr    netip.Addr
		AddrP   *netip.Addr `json:",omitempty"`
		Shy     shy
		ShyP    *shy
		Shies   []shy
		ByAddr  map[netip.Addr]shy
		Number  json.Number `json:",omitempty"`
		QNumber json.Number `json:",string"`
		Raw     json.RawMessage
		Digest  digest
		Text    json.Marshaler
		Error   error
	}

	list[T any] struct {
		Value T
		Next  *list[T]
	}
)

func (z *zero) IsZero() bool { return z.N < 0 }
func (w whole) IsZero() bool { return w.N < 0 }

// checkLikeJSON compares AppendArgs with encoding/json for v, which must contain neither binary nor times.
func checkLikeJSON(t *testing.T, v any) {
	t.Helper()
	text, attachments, err := AppendArgs(nil, nil, v)
	var like bytes.Buffer
	e := json.NewEncoder(&like)
	e.SetEscapeHTML(false) // which would escape <, > and & in the text inside a string, too
	wantErr := e.Encode(v)
	want := like.Bytes()
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%+v: %v, but encoding/json: %v", v, err, wantErr)
	}
	if err != nil {
		return
	}
	// Members are in the same order.
	if got := tokens(t, text[1:len(text)-1]); !reflect.DeepEqual(got, tokens(t, want)) || attachments != nil {
		t.Fatalf("%T:\n%s, but encoding/json:\n%s", v, text[1:len(text)-1], want)
	}
}

func tokens(t *testing.T, text []byte) (all []json.Token) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, token)
	}
}

func TestReflectLikeEncodingJSON(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	seven := 7
	p, nilP := &seven, (*int)(nil)
	for _, v := range []any{
		scalars{}, &scalars{U16: 1, F32: 0.1, S: "\xff<&>\u2028", QuotedS: `a"b<&>`, QuotedP: new(bool), List: []int{1}, Map: map[string]int{"b": 1, "a": 2},
			ByInt: map[int16]string{10: "a", 9: "b", -1: "c"}, ByUint: map[uint8][]string{7: nil}, Any: 1e-9, P: &p},
		scalars{Any: map[string]any{"x": []any{nilP}}, P: &nilP},
		embedder{}, embedder{Right: &Right{1, 2, 3}, deep: &deep{1, 2, 3}, left: left{4, 5, 6}}, &embedder{tagged: tagged{5}, Odd: 1, Dash: 2},
		struct {
			left
			Right
		}{}, struct{ one }{}, struct {
			*one
			two
		}{},
		zeros{}, zeros{Zero: zero{-1}, ZeroP: &zero{-1}, Whole: whole{-1}, WholeP: &whole{-1}}, &zeros{Zero: zero{-1}, Interface: whole{-1}, Any: whole{-1}},
		zeros{Interface: (*whole)(nil), Any: (*whole)(nil), List: []int{}, Both: []int{}}, zeros{Interface: &zero{1}, N: 1},
		marshalers{Number: "1.50", QNumber: "7", Text: addr2{addr}, Error: errors.New("x")},
		&marshalers{Addr: addr, AddrP: &addr, ShyP: &shy{}, Shies: []shy{{}}, ByAddr: map[netip.Addr]shy{addr: {}}, Raw: json.RawMessage(` [ 1 ] `)},
		[]marshalers{{QNumber: "x"}}, list[int]{1, &list[int]{2, nil}}, &list[*scalars]{}, [][2]bool{{true, false}}, map[string]list[string]{"a": {}},
		map[*int]int{}, map[[2]int]int{}, map[bool]int(nil), map[float64]int{1: 1}, []chan int{}, []chan int{nil}, struct{ F func() }{}, (*scalars)(nil), &p, &nilP,
		map[any]int{}, []complex64{1}, []error{nil}, [0]int{}, []struct{}{{}}, Alias(5), new(Alias),
	} {
		checkLikeJSON(t, v)
	}
	// Inside a quoted string, encoding/json also escapes these.
	separators := strings.NewReplacer("\u2028", "", "\u2029", "")
	if err := quick.Check(func(s string, f float64, g float32, i int8, u uint16, list []int, m map[string]int, n map[int16]string, b *bool) bool {
		v := scalars{
			I8: i, U16: u, F32: g, F64: f, S: s, Quoted: int(i), QuotedS: separators.Replace(s), QuotedP: b, List: list, Map: m, ByInt: n,
			ByUint: map[uint8][]string{byte(u): {s}}, Any: []any{s, f, g, m},
		}
		checkLikeJSON(t, v)
		checkLikeJSON(t, map[string]any{s: &v})
		return true
	}, nil); err != nil {
		t.Error(err)
	}
}

// addr2 inherits the marshaler of the embedded type.
type addr2 struct{ netip.Addr }

func (a addr2) MarshalJSON() ([]byte, error) { return json.Marshal(a.Addr) }

// TestTimes checks that a time is written like a JavaScript Date, at any position.
func TestTimes(t *testing.T) {
	at := time.Date(2026, 1, 2, 4, 4, 5, 674651101, time.FixedZone("", 3600))
	const want = `"2026-01-02T03:04:05.674Z"`
	type event struct {
		At   time.Time
		P    *time.Time
		PP   **time.Time
		Zero time.Time `json:",omitzero"`
		B    []byte    `json:",omitempty"`
	}
	type moment time.Time
	p := &at
	for _, c := range []struct {
		name string
		arg  any
		want string
	}{
		{"argument", at, want},
		{"pointer", &at, want},
		{"nil pointer", (*time.Time)(nil), `null`},
		{"any", []any{at, &at, map[string]any{"at": at}}, `[` + want + `,` + want + `,{"at":` + want + `}]`},
		{"struct", event{At: at, P: &at, PP: &p}, `{"At":` + want + `,"P":` + want + `,"PP":` + want + `}`},
		{"struct with binary", &event{At: at, B: []byte{1}}, `{"At":` + want + `,"P":null,"PP":null,"B":` + ph0 + `}`},
		{"list", []time.Time{at}, `[` + want + `]`},
		{"map", map[string]*time.Time{"at": &at}, `{"at":` + want + `}`},
		{"type with its own text", stamp{at}, `1767323045`},
		{"type without", moment(at), `{}`},
		{"full second", at.Truncate(time.Second), `"2026-01-02T03:04:05.000Z"`},
		{"zero", time.Time{}, `"0001-01-01T00:00:00.000Z"`},
		{"before our era", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), `"-000005-01-01T00:00:00.000Z"`},
		{"far away", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), `"+012345-01-01T00:00:00.000Z"`},
		{"last", time.Unix(864e10, 0), `"+275760-09-13T00:00:00.000Z"`},
		{"behind the last", time.Unix(864e10, 1e6), `null`},
		{"first", time.Unix(-864e10, 0), `"-271821-04-20T00:00:00.000Z"`},
		{"before the first", time.Unix(-864e10, -1), `null`},
	} {
		if text, _, err := AppendArgs(nil, nil, c.arg); err != nil || string(text) != "["+c.want+"]" {
			t.Errorf("%s: %s, want %s, %v", c.name, text, c.want, err)
		}
	}
}

type stamp struct{ time.Time }

func (s stamp) MarshalJSON() ([]byte, error) { return json.Marshal(s.Unix()) }

// TestMarshalersBesideBinary: a type that marshals itself does so in a packet with attachments, too.
func TestMarshalersBesideBinary(t *testing.T) {
	arg := map[string]any{
		"binary": []byte{1}, "stamp": stamp{time.Unix(7, 0)}, "shy": &shy{[]byte{2}},
		"struct": &struct {
			B []byte
			S stamp
			D digest
		}{[]byte{3}, stamp{time.Unix(8, 0)}, digest("d")},
	}
	want := `[{"binary":` + ph0 + `,"shy":"shy","stamp":7,"struct":{"B":` + ph1 + `,"S":8,"D":"digest"}}]`
	if text, attachments, err := AppendArgs(nil, nil, arg); string(text) != want || len(attachments) != 2 || err != nil {
		t.Errorf("%s with %d attachments, want %s, %v", text, len(attachments), want, err)
	}
}

// TestDepth checks that a value may be nested as deep as a receiver accepts, regardless of pointers in between.
func TestDepth(t *testing.T) {
	chain := func(n int) (l *list[int]) {
		for range n {
			l = &list[int]{Next: l}
		}
		return l
	}
	if _, _, err := AppendArgs(nil, nil, chain(maxEncodeLevels)); err != nil {
		t.Error(err)
	}
	if _, _, err := AppendArgs(nil, nil, chain(maxEncodeLevels+1)); !errors.Is(err, errDepth) {
		t.Error(err)
	}
	siblings := make([]*int, 5*maxEncodeHops)
	for i := range siblings {
		siblings[i] = new(int)
	}
	if _, _, err := AppendArgs(nil, nil, siblings, siblings); err != nil {
		t.Error(err)
	}
	var ring any
	ring = &ring
	if _, _, err := AppendArgs(nil, nil, ring); !errors.Is(err, errDepth) {
		t.Error(err)
	}
}
