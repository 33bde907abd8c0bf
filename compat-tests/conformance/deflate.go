package main

import (
	"bytes"
	"compress/flate"
	"slices"
	"strconv"
	"strings"
)

// deflate is permessage-deflate as negotiated by a client, RFC 7692.
type deflate struct {
	out         bytes.Buffer
	writer      *flate.Writer
	forgetsSent bool // client_no_context_takeover
	in          inflater
}

// negotiated judges the answer to an offer, and returns nil if the extension is not used.
//
// RFC 7692 section 7.1.
func negotiated(offer string, answers []string) *deflate {
	if len(answers) == 0 {
		return nil
	}
	if offer == "" || len(answers) > 1 {
		fail("extensions %q were not offered", answers)
	}
	name, parameters := parseExtension(answers[0])
	if name != "permessage-deflate" {
		fail("extension %q was not offered", name)
	}
	// The answer must match one of the offers.
	fits := slices.ContainsFunc(strings.Split(offer, ","), func(one string) bool {
		_, offered := parseExtension(one)
		return answersOffer(parameters, offered)
	})
	if !fits {
		fail("answer %q does not fit the offer %q", answers[0], offer)
	}
	d := &deflate{in: inflater{limit: maxDistance}}
	_, d.forgetsSent = parameters["client_no_context_takeover"]
	if bits, ok := parameters["server_max_window_bits"]; ok {
		d.in.limit = 1 << windowBits(bits)
	}
	_, d.in.forgets = parameters["server_no_context_takeover"]
	d.writer, _ = flate.NewWriter(&d.out, flate.BestSpeed) // the level is valid
	return d
}

// answersOffer reports whether a server may answer offered with parameters.
func answersOffer(parameters, offered map[string]string) bool {
	for name, value := range parameters {
		_, asked := offered[name]
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if value != "" {
				return false
			}
		case "server_max_window_bits":
			if bits := windowBits(value); bits == 0 || asked && bits > windowBits(offered[name]) {
				return false
			}
		case "client_max_window_bits":
			// This client offers it without a value. It cannot limit its window, so the server must not request that.
			if !asked || windowBits(value) != 15 {
				return false
			}
		default:
			return false
		}
	}
	for _, name := range []string{"server_no_context_takeover", "server_max_window_bits"} {
		_, asked := offered[name]
		if _, ok := parameters[name]; asked && !ok {
			return false
		}
	}
	return true
}

func parseExtension(s string) (name string, parameters map[string]string) {
	all := strings.Split(s, ";")
	parameters = make(map[string]string)
	for _, p := range all[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		parameters[key] = strings.Trim(value, `"`)
	}
	return strings.TrimSpace(all[0]), parameters
}

// windowBits returns 0 if value is not valid.
func windowBits(value string) int {
	if bits, err := strconv.Atoi(value); err == nil && bits >= 8 && bits <= 15 {
		return bits
	}
	return 0
}

// compress returns the payload of a compressed message, RFC 7692 section 7.2.1.
func (d *deflate) compress(payload []byte) []byte {
	d.out.Reset()
	if d.forgetsSent {
		d.writer.Reset(&d.out)
	}
	_, _ = d.writer.Write(payload) // writing to a bytes.Buffer does not fail
	_ = d.writer.Flush()
	return bytes.Clone(bytes.TrimSuffix(d.out.Bytes(), []byte{0, 0, 0xFF, 0xFF}))
}

func (d *deflate) inflate(payload []byte) ([]byte, error) { return d.in.inflate(payload) }
