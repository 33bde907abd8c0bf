package httpserver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/internal/bufpool"
)

// reply is a response under construction. Unlike with net/http, nothing is sent before it is complete.
type reply struct {
	header http.Header
	status int
	body   *bytebufferpool.ByteBuffer // nil while empty
}

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *reply) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.body = replies.Get()
	}
	return w.body.Write(p)
}

var replies bufpool.Pool

// ownFields are written by append alone.
var ownFields = map[string]bool{"Connection": true, "Content-Length": true, "Date": true, "Transfer-Encoding": true}

// append appends the response to b and releases its body. The fields are the same as with net/http.
func (w *reply) append(b *bytebufferpool.ByteBuffer, last bool) {
	w.WriteHeader(http.StatusOK)
	var body []byte
	if w.body != nil {
		body = w.body.B
		defer func() {
			replies.Put(w.body)
			w.body = nil
		}()
	}
	header := w.Header()
	if _, typed := header["Content-Type"]; !typed && len(body) > 0 {
		header.Set("Content-Type", http.DetectContentType(body))
	}
	b.B = append(b.B, "HTTP/1.1 "...)
	b.B = append(strconv.AppendInt(b.B, int64(w.status), 10), ' ')
	b.B = append(append(b.B, http.StatusText(w.status)...), "\r\n"...)
	_ = header.WriteSubset(b, ownFields) // b accepts everything
	date := header.Get("Date")
	if _, dated := header["Date"]; !dated {
		date = time.Now().UTC().Format(http.TimeFormat)
	}
	if date != "" {
		b.B = append(append(append(b.B, "Date: "...), date...), "\r\n"...)
	}
	if w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		body = nil
	} else {
		b.B = append(b.B, "Content-Length: "...)
		b.B = append(strconv.AppendInt(b.B, int64(len(body)), 10), "\r\n"...)
	}
	if last {
		b.B = append(b.B, "Connection: close\r\n"...)
	}
	b.B = append(append(b.B, "\r\n"...), body...)
}
