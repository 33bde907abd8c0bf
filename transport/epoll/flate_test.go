package epoll

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/valyala/bytebufferpool"

	"github.com/myriad-rt/myriad/transport"
)

func TestInflateAtTheLimit(t *testing.T) {
	c := newFlateClient(false)
	for _, size := range []int{0, 1, 511, 512, 513, 999, 1000, 1001, 5000} {
		var out bytebufferpool.ByteBuffer
		s := strings.Repeat("a", size)
		err := new(deflate).inflate(&out, []byte(c.deflate(s)), 1000)
		if size > 1000 && err != errTooBig || size <= 1000 && (err != nil || string(out.B) != s) {
			t.Errorf("%d bytes: %d bytes, %v", size, len(out.B), err)
		}
	}
}

// TestInflateFinalBlock uses the message of RFC 7692 section 7.2.3.4.
func TestInflateFinalBlock(t *testing.T) {
	var out bytebufferpool.ByteBuffer
	if err := new(deflate).inflate(&out, []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 1000); err != nil || string(out.B) != "Hello" {
		t.Errorf("%q, %v", out.B, err)
	}
}

// bomb inflates to 1 GiB.
func bomb() string {
	c := newFlateClient(true)
	zeros := make([]byte, 1<<20)
	c.w.Write(zeros)
	c.w.Flush()
	first := c.out.String()
	c.out.Reset()
	c.w.Write(zeros)
	c.w.Flush()
	return first + strings.Repeat(c.out.String(), 1<<10-1)
}

func TestInflateBomb(t *testing.T) {
	const limit = 2e6
	payload := []byte(bomb())
	var out bytebufferpool.ByteBuffer
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := new(deflate).inflate(&out, payload, limit)
	runtime.ReadMemStats(&after)
	if err != errTooBig {
		t.Errorf("%d bytes, %v", len(out.B), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 10*limit+uint64(len(payload)) {
		t.Errorf("%d bytes were allocated", n)
	}

	deflateKinds(t, PerMessageDeflate{}, func(t *testing.T, k kind) {
		k.options.MaxMessageBytes = limit
		ts := serve(t, k, echo)
		c := ts.dialDeflate(t, browserOffer, "permessage-deflate")
		c.send(compressedFrame(true, transport.OpBinary, string(payload)))
		c.expect("opcode 8 03 f1")
	})
}

// TestDeflateWindow checks that there are no references outside the window.
func TestDeflateWindow(t *testing.T) {
	for bits := minWindowBits; bits <= maxWindowBits; bits++ {
		d := newDeflater(&PerMessageDeflate{Level: 1}, bits)
		for _, distance := range []int{1 << bits / 2, 1<<bits + 100} {
			unit := noise(distance)
			n := len(d.appendPayload(nil, []byte(unit+unit), nil))
			if inside := distance < 1<<bits && distance < 1<<15; inside != (n < len(unit)*3/2) {
				t.Errorf("%d bits: a repetition at distance %d is compressed to %d bytes", bits, distance, n)
			}
		}
	}
}

func TestDeflateIsSmall(t *testing.T) {
	const limit = 64
	if n := unsafe.Sizeof(deflate{}); n > limit {
		t.Errorf("the state of a connection has %d bytes, more than %d", n, limit)
	}
}

func TestSlide(t *testing.T) {
	var window, all []byte
	for n := range 100 {
		b := []byte(noise(n * n % 37))
		all = append(all, b...)
		window = slide(window, b, 64)
		if want := all[max(0, len(all)-64):]; !bytes.Equal(window, want) || cap(window) > 64 {
			t.Fatalf("window is % x with capacity %d, want % x", window, cap(window), want)
		}
	}
}

// TestDeflateKeepsContextsOnly checks the memory that a connection holds between messages.
func TestDeflateKeepsContextsOnly(t *testing.T) {
	long := strings.Repeat("kept ", 20_000)
	exchange := func(e *extension) *Conn {
		c := newServerConn(t, PerMessageDeflate{}, e)
		client := newFlateClient(e.value[clientNoContextTakeover] == 0)
		c.state.Or(started)
		for range 3 {
			c.SendText(long)
			c.feed(compressedFrame(true, transport.OpText, client.deflate(long)))
		}
		if n := len(c.carrier().(*transcriber).events); n != 3 || c.in != nil || c.out != nil {
			t.Fatalf("%d messages", n)
		}
		return c
	}
	if d := exchange(withoutTakeover()).deflate; d.sent != nil || d.received != nil {
		t.Error("context is kept without take-over")
	}
	c := exchange(new(extension))
	if d := c.deflate; cap(d.sent) > maxSent || cap(d.received) > 1<<15 || len(d.received) != 1<<15 {
		t.Errorf("%d and %d bytes of context", cap(d.sent), cap(d.received))
	}
	small := new(extension)
	small.set(serverMaxWindowBits, 10)
	small.set(clientMaxWindowBits, 11)
	c = exchange(small)
	if d := c.deflate; cap(d.sent) > 1<<10 || cap(d.received) > 1<<11 {
		t.Errorf("small windows: %d and %d bytes of context", cap(d.sent), cap(d.received))
	}

	deflateKinds(t, PerMessageDeflate{}, func(t *testing.T, k kind) {
		ts := serve(t, k, echo)
		c := ts.dialDeflate(t, browserOffer, "permessage-deflate")
		conn := <-ts.conns
		c.sendCompressed(transport.OpText, "4")
		c.expect("compressed text 4")
		c.Close()
		eventually(t, "closed", func() bool { return ts.Stats().Open == 0 })
		ts.Server.Close() // the reader has ended
		conn.mu.Lock()
		defer conn.mu.Unlock()
		if d := conn.deflate; d.sent != nil || d.received != nil {
			t.Error("context is kept after the end")
		}
	})
}

// FuzzInflate compares inflate with the standard library.
func FuzzInflate(f *testing.F) {
	c := newFlateClient(true)
	f.Add([]byte(c.deflate("4hello hello hello")), []byte("hello"))
	f.Add([]byte(c.deflate("4hello hello hello")), []byte("4hello hello hello"))
	f.Add([]byte(c.deflate(noise(300))), []byte(nil))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []byte(nil))
	f.Add([]byte("\x00"), []byte(nil))
	f.Add([]byte("\xff\xff\xff\xff"), []byte("x"))
	f.Fuzz(func(t *testing.T, payload, window []byte) {
		const limit = 1 << 16
		window = window[max(0, len(window)-1<<15):]
		d := &deflate{clientTakeover: true, receivedLimit: 1 << 15, received: slices.Clone(window)}
		var out bytebufferpool.ByteBuffer
		got := d.inflate(&out, payload, limit)
		if len(payload) == 0 {
			return
		}
		want, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(strings.NewReader(string(payload)+tail), window), limit+1))
		switch {
		case len(want) > limit:
			if got != errTooBig {
				t.Errorf("%v, but there are more than %d bytes", got, limit)
			}
		case err != nil:
			if got != errDeflate {
				t.Errorf("%v, want the equivalent of %v", got, err)
			}
		case got != nil || !bytes.Equal(out.B, want):
			t.Errorf("%d bytes and %v, want %d bytes", len(out.B), got, len(want))
		default:
			all := append(window, want...)
			if !bytes.Equal(d.received, all[max(0, len(all)-1<<15):]) {
				t.Error("wrong context is kept")
			}
		}
	})
}

// FuzzDeflate sends messages cut out of data and inflates them with the standard library.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("4hello hello hello"), []byte{3, 4, 5}, byte(15), byte(1), true)
	f.Add(bytes.Repeat([]byte("context "), 2000), bytes.Repeat([]byte{255}, 60), byte(9), byte(1), true)
	f.Add([]byte(noise(3000)), []byte{0, 100, 255, 255}, byte(8), byte(9), false)
	f.Fuzz(func(t *testing.T, data, lengths []byte, bits, level byte, takeover bool) {
		e := new(extension)
		e.set(serverMaxWindowBits, minWindowBits+int(bits)%(maxWindowBits-minWindowBits+1))
		if !takeover {
			e.set(serverNoContextTakeover, stated)
		}
		c := newServerConn(t, PerMessageDeflate{Level: int(level % 10), Threshold: -1}, e)
		c.state.Or(started)
		peer := &deflateConn{client: &client{t: t}, server: takeover}
		tr := c.carrier().(*transcriber)
		for _, n := range lengths {
			m := data[:min(len(data), int(n)*16)]
			data = data[len(m):]
			c.SendText(string(m))
			peer.r = bufio.NewReader(bytes.NewReader(tr.written))
			peer.expect("compressed text " + string(m))
			tr.written = tr.written[:0]
		}
	})
}

// BenchmarkDeflateMemory reports the memory held by a connection after 100 KB in each direction.
func BenchmarkDeflateMemory(b *testing.B) {
	message := "4" + strings.Repeat(`["update",{"id":12345,"price":17.25}]`, 27)
	for _, test := range []struct {
		name string
		e    *extension
	}{
		{"off", nil},
		{"both without take-over", withoutTakeover()},
		{"server without take-over", func() *extension { e := new(extension); e.set(serverNoContextTakeover, stated); return e }()},
		{"client without take-over", func() *extension { e := new(extension); e.set(clientNoContextTakeover, stated); return e }()},
		{"both with take-over", new(extension)},
	} {
		b.Run(test.name, func(b *testing.B) {
			template := newServerConn(b, PerMessageDeflate{}, new(extension))
			s := template.carrier().server()
			null := &nullCarrier{sink{owner: s}}
			conns := make([]*Conn, 0, b.N)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for range b.N {
				c := &Conn{by: carriedBy(null), handler: null}
				c.state.Or(started)
				if test.e != nil {
					c.deflate = s.newDeflate(test.e)
				}
				client := newFlateClient(test.e != nil && test.e.value[clientNoContextTakeover] == 0)
				for range 100 {
					c.SendText(message)
					if test.e == nil {
						c.feed(text(message))
					} else {
						c.feed(compressedFrame(true, transport.OpText, client.deflate(message)))
					}
				}
				conns = append(conns, c)
			}
			runtime.GC()
			runtime.GC() // the second empties pools
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(conns)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(b.N), "B/conn")
		})
	}
}

// nullCarrier is a sink that keeps nothing.
type nullCarrier struct{ sink }

func (*nullCarrier) write(_ *Conn, b []byte) (int, error) { return len(b), nil }

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{150, 1500, 16_000} {
		message := "4" + strings.Repeat(`["update",{"id":12345,"price":17.25}]`, size/37)
		for _, takeover := range []bool{false, true} {
			e := withoutTakeover()
			if takeover {
				e = new(extension)
			}
			b.Run(fmt.Sprintf("bytes=%d/takeover=%v/send", size, takeover), func(b *testing.B) {
				template := newServerConn(b, PerMessageDeflate{Threshold: -1}, e)
				null := &nullCarrier{sink{owner: template.carrier().server()}}
				c := &Conn{by: carriedBy(null), deflate: template.deflate}
				c.state.Or(started)
				b.ReportAllocs()
				for b.Loop() {
					c.SendText(message)
				}
			})
			b.Run(fmt.Sprintf("bytes=%d/takeover=%v/receive", size, takeover), func(b *testing.B) {
				c := newServerConn(b, PerMessageDeflate{}, e)
				null := &nullCarrier{sink{owner: c.carrier().server()}}
				c.by, c.handler = carriedBy(null), null
				input := compressedFrame(true, transport.OpText, newFlateClient(false).deflate(message))
				piece := make([]byte, len(input))
				b.ReportAllocs()
				for b.Loop() {
					copy(piece, input)
					c.feed(piece)
				}
			})
		}
	}
}
