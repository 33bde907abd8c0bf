package jsontext_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myriad-rt/myriad/internal/jsontext"
)

func TestRead(t *testing.T) {
	r, ok := jsontext.Read([]byte("{ \"a\" : [1, {\"}\":\"]\\\"\"}] ,\n\"\\u0062\":null,\"c\":-1.5e3}"), '{')
	if !ok {
		t.Fatal("not an object")
	}
	var got []string
	for {
		key, value, ok := r.Member()
		if !ok {
			break
		}
		got = append(got, string(key), string(value))
	}
	if want := []string{"a", `[1, {"}":"]\""}]`, "b", "null", "c", "-1.5e3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, empty := range []string{"[]", "[ ]"} {
		r, _ := jsontext.Read([]byte(empty), '[')
		if _, ok := r.Element(); ok {
			t.Errorf("%s has an element", empty)
		}
	}
	if _, ok := jsontext.Read([]byte("null"), '{'); ok {
		t.Error("null is an object")
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string][]string{
		``: nil, `null`: nil, `[]`: nil, `["a",42,"\n",1.5]`: {"a", "42", "\n", "1.5"},
	} {
		if got, ok := jsontext.Names([]byte(text)); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{`{}`, `"a"`, `[null]`, `[[]]`, `[true]`} {
		if _, ok := jsontext.Names([]byte(text)); ok {
			t.Errorf("%s is taken for names", text)
		}
	}
}

func TestCount(t *testing.T) {
	for text, want := range map[string]int{`0`: 0, `7`: 7, `1e3`: 1000, `2147483647`: 1<<31 - 1} {
		if got, ok := jsontext.Count([]byte(text)); !ok || got != want {
			t.Errorf("%s: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{`-1`, `1.5`, `"1"`, `null`, `1e99`, `2147483648`} {
		if _, ok := jsontext.Count([]byte(text)); ok {
			t.Errorf("%s counts something", text)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "-0.0": "0", "7": "7", "-7": "-7", "1.0": "1", "1.50": "1.5", "1.5": "1.5", "1e3": "1000", "1E-7": "1e-7",
		"0.000001": "0.000001", "0.0000001": "1e-7", "1e21": "1e+21", "123456789012345": "123456789012345",
		"12345678901234567890": "12345678901234567000", "9007199254740993": "9007199254740992", "1e400": "Infinity", "-1e400": "-Infinity",
		"0.1234567890123": "0.1234567890123", "0.1234567890123456789": "0.12345678901234568", "1e-400": "0",
	} {
		if got := jsontext.Number([]byte(text)); string(got) != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestAppendTime(t *testing.T) {
	for want, at := range map[string]time.Time{
		`"2026-01-02T03:04:05.674Z"`: time.Date(2026, 1, 2, 5, 4, 5, 674999999, time.FixedZone("", 7200)),
		`"0000-01-01T00:00:00.000Z"`: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		`null`:                       time.Unix(1<<60, 0),
	} {
		if got := jsontext.AppendTime([]byte("["), at); string(got) != "["+want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}

// FuzzCheck compares Check with encoding/json.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`[]`, `{"a":[1,-2.5e+3,"\u00e9\"",true,false,null]}`, ` 1`, `1 `, `01`, `1.`, `[1,]`, `{"a"}`, "\"\x01\"", `"\x"`, `nul`, `-`, strings.Repeat("[", 70)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		end, high, ok := jsontext.Check(text, 0, math.MaxInt)
		if ok = ok && jsontext.SkipSpace(text, end) == len(text); ok != json.Valid(text) {
			t.Fatalf("%q: %v at %d, but encoding/json: %v", text, ok, end, !ok)
		}
		if ok && high != slices.ContainsFunc(text, func(c byte) bool { return c >= 0x80 }) {
			t.Fatalf("%q: high is %v", text, high)
		}
		if ok && jsontext.IsNumber(text) {
			number := text[:end]
			got := jsontext.Number(number)
			if f, err := strconv.ParseFloat(string(number), 64); err == nil && string(got) != string(jsontext.AppendFloat(nil, f, 64)) {
				t.Fatalf("%s is printed as %s", number, got)
			}
		}
	})
}

// FuzzSkip compares the scanners with encoding/json.
func FuzzSkip(f *testing.F) {
	for _, seed := range []string{`[]`, `{}`, `[1,"a\"]",{"b":[null,true]}]`, `{"a":{"b":[]},"c":"\\"}`, "[ 1 ,\t2 ]", `"x"`, `-1.5`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if end, _, ok := jsontext.Check(text, 0, 1000); !ok || end < len(text) || jsontext.SkipSpace(text, 0) > 0 {
			return
		}
		if end := jsontext.Skip(text, 0); end != len(text) {
			t.Errorf("%q: ends at %d", text, end)
		}
		if r, ok := jsontext.Read(text, '['); ok {
			var want []json.RawMessage
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			var got []json.RawMessage
			for {
				element, ok := r.Element()
				if !ok {
					break
				}
				got = append(got, element)
			}
			if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("%q: got %q, want %q", text, got, want)
			}
		}
		if r, ok := jsontext.Read(text, '{'); ok {
			var want map[string]json.RawMessage
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			got := map[string]json.RawMessage{}
			for {
				key, value, ok := r.Member()
				if !ok {
					break
				}
				got[string(key)] = value
			}
			if len(got) != len(want) {
				t.Errorf("%q: got %q, want %q", text, got, want)
			}
			for key, value := range want {
				if string(got[key]) != string(value) {
					t.Errorf("%q: member %q is %q, want %q", text, key, got[key], value)
				}
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "a", "\"\\\n\t\r\b\f\x00\x1f\x7f", "é€😀\u2028", "\xff\xc0", "<&>", "\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := jsontext.AppendString(nil, s)
		var want string
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if string([]rune(s)) != want {
			t.Errorf("%q is written as %s", s, text)
		}
		if got, ok := jsontext.String(text); !ok || got != want {
			t.Errorf("%s: read as %q", text, got)
		}
	})
}
