package httpserver

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// head is a request built from a parsed request head.
type head struct {
	request http.Request
	url     url.URL
	values  []string // of the header, consecutively
}

// parse sets the request as http.ReadRequest would for text, which ends with an empty line, but without the body.
// It returns false for malformed heads, and for features that ordinary clients do not use; net/http handles these.
//
// RFC 9112 sections 3, 5 and 6.
func (h *head) parse(text string) bool {
	line, text, _ := strings.Cut(text, "\r\n")
	method, target, _ := strings.Cut(line, " ")
	if method != http.MethodGet && method != http.MethodPost && method != http.MethodOptions {
		return false
	}
	target, ok := strings.CutSuffix(target, " HTTP/1.1")
	if !ok {
		return false
	}
	path, query, asks := strings.Cut(target, "?")
	if path == "" || path[0] != '/' || strings.HasPrefix(path, "//") || !all(path, inPath) || !all(query, inQuery) {
		return false
	}
	h.url = url.URL{Path: path, RawQuery: query, ForceQuery: asks && query == ""}
	r := &h.request
	*r = http.Request{
		Method: method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &h.url, RequestURI: target, Header: r.Header, Body: http.NoBody,
	}
	for {
		if line, text, ok = strings.Cut(text, "\r\n"); !ok {
			return false
		}
		if line == "" {
			break
		}
		if !h.parseField(line) {
			return false
		}
	}
	_, pragma := r.Header["Pragma"]
	_, control := r.Header["Cache-Control"]
	return text == "" && r.Host != "" && (!pragma || control) // http.ReadRequest derives Cache-Control from Pragma
}

// parseField adds a header line to the request.
func (h *head) parseField(line string) bool {
	r := &h.request
	name, value, ok := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	if !ok || name == "" || !all(name, inName) || !all(value, inValue) {
		return false
	}
	name = textproto.CanonicalMIMEHeaderKey(name)
	old := r.Header[name]
	switch name {
	case "Host":
		if r.Host != "" || value == "" || !all(value, inHost) {
			return false
		}
		r.Host = value
		return true
	case "Content-Length":
		if old != nil || value == "" || len(value) > maxLengthDigits || !all(value, isDigit) {
			return false
		}
		for _, digit := range []byte(value) {
			r.ContentLength = 10*r.ContentLength + int64(digit-'0')
		}
	case "Transfer-Encoding", "Trailer", "Expect":
		return false
	case "Connection":
		for option := range strings.SplitSeq(value, ",") {
			r.Close = r.Close || strings.EqualFold(strings.Trim(option, " \t"), "close")
		}
	}
	if old != nil {
		r.Header[name] = append(old, value)
		return true
	}
	h.values = append(h.values, value)
	last := len(h.values) - 1
	r.Header[name] = h.values[last : last+1 : last+1]
	return true
}

// maxLengthDigits is the maximum number of digits in a Content-Length; it rules out an overflow.
const maxLengthDigits = 15

func all(s string, in func(c byte) bool) bool {
	for i := range len(s) {
		if !in(s[i]) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool { return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a' }

func isDigit(c byte) bool { return c-'0' <= 9 }

func inName(c byte) bool { return isAlphanumeric(c) || c == '-' || c == '_' }

func inPath(c byte) bool { return inName(c) || c == '/' || c == '.' || c == '~' }

func inHost(c byte) bool {
	return isAlphanumeric(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']'
}

func inQuery(c byte) bool { return c > ' ' && c < 0x7F && c != '#' }

func inValue(c byte) bool { return c >= ' ' && c < 0x7F || c == '\t' }
