// Package ident generates the identifiers that clients see.
package ident

import (
	"crypto/rand"
	"encoding/base64"
	"sync/atomic"
)

// Size is the length of an identifier in bytes.
const Size = 20

// Source generates identifiers that are unique in the process and cannot be guessed. The zero value is ready for
// use. It is safe for concurrent use.
type Source struct{ count atomic.Uint32 }

// New returns 12 random bytes and a 24-bit count as base64url: 20 characters, in the format of the reference.
func (s *Source) New() string {
	var raw [15]byte
	rand.Read(raw[:12]) // never fails
	n := s.count.Add(1) - 1
	raw[12], raw[13], raw[14] = byte(n>>16), byte(n>>8), byte(n)
	var text [Size]byte
	base64.RawURLEncoding.Encode(text[:], raw[:])
	return string(text[:])
}
