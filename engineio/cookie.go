package engineio

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cookie configures a cookie with the session id, for example for a proxy in front of several servers. It is set on the
// first response of a session that begins with polling.
type Cookie struct {
	Name        string        // "" means "io"
	Path        string        // "" means "/"
	DisablePath bool          // leaves Path out
	Domain      string        // "" leaves it out
	MaxAge      time.Duration // zero leaves it out; negative means Max-Age=0
	Expires     time.Time     // zero leaves it out
	// ScriptAccess leaves HttpOnly out, so that scripts can read the cookie.
	ScriptAccess bool
	Secure       bool
	Partitioned  bool
	Priority     string        // "" leaves it out; "Low", "Medium" or "High"
	SameSite     http.SameSite // zero means http.SameSiteLaxMode; http.SameSiteDefaultMode leaves it out
}

// header returns the value of the Set-Cookie field for a session, with the attributes in the order of the reference.
func (c *Cookie) header(id string) string {
	var b strings.Builder
	name := c.Name
	if name == "" {
		name = "io"
	}
	b.WriteString(name)
	b.WriteByte('=')
	escapeComponent(&b, id)
	if c.MaxAge != 0 {
		b.WriteString("; Max-Age=")
		b.WriteString(strconv.FormatInt(int64(max(c.MaxAge, 0)/time.Second), 10))
	}
	if c.Domain != "" {
		b.WriteString("; Domain=" + c.Domain)
	}
	if !c.DisablePath {
		path := c.Path
		if path == "" {
			path = "/"
		}
		b.WriteString("; Path=" + path)
	}
	if !c.Expires.IsZero() {
		b.WriteString("; Expires=" + c.Expires.UTC().Format(http.TimeFormat))
	}
	if !c.ScriptAccess {
		b.WriteString("; HttpOnly")
	}
	if c.Secure {
		b.WriteString("; Secure")
	}
	if c.Partitioned {
		b.WriteString("; Partitioned")
	}
	if c.Priority != "" {
		b.WriteString("; Priority=" + c.Priority)
	}
	switch c.SameSite {
	case 0, http.SameSiteLaxMode:
		b.WriteString("; SameSite=Lax")
	case http.SameSiteStrictMode:
		b.WriteString("; SameSite=Strict")
	case http.SameSiteNoneMode:
		b.WriteString("; SameSite=None")
	}
	return b.String()
}

// escapeComponent writes s as JavaScript's encodeURIComponent does.
func escapeComponent(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&0xF])
		}
	}
}
