package polling

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/internal/coding"
)

// answer writes a successful response to a GET and ends the session if that fails.
func (c *Conn) answer(w http.ResponseWriter, r *http.Request, answer response) {
	if c.write(w, r, answer) != nil {
		c.handler.HandleError(ErrPollClosed)
	}
}

// unparkApart is unpark on its own goroutine. It recovers panics of Config.Header.
func (c *Conn) unparkApart(g *get, answer response) {
	defer func() {
		if p := recover(); p != nil {
			clear(g.parker.Header())
			g.parker.WriteHeader(http.StatusInternalServerError)
			_ = g.parker.Unpark() // the session ends in any case
			c.handler.HandlePanic(p, debug.Stack())
		}
	}()
	c.unpark(g, answer)
}

// compresses reports whether a response is compressed for clients that accept it.
func (c *Conn) compresses(answer response) bool {
	return answer.compress && c.config.CompressFrom >= 0 && answer.body.Len() >= c.config.CompressFrom
}

// write writes a successful response to a GET and releases it.
func (c *Conn) write(w http.ResponseWriter, r *http.Request, answer response) error {
	defer answer.release()
	h := w.Header()
	if answer.binary {
		h.Set("Content-Type", "application/octet-stream")
	} else {
		h.Set("Content-Type", "text/plain; charset=UTF-8")
	}
	body, encoding := answer.body, ""
	if c.compresses(answer) {
		encoding = coding.Negotiate(r.Header.Get("Accept-Encoding"), gzipCoding, deflateCoding)
	}
	if encoding == "" {
		h.Set("Content-Length", strconv.Itoa(body.Len()))
	} else {
		h.Set("Content-Encoding", encoding)
		body = bodies.Get()
		defer bodies.Put(body)
		compress(body, encoding, answer.body.B)
	}
	c.finishHeader(h, r)
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(body.B)
	return err
}

// finishHeader adds the fields common to all successful responses.
func (c *Conn) finishHeader(h http.Header, r *http.Request) {
	h.Set("Cache-Control", "no-store")
	// Internet Explorer would apply its XSS filter to the response.
	if agent := r.UserAgent(); strings.Contains(agent, ";MSIE") || strings.Contains(agent, "Trident/") {
		h.Set("X-XSS-Protection", "0")
	}
	if c.config.Header != nil {
		c.config.Header(h, r)
	}
}

// unlimit removes the write deadline that an http.Server has set for a request that is about to wait. Extending it after
// the wait would be too late: HTTP/2 resets the stream when the deadline passes. net/http has removed the read deadline by
// now. The error is ignored: it comes from writers without deadlines.
func unlimit(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// limit restores the write deadline for the response to a request that has waited.
func limit(w http.ResponseWriter, r *http.Request) {
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.WriteTimeout > 0 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.WriteTimeout))
	}
}
