package main

import "errors"

// maxDistance is the largest distance of a reference to earlier bytes, RFC 1951 section 3.2.5.
const maxDistance = 32 << 10

// inflater decompresses messages by RFC 1951 and RFC 7692. Unlike ordinary decompressors it also checks that references
// stay within the negotiated window, and within the message if there is no context takeover.
type inflater struct {
	limit   int    // size of the window in bytes
	forgets bool   // each message is compressed on its own
	window  []byte // end of the messages so far
}

var (
	errFormat   = errors.New("compressed data are invalid")
	errDistance = errors.New("compressed data refer to bytes outside the window")
)

// inflate decompresses the payload b of a message.
//
// RFC 7692 section 7.2.2.
func (f *inflater) inflate(b []byte) (message []byte, err error) {
	if f.forgets {
		f.window = nil
	}
	s := stream{in: append(b[:len(b):len(b)], 0, 0, 0xFF, 0xFF), out: f.window, limit: f.limit}
	start := len(s.out)
	for !s.atEnd() {
		if err := s.block(); err != nil {
			return nil, err
		}
	}
	f.window = s.out[max(0, len(s.out)-maxDistance):]
	return s.out[start:], nil
}

// stream is a DEFLATE stream, RFC 1951.
type stream struct {
	in    []byte
	bits  uint32 // not used yet, the next one lowest
	held  int    // number of bits
	out   []byte
	limit int
}

// atEnd reports whether nothing follows but the padding of the last byte.
func (s *stream) atEnd() bool { return len(s.in) == 0 && s.held < 8 }

// take returns the next n bits, at most 16.
func (s *stream) take(n int) (uint32, error) {
	for s.held < n {
		if len(s.in) == 0 {
			return 0, errFormat
		}
		s.bits |= uint32(s.in[0]) << s.held
		s.in = s.in[1:]
		s.held += 8
	}
	v := s.bits & (1<<n - 1)
	s.bits >>= n
	s.held -= n
	return v, nil
}

// block decodes a block, RFC 1951 section 3.2.3.
func (s *stream) block() error {
	header, err := s.take(3)
	if err != nil {
		return err
	}
	switch header >> 1 { // the lowest bit marks the last block; senders need not set it
	case 0:
		return s.stored()
	case 1:
		return s.coded(fixedLiterals, fixedDistances)
	case 2:
		literals, distances, err := s.dynamic()
		if err != nil {
			return err
		}
		return s.coded(literals, distances)
	}
	return errFormat
}

func (s *stream) stored() error {
	s.bits, s.held = 0, 0 // less than a byte is held
	if len(s.in) < 4 {
		return errFormat
	}
	n := int(s.in[0]) | int(s.in[1])<<8
	if complement := int(s.in[2]) | int(s.in[3])<<8; n^0xFFFF != complement || len(s.in) < 4+n {
		return errFormat
	}
	s.out = append(s.out, s.in[4:4+n]...)
	s.in = s.in[4+n:]
	return nil
}

// code is a canonical Huffman code: the number of symbols of each length, and the symbols in the order of their codes.
type code struct {
	count   [16]int
	symbols []int
}

func newCode(lengths []int) code {
	var c code
	for _, n := range lengths {
		c.count[n]++
	}
	c.count[0] = 0
	for n := 1; n < len(c.count); n++ {
		for symbol, length := range lengths {
			if length == n {
				c.symbols = append(c.symbols, symbol)
			}
		}
	}
	return c
}

// symbol decodes a symbol, RFC 1951 section 3.2.2.
func (s *stream) symbol(c code) (int, error) {
	value, first, index := 0, 0, 0
	for n := 1; n < len(c.count); n++ {
		bit, err := s.take(1)
		if err != nil {
			return 0, err
		}
		value |= int(bit)
		if count := c.count[n]; value-first < count {
			return c.symbols[index+value-first], nil
		} else {
			index += count
			first = (first + count) << 1
			value <<= 1
		}
	}
	return 0, errFormat
}

var fixedLiterals, fixedDistances = func() (literals, distances code) {
	lengths := make([]int, 288)
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	literals = newCode(lengths)
	for i := range lengths[:30] {
		lengths[i] = 5
	}
	return literals, newCode(lengths[:30])
}()

// dynamic reads the codes of a block, RFC 1951 section 3.2.7.
func (s *stream) dynamic() (literals, distances code, err error) {
	head, err := s.take(14)
	if err != nil {
		return code{}, code{}, err
	}
	nLiterals, nDistances, nLengths := 257+int(head&31), 1+int(head>>5&31), 4+int(head>>10)
	order := [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	lengths := make([]int, 19)
	for _, i := range order[:nLengths] {
		n, err := s.take(3)
		if err != nil {
			return code{}, code{}, err
		}
		lengths[i] = int(n)
	}
	lengthCode := newCode(lengths)
	lengths = nil
	for len(lengths) < nLiterals+nDistances {
		symbol, err := s.symbol(lengthCode)
		if err != nil {
			return code{}, code{}, err
		}
		if symbol < 16 {
			lengths = append(lengths, symbol)
			continue
		}
		repeat := [3]struct{ bits, base int }{{2, 3}, {3, 3}, {7, 11}}[symbol-16]
		n, err := s.take(repeat.bits)
		if err != nil || symbol == 16 && len(lengths) == 0 {
			return code{}, code{}, errFormat
		}
		value := 0
		if symbol == 16 {
			value = lengths[len(lengths)-1]
		}
		for range repeat.base + int(n) {
			lengths = append(lengths, value)
		}
	}
	if len(lengths) > nLiterals+nDistances {
		return code{}, code{}, errFormat
	}
	return newCode(lengths[:nLiterals]), newCode(lengths[nLiterals:]), nil
}

// coded decodes the symbols of a block.
func (s *stream) coded(literals, distances code) error {
	for {
		symbol, err := s.symbol(literals)
		switch {
		case err != nil:
			return err
		case symbol < 256:
			s.out = append(s.out, byte(symbol))
			continue
		case symbol == 256:
			return nil
		}
		length, err := s.length(symbol - 257)
		if err != nil {
			return err
		}
		distance, err := s.distance(distances)
		if err != nil {
			return err
		}
		if distance > s.limit || distance > len(s.out) {
			return errDistance
		}
		for range length {
			s.out = append(s.out, s.out[len(s.out)-distance])
		}
	}
}

// length returns the length that belongs to a symbol above 256, RFC 1951 section 3.2.5.
func (s *stream) length(symbol int) (int, error) {
	switch {
	case symbol < 8:
		return 3 + symbol, nil
	case symbol == 28:
		return 258, nil
	case symbol > 28:
		return 0, errFormat
	}
	bits := symbol/4 - 1
	extra, err := s.take(bits)
	return 3 + (4+symbol%4)<<bits + int(extra), err
}

func (s *stream) distance(c code) (int, error) {
	symbol, err := s.symbol(c)
	switch {
	case err != nil:
		return 0, err
	case symbol < 4:
		return 1 + symbol, nil
	case symbol > 29:
		return 0, errFormat
	}
	bits := symbol/2 - 1
	extra, err := s.take(bits)
	return 1 + (2+symbol%2)<<bits + int(extra), err
}
