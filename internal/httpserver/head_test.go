package httpserver

import (
	"bufio"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const (
	browserHead = "GET /socket.io/?EIO=4&transport=websocket&x=%20+a/b HTTP/1.1\r\nHost: chat.example:3000\r\nConnection: Upgrade\r\n" +
		"Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\n" +
		"Origin: http://chat.example\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate\r\nCookie: a=b; c=\"d\"\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
	getA = "GET / HTTP/1.1\r\nHost: a\r\n"
)

func TestHead(t *testing.T) {
	for name, tt := range map[string]struct {
		head  string
		plain bool
	}{
		"browser":           {browserHead, true},
		"least":             {getA + "\r\n", true},
		"spaces":            {getA + "X: \t a b\t \r\nY:\r\n\r\n", true},
		"odd case":          {getA + "x-y-Z: 1\r\nsec-websocket-KEY: 2\r\n\r\n", true},
		"underscore":        {getA + "x_y: 1\r\n\r\n", true},
		"pragma":            {getA + "Pragma: no-cache\r\n\r\n", false},
		"repeated":          {getA + "X: 1\r\nx: 2\r\n\r\n", true},
		"two hosts":         {getA + "Host: b\r\n\r\n", false},
		"no host":           {"GET / HTTP/1.1\r\n\r\n", false},
		"empty host":        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", false},
		"old":               {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", false},
		"POST":              {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		"absolute":          {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"two slashes":       {"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"escaped path":      {"GET /%41 HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"space in target":   {"GET /? b HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"fragment":          {"GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"body":              {getA + "Content-Length: 1\r\n\r\n", true},
		"two lengths":       {getA + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", false},
		"signed length":     {getA + "Content-Length: +1\r\n\r\n", false},
		"list of lengths":   {getA + "Content-Length: 1, 1\r\n\r\n", false},
		"no length":         {getA + "Content-Length:\r\n\r\n", false},
		"huge length":       {getA + "Content-Length: 9999999999999999\r\n\r\n", false},
		"length of zeros":   {getA + "Content-Length: 007\r\n\r\n", true},
		"close":             {getA + "Connection: keep-alive, \tCLOSE\r\n\r\n", true},
		"second close":      {getA + "Connection: x\r\nConnection: close\r\n\r\n", true},
		"no close":          {getA + "Connection: closed\r\n\r\n", true},
		"odd host":          {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", false},
		"preflight":         {"OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n", true},
		"any target":        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"other method":      {"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"odd method":        {"getA / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"length and chunks": {getA + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"chunks":            {getA + "Transfer-Encoding: chunked\r\n\r\n", false},
		"expect":            {getA + "Expect: 100-continue\r\n\r\n", false},
		"folded":            {getA + "X: 1\r\n 2\r\n\r\n", false},
		"space before dots": {getA + "X : 1\r\n\r\n", false},
		"no name":           {getA + ": 1\r\n\r\n", false},
		"no colon":          {getA + "X\r\n\r\n", false},
		"line feeds":        {"GET / HTTP/1.1\nHost: a\n\n", false},
		"line feed inside":  {getA + "X: 1\nY: 2\r\n\r\n", false},
		"control":           {getA + "X: \x01\r\n\r\n", false},
		"not ASCII":         {getA + "X: \xff\r\n\r\n", false},
		"no end":            {getA, false},
		"more behind":       {getA + "\r\n\x81", false},
	} {
		t.Run(name, func(t *testing.T) {
			if plain := sameAsLibrary(t, tt.head); plain != tt.plain {
				t.Errorf("parse says %v, want %v", plain, tt.plain)
			}
		})
	}
}

// sameAsLibrary compares parse with http.ReadRequest and returns the result of parse.
func sameAsLibrary(t *testing.T, text string) bool {
	t.Helper()
	h := head{request: http.Request{Header: make(http.Header)}}
	if !h.parse(text) {
		return false
	}
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatalf("parse accepts a request that http.ReadRequest rejects: %v", err)
	}
	got := &h.request
	if got.Method != want.Method || got.Proto != want.Proto || got.ProtoMajor != want.ProtoMajor || got.ProtoMinor != want.ProtoMinor ||
		got.Host != want.Host || got.RequestURI != want.RequestURI || got.ContentLength != want.ContentLength ||
		got.Close != want.Close || !reflect.DeepEqual(got.URL, want.URL) || !reflect.DeepEqual(got.Header, want.Header) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	return true
}

func FuzzHead(f *testing.F) {
	f.Add(browserHead)
	f.Add(getA + "\r\n")
	f.Add(getA + "X: 1\r\nx: 2\r\n\r\n")
	f.Add("GET /? HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("GET /a?b?c HTTP/1.1\r\nHost: [::1]:80\r\nPragma: no-cache\r\n\r\n")
	f.Add("POST /socket.io/?sid=a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: keep-alive, close\r\n\r\n")
	f.Add(getA + "Connection: x\r\nCookie: a=b\r\nconnection: Close ,\r\nCookie: c=d\r\n\r\n")
	f.Fuzz(func(t *testing.T, head string) { sameAsLibrary(t, head) })
}
