package engineio

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS is a policy for cross-origin requests. Its zero value allows every origin, without credentials. Browsers enforce
// the policy: the server also serves requests from other origins, and every WebSocket handshake. Use
// Options.AllowRequest to refuse clients.
//
// Fetch standard, "CORS protocol".
type CORS struct {
	// Origin is the allowed origin, which every response names. "" and "*" mean every origin, unless one of the next
	// three fields is set.
	Origin string
	// Origins and OriginPatterns list the allowed origins. A pattern must match the whole origin, as if it began with ^
	// and ended with $, so that "https://example\.com" does not allow https://example.com.attacker.net. AnyOrigin
	// allows each origin by name, which works with Credentials, unlike "*".
	Origins        []string
	OriginPatterns []*regexp.Regexp
	AnyOrigin      bool

	// Credentials allows pages to send cookies.
	Credentials bool
	// Methods are the allowed methods. Nil means GET, HEAD, PUT, PATCH, POST, DELETE.
	Methods []string
	// AllowedHeaders are the allowed header fields. Nil allows those that a preflight request names.
	AllowedHeaders []string
	// ExposedHeaders are the header fields that pages may read.
	ExposedHeaders []string
	// MaxAge is the time, in whole seconds, for which a browser may cache the response to a preflight request. Zero
	// leaves it to the browser; negative forbids caching.
	MaxAge time.Duration
	// OptionsSuccessStatus is the status of the response to a preflight request. Zero means 204.
	OptionsSuccessStatus int
	// PreflightContinue passes preflight requests to the next handler after setting the header.
	PreflightContinue bool
}

// Handler returns a handler that applies c to requests and passes them to next. It answers preflight requests, which are
// all those with the method OPTIONS, unless PreflightContinue is set. If c is nil, Handler returns next.
func (c *CORS) Handler(next http.Handler) http.Handler {
	if c == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.apply(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// apply sets the header fields of a response and reports whether it has answered the request.
func (c *CORS) apply(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	c.applyOrigin(h, r.Header.Get("Origin"))
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.ExposedHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.ExposedHeaders, ","))
	}
	if r.Method != http.MethodOptions {
		return false
	}
	methods := "GET,HEAD,PUT,PATCH,POST,DELETE"
	if c.Methods != nil {
		methods = strings.Join(c.Methods, ",")
	}
	h.Set("Access-Control-Allow-Methods", methods)
	allowed := strings.Join(c.AllowedHeaders, ",")
	if c.AllowedHeaders == nil {
		allowed = r.Header.Get("Access-Control-Request-Headers")
		addVary(h, "Access-Control-Request-Headers")
	}
	if allowed != "" {
		h.Set("Access-Control-Allow-Headers", allowed)
	}
	if c.MaxAge != 0 {
		h.Set("Access-Control-Max-Age", strconv.FormatInt(int64(max(c.MaxAge, 0)/time.Second), 10))
	}
	if c.PreflightContinue {
		return false
	}
	status := c.OptionsSuccessStatus
	if status == 0 {
		status = http.StatusNoContent
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(status)
	return true
}

func (c *CORS) applyOrigin(h http.Header, origin string) {
	switch {
	case c.AnyOrigin || c.Origins != nil || c.OriginPatterns != nil:
		addVary(h, "Origin")
		if origin != "" && c.allows(origin) {
			h.Set("Access-Control-Allow-Origin", origin)
		}
	case c.Origin == "" || c.Origin == "*":
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Set("Access-Control-Allow-Origin", c.Origin)
		addVary(h, "Origin")
	}
}

func (c *CORS) allows(origin string) bool {
	return c.AnyOrigin || slices.Contains(c.Origins, origin) ||
		slices.ContainsFunc(c.OriginPatterns, func(p *regexp.Regexp) bool { return matchesAll(p, origin) })
}

// matchesAll reports whether p matches the whole of s.
func matchesAll(p *regexp.Regexp, s string) bool {
	longest := *p
	longest.Longest() // otherwise "a|ab" matches only a part of "ab"
	at := longest.FindStringIndex(s)
	return at != nil && at[0] == 0 && at[1] == len(s)
}

// addVary adds name to the Vary field, which may already have values.
func addVary(h http.Header, name string) {
	if old := h.Get("Vary"); old != "" {
		name = old + ", " + name
	}
	h.Set("Vary", name)
}
