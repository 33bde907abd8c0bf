// Package coding chooses the content coding of a response.
package coding

import (
	"slices"
	"strconv"
	"strings"
)

// Negotiate selects one of the offered content codings by the Accept-Encoding header of a request. The highest
// quality wins; among equals, the one named first in the header. Codings that the header allows only by "*" come
// last, in the order of the offer. Negotiate returns "" if nothing is acceptable.
//
// RFC 9110 section 12.5.3.
func Negotiate(accept string, offered ...string) string {
	best, quality := "", 0.0
	wildcard, hasWildcard := 0.0, false
	var few [4]string
	named := few[:0]
	for accept != "" {
		var part string
		part, accept, _ = strings.Cut(accept, ",")
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := parseQuality(params)
		switch {
		case name == "*":
			if !hasWildcard {
				wildcard, hasWildcard = q, true
			}
		case slices.Contains(offered, name):
			named = append(named, name)
			if q > quality {
				best, quality = name, q
			}
		}
	}
	for _, name := range offered {
		if wildcard > quality && !slices.Contains(named, name) {
			best, quality = name, wildcard
		}
	}
	return best
}

// parseQuality returns the weight in the parameters of a header element: 1 if it is absent, 0 if it is invalid.
func parseQuality(params string) float64 {
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
