package jsontext

import "strconv"

// Reader visits the elements of an object or array.
type Reader struct {
	text []byte
	at   int
}

// Read returns a Reader for an object or array that starts with open. ok is false for any other text.
func Read(text []byte, open byte) (r Reader, ok bool) {
	if len(text) == 0 || text[0] != open {
		return r, false
	}
	return Reader{text: text, at: 1}, true
}

// Element returns the next element of an array.
func (r *Reader) Element() (value []byte, ok bool) {
	start := Next(r.text, r.at)
	if c := r.text[start]; c == ']' || c == '}' {
		return nil, false
	}
	r.at = Skip(r.text, start)
	return r.text[start:r.at:r.at], true
}

// Member returns the next member of an object. key is newly allocated if it contains escapes.
func (r *Reader) Member() (key, value []byte, ok bool) {
	start := Next(r.text, r.at)
	if c := r.text[start]; c == ']' || c == '}' { // an empty array may stand for an object
		return nil, nil, false
	}
	key, start = ReadString(r.text, start)
	start = SkipSpace(r.text, SkipSpace(r.text, start)+1) // after the colon
	r.at = Skip(r.text, start)
	return key, r.text[start:r.at:r.at], true
}

// String returns the content of text if it is a string.
func String(text []byte) (s string, ok bool) {
	if len(text) < 2 || text[0] != '"' {
		return "", false
	}
	content, _ := ReadString(text, 0)
	return string(content), true
}

// Name returns the content of a string, or a number as JavaScript prints it: rooms may be numbers in JavaScript.
func Name(text []byte) (s string, ok bool) {
	if s, ok = String(text); ok {
		return s, true
	}
	if !IsNumber(text) {
		return "", false
	}
	return string(Number(text)), true
}

// IsNumber reports whether text is a number.
func IsNumber(text []byte) bool { return len(text) > 0 && (text[0] == '-' || text[0]-'0' <= 9) }

// Names returns an array of names. A missing or null value is an empty array.
func Names(text []byte) (names []string, ok bool) {
	if len(text) == 0 || string(text) == "null" {
		return nil, true
	}
	r, ok := Read(text, '[')
	if !ok {
		return nil, false
	}
	for {
		element, more := r.Element()
		if !more {
			return names, true
		}
		name, ok := Name(element)
		if !ok {
			return nil, false
		}
		names = append(names, name)
	}
}

// Count returns an integer from 0 to 2,147,483,647. ok is false for any other text.
func Count(text []byte) (n int, ok bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1<<31-1) || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}
