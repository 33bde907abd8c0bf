package soak

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds everything that does not depend on a heartbeat. It allows for a busy machine.
const patience = 30 * time.Second

// Opcodes of WebSocket frames.
const (
	opContinuation byte = 0x0
	opText         byte = 0x1
	opBinary       byte = 0x2
	opClose        byte = 0x8
	opPing         byte = 0x9
	opPong         byte = 0xA
)

// wire is a TCP connection of a client.
type wire struct {
	net.Conn  // tcp, or TLS on top of it
	tcp       *net.TCPConn
	r         *bufio.Reader
	webSocket bool
	deflate   bool // permessage-deflate was negotiated

	mu   sync.Mutex // held while a frame is written
	once sync.Once
	open *atomic.Int64 // decremented when the connection is closed
}

// dial connects to addr, over TLS if secure is not nil. open counts open connections.
func dial(ctx context.Context, addr string, secure *tls.Config, open *atomic.Int64) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	open.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		open.Add(-1)
		return nil, err
	}
	w := &wire{Conn: conn, tcp: conn.(*net.TCPConn), open: open}
	if secure != nil {
		t := tls.Client(conn, secure)
		if err := t.HandshakeContext(ctx); err != nil {
			w.reset()
			return nil, err
		}
		w.Conn = t
	}
	w.r = bufio.NewReader(w.Conn)
	return w, nil
}

// close closes the connection gracefully.
func (w *wire) close() {
	w.once.Do(func() {
		_ = w.SetWriteDeadline(time.Now().Add(time.Second)) // TLS sends an alert
		_ = w.Conn.Close()
		w.open.Add(-1)
	})
}

// reset closes the connection with a TCP reset.
func (w *wire) reset() {
	w.once.Do(func() {
		_ = w.tcp.SetLinger(0)
		_ = w.tcp.Close()
		w.open.Add(-1)
	})
}

// closeWrite closes the sending side.
func (w *wire) closeWrite() error {
	if t, ok := w.Conn.(*tls.Conn); ok {
		return t.CloseWrite()
	}
	return w.tcp.CloseWrite()
}

// interrupt makes a pending Read return.
func (w *wire) interrupt() { _ = w.SetReadDeadline(time.Unix(1, 0)) }

// hasEnded reports whether the peer has closed the connection. It discards received data.
func (w *wire) hasEnded() bool {
	_ = w.tcp.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := io.Copy(io.Discard, w.tcp)
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

// request writes an HTTP request. header consists of complete lines.
func (w *wire) request(method, target, header string, body []byte) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: soak\r\n%s", method, target, header)
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	_, err := w.Write(b.Bytes())
	return err
}

// answer reads an HTTP response. It returns an error if the status is not 200.
func (w *wire) answer() ([]byte, error) {
	response, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var r io.Reader = response.Body
	if response.Header.Get("Content-Encoding") == "gzip" {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(r)
	if err == nil && response.StatusCode != http.StatusOK {
		err = &statusError{response.StatusCode, string(body)}
	}
	return body, err
}

// exchange makes an HTTP request and reads the response.
func (w *wire) exchange(method, target, header string, body []byte) ([]byte, error) {
	if err := w.request(method, target, header, body); err != nil {
		return nil, err
	}
	return w.answer()
}

// statusError is an HTTP response with a status other than the expected one.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %.100s", e.status, e.body) }

// upgrade turns the connection into a WebSocket.
func (w *wire) upgrade(target string, deflate bool) error {
	header := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c29haywgc29haywgc29haw==\r\n"
	if deflate {
		header += "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
	}
	if err := w.request("GET", target, header, nil); err != nil {
		return err
	}
	response, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(response.Body)
		return &statusError{response.StatusCode, string(body)}
	}
	w.webSocket = true
	w.deflate = strings.Contains(response.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	return nil
}

// mask is the masking key of all frames. Any key satisfies the protocol.
var mask = [4]byte{0x50, 0xA7, 0x1F, 0xE3}

// appendFrame appends a masked frame. first is its first byte: opcode, FIN (0x80) and RSV1 (0x40).
func appendFrame(b []byte, first byte, payload []byte) []byte {
	b = append(b, first)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// writeRaw writes b without interleaving it with other frames.
func (w *wire) writeRaw(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.Write(b)
	return err
}

// writeFrame writes a message of one frame.
func (w *wire) writeFrame(op byte, payload []byte) error {
	return w.writeRaw(appendFrame(nil, 0x80|op, payload))
}

// errClosedByPeer is returned by readMessage after a close frame.
var errClosedByPeer = errors.New("the server has closed the WebSocket")

// readMessage returns the next text or binary message. It answers control frames that precede it.
func (w *wire) readMessage() (op byte, message []byte, err error) {
	compressed := false
	for {
		first, payload, err := w.readFrame()
		if err != nil {
			return 0, nil, err
		}
		switch first & 0x0F {
		case opPing:
			if err := w.writeFrame(opPong, payload); err != nil {
				return 0, nil, err
			}
			continue
		case opPong:
			continue
		case opClose:
			_ = w.writeFrame(opClose, payload) // the server may be gone
			return 0, nil, errClosedByPeer
		case opText, opBinary:
			op, compressed, message = first&0x0F, first&0x40 != 0, payload
		default:
			message = append(message, payload...)
		}
		if first&0x80 == 0 {
			continue
		}
		if compressed {
			tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
			message, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(message), tail)))
		}
		return op, message, err
	}
}

func (w *wire) readFrame() (first byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(w.r, head[:2]); err != nil {
		return 0, nil, err
	}
	first = head[0]
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(w.r, head[6:])
		size = uint64(binary.BigEndian.Uint16(head[6:]))
	case 127:
		_, err = io.ReadFull(w.r, head[:])
		size = binary.BigEndian.Uint64(head[:])
	}
	if err == nil && size > 64<<20 {
		err = fmt.Errorf("a frame of %d bytes", size)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(w.r, payload)
	return first, payload, err
}

// A compressor takes a millisecond to allocate, and longer with the race detector, which empties a sync.Pool at random.
var compressor = sync.OnceValue(func() *flate.Writer {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
})

// compressing guards compressor.
var compressing sync.Mutex

// compress returns the payload of a compressed message.
func compress(data []byte) []byte {
	compressing.Lock()
	defer compressing.Unlock()
	w := compressor()
	var b bytes.Buffer
	w.Reset(&b)
	_, _ = w.Write(data) // a bytes.Buffer does not fail
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}
