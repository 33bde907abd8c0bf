//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/myriad-rt/myriad/bench/internal/gen"
)

const (
	burst       = 250 // broadcasts per request of a client
	publishers  = 4   // clients that request broadcasts
	patience    = 60 * time.Second
	room        = "far"
	emptyRoom   = "nobody"
	redisMargin = 100 * time.Millisecond
)

// measure carries out all runs for one size of payload.
func (b *bench) measure(r results, size int) error {
	for _, k := range []kind{goNode, nodeNode} {
		if err := b.publishing(r, k, size); err != nil {
			return fmt.Errorf("%s publishes %d bytes: %w", k, size, err)
		}
		if err := b.receiving(r, k, size); err != nil {
			return fmt.Errorf("%s receives %d bytes: %w", k, size, err)
		}
	}
	if err := b.throughput(r, size); err != nil {
		return fmt.Errorf("as many messages of %d bytes as Redis takes: %w", size, err)
	}
	return nil
}

// publishing measures the cost of a broadcast on the publishing node, which has no socket in the room.
func (b *bench) publishing(r results, k kind, size int) error {
	c, err := b.startCluster(k, 0, goNode, otherCore())
	if err != nil {
		return err
	}
	defer c.stop()
	if err := c.broadcast(b.messages/3, size, room); err != nil {
		return err
	}
	before, err := b.published()
	if err != nil {
		return err
	}
	base, err := c.from.cpu()
	if err != nil {
		return err
	}
	if err := c.broadcast(b.messages, size, room); err != nil {
		return err
	}
	used, err := c.from.cpu()
	if err != nil {
		return err
	}
	after, err := b.published()
	if err != nil {
		return err
	}
	r.add(size, figure{"publish", k}, micros(used-base)/float64(b.messages))
	r.add(size, figure{"commands", k}, float64(after-before)/float64(b.messages))
	return nil
}

// receiving measures the cost of another node's broadcast on a node with one socket in the room, and with none.
func (b *bench) receiving(r results, k kind, size int) error {
	c, err := b.startCluster(goNode, otherCore(), k, 0)
	if err != nil {
		return err
	}
	defer c.stop()
	for _, to := range []string{room, emptyRoom} {
		if err := c.broadcast(b.messages/3, size, to); err != nil {
			return err
		}
		base, err := c.to.cpu()
		if err != nil {
			return err
		}
		if err := c.broadcast(b.messages, size, to); err != nil {
			return err
		}
		used, err := c.to.cpu()
		if err != nil {
			return err
		}
		r.add(size, figure{"receive " + to, k}, micros(used-base)/float64(b.messages))
	}
	return nil
}

// throughput measures how many broadcasts per second a Go node publishes while Redis has a core to itself. It also measures
// redis-benchmark and a program that only publishes, with messages of the same size. In each case there is one subscriber.
// redis-benchmark may publish more than Redis buffers for it; Redis then disconnects the subscriber, and the run is counted.
func (b *bench) throughput(r results, size int) error {
	if err := pinSelf(0); err != nil {
		return err
	}
	defer func() { _ = pinSelf(otherCore()) }()
	length, err := b.nodeRate(r, size)
	if err != nil {
		return err
	}
	for _, pipeline := range []int{1, 16} {
		s, err := b.subscribe(length)
		if err != nil {
			return err
		}
		rate, err := b.redisBenchmark(s.channel, length, pipeline)
		if err := errors.Join(err, s.close()); err != nil {
			return err
		}
		r.add(size, figure{fmt.Sprint("pipeline ", pipeline), "redis-benchmark"}, rate)
		lost := 0.0
		if s.lost {
			lost = 1
		}
		r.add(size, figure{fmt.Sprint("lost ", pipeline), "redis-benchmark"}, lost)
	}
	rate, err := b.bareRate(length)
	if err != nil {
		return fmt.Errorf("nothing but publishing: %w", err)
	}
	r.add(size, figure{"rate", bare}, rate)
	return nil
}

// nodeRate measures a node, and returns the length of its messages.
func (b *bench) nodeRate(r results, size int) (length int, err error) {
	c := &cluster{}
	defer c.stop()
	if c.from, err = b.startNode(goNode, 0); err != nil {
		return 0, err
	}
	if c.p, err = newPublisher(c.from.addr); err != nil {
		return 0, err
	}
	if err := c.p.publish(b.messages/3, size, room); err != nil {
		return 0, err
	}
	if length, err = b.messageLength(c.p, size); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := c.p.publish(2*b.messages, size, room); err != nil {
		return 0, err
	}
	r.add(size, figure{"rate", goNode}, float64(2*b.messages)/time.Since(start).Seconds())
	return length, nil
}

// subscriber is a connection that subscribes like a node and discards all messages.
type subscriber struct {
	conn    net.Conn
	channel string // to publish on
	frame   int64  // bytes received per message
	bytes   atomic.Int64
	lost    bool // Redis has closed the connection
	ended   chan struct{}
}

func (b *bench) subscribe(length int) (*subscriber, error) {
	conn, err := net.Dial("tcp", b.redis.addr)
	if err != nil {
		return nil, err
	}
	s := &subscriber{conn: conn, channel: "a channel", ended: make(chan struct{})}
	pattern := s.channel + "*"
	s.frame = int64(len("*4\r\n$8\r\npmessage\r\n" + bulk(pattern) + bulk(s.channel) + bulk(strings.Repeat("x", length))))
	if _, err := fmt.Fprintf(conn, "*2\r\n$10\r\nPSUBSCRIBE\r\n%s", bulk(pattern)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	confirmation := make([]byte, len("*3\r\n$10\r\npsubscribe\r\n"+bulk(pattern)+":1\r\n"))
	if _, err := io.ReadFull(conn, confirmation); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go s.read()
	return s, nil
}

func (s *subscriber) read() {
	defer close(s.ended)
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.conn.Read(buffer)
		s.bytes.Add(int64(n))
		if err != nil {
			s.lost = !errors.Is(err, net.ErrClosed)
			return
		}
	}
}

// close closes the connection, after which lost is set.
func (s *subscriber) close() error {
	// First read everything that Redis sent before it closed the connection.
	for before := int64(-1); before != s.bytes.Load(); {
		before = s.bytes.Load()
		select {
		case <-s.ended:
		case <-time.After(redisMargin):
		}
	}
	err := s.conn.Close()
	<-s.ended
	return err
}

// bulk returns a string as Redis exchanges it.
func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// batchBytes is how much a node hands over to Redis at once, in up to batchSize messages.
const (
	batchBytes = 1 << 20
	batchSize  = 256
)

// bareRate returns how many messages of this length per second a connection publishes that writes the same bytes again and
// again, in batches of the same size as a node's, while a subscriber discards them.
func (b *bench) bareRate(length int) (float64, error) {
	s, err := b.subscribe(length)
	if err != nil {
		return 0, err
	}
	defer s.close()
	conn, err := net.Dial("tcp", b.redis.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	size := max(1, min(batchSize, batchBytes/length))
	batch := []byte(strings.Repeat("*3\r\n$7\r\nPUBLISH\r\n"+bulk(s.channel)+bulk(strings.Repeat("x", length)), size))
	answers := make([]byte, size*len(":1\r\n"))
	start, n := time.Now(), 0
	for ; n < 2*b.messages; n += size {
		if _, err := conn.Write(batch); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, answers); err != nil {
			return 0, err
		}
		// Redis closes a connection if too many bytes wait for it.
		for int64(n)*s.frame-s.bytes.Load() > maxBytes {
			select {
			case <-s.ended:
				return 0, errors.New("the subscriber has lost its connection")
			case <-time.After(50 * time.Microsecond):
			}
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// messageLength returns the length of the message that is published for a broadcast of this size, in bytes.
func (b *bench) messageLength(p *publisher, size int) (int, error) {
	conn, err := net.Dial("tcp", b.redis.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "PSUBSCRIBE *\r\n"); err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(conn)
	// The confirmation of the subscription has six lines. The first is *3.
	for range 6 {
		lines.Scan()
	}
	if err := p.publish(1, size, room); err != nil {
		return 0, err
	}
	// *4, then $8 pmessage, $1 *, and the channel and the message each with its length before it.
	for range 8 {
		lines.Scan()
	}
	var length int
	if _, err := fmt.Sscanf(lines.Text(), "$%d", &length); err != nil {
		return 0, fmt.Errorf("%q is not the length of a message: %w", lines.Text(), errors.Join(err, lines.Err()))
	}
	return length, nil
}

// cluster is two nodes and the clients of the benchmark on each.
type cluster struct {
	from, to *process
	p        *publisher
	r        *receiver
}

// startCluster starts a node that publishes and one that receives, each on a core.
func (b *bench) startCluster(from kind, fromCore int, to kind, toCore int) (_ *cluster, err error) {
	if err := pinSelf(otherCore()); err != nil {
		return nil, err
	}
	c := &cluster{}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if c.to, err = b.startNode(to, toCore); err != nil {
		return nil, err
	}
	if c.from, err = b.startNode(from, fromCore); err != nil {
		return nil, err
	}
	if c.p, err = newPublisher(c.from.addr); err != nil {
		return nil, err
	}
	if c.r, err = newReceiver(c.to.addr); err != nil {
		return nil, err
	}
	return c, c.await()
}

// await broadcasts until the receiver gets a broadcast, because subscribing takes a moment. Each broadcast is different, so that
// one that is merely late is not mistaken for the next.
func (c *cluster) await() error {
	c.r.deaf = true
	defer func() { c.r.deaf = false }()
	size := tagLength
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); size++ {
		c.r.expect(size, 1)
		if err := c.p.publish(1, size, room); err != nil {
			return err
		}
		err := c.r.loop.Until(redisMargin, func() bool { return c.r.count > 0 })
		if err == nil {
			return c.r.loop.Run(redisMargin)
		} else if !errors.Is(err, gen.ErrTimeout) {
			return err
		}
	}
	return errors.New("the nodes do not hear each other")
}

// stop stops the clients first, because a node waits for them.
func (c *cluster) stop() {
	if c.p != nil {
		_ = c.p.loop.Close() // only descriptors
	}
	if c.r != nil {
		_ = c.r.loop.Close()
	}
	for _, p := range []*process{c.from, c.to} {
		if p != nil {
			p.stop()
		}
	}
}

// maxBytes bounds the bytes in flight: Redis disconnects a subscriber if more than 32 MB wait for it.
const maxBytes = 4 << 20

// broadcast has n broadcasts published and returns when the receiver has got all of them, and nothing else. If the room is
// empty, a broadcast to the other room marks the end.
func (c *cluster) broadcast(n, size int, to string) error {
	for left := n; left > 0; {
		part := min(left, max(1, maxBytes/(size+256)))
		want := part
		if to == emptyRoom {
			want = 1
		}
		c.r.expect(size, want)
		received := make(chan error, 1)
		go func() { received <- c.r.wait() }()
		err := c.p.publish(part, size, to)
		if err == nil && to == emptyRoom {
			err = c.p.publish(1, size, room)
		}
		if err := errors.Join(err, <-received); err != nil {
			return err
		}
		left -= part
	}
	return nil
}

// tagLength is the size of the smallest payload.
const tagLength = 16

func payload(size int) string { return strings.Repeat("0123456789abcdef", (size+15)/16)[:size] }

// publisher is the clients that tell a node to publish.
type publisher struct {
	loop    *gen.Loop
	to      string
	data    string
	left    int // broadcasts not yet requested
	waiting int // outstanding answers
}

func newPublisher(addr string) (*publisher, error) {
	p := &publisher{}
	var err error
	if p.loop, err = gen.New(gen.Options{Addr: addr}, p); err != nil {
		return nil, err
	}
	return p, p.loop.Connect(publishers, patience)
}

// publish has n broadcasts published and returns when the node reports that Redis has accepted them.
func (p *publisher) publish(n, size int, to string) error {
	p.left, p.to, p.data = n, to, payload(size)
	for _, c := range p.loop.Clients {
		p.next(c)
	}
	return p.loop.Until(patience, func() bool { return p.waiting == 0 })
}

// next requests the next burst of broadcasts, if any are left.
func (p *publisher) next(c *gen.Conn) {
	count := min(p.left, burst)
	if count == 0 {
		return
	}
	p.left -= count
	p.waiting++
	c.Write(gen.AppendFrame(nil, fmt.Appendf(nil, `421["publish",{"room":%q,"count":%d,"data":%q}]`, p.to, count, p.data), false))
}

func (p *publisher) Message(c *gen.Conn, m []byte, _ bool) error {
	if string(m) != "431[true]" {
		return fmt.Errorf("unexpected message %.200q", m)
	}
	p.waiting--
	p.next(c)
	return nil
}

// receiver is a client that gets the broadcasts.
type receiver struct {
	loop   *gen.Loop
	joined bool
	want   []byte
	count  int
	due    int
	deaf   bool // to anything else
}

func newReceiver(addr string) (*receiver, error) {
	r := &receiver{}
	var err error
	if r.loop, err = gen.New(gen.Options{Addr: addr}, r); err != nil {
		return nil, err
	}
	if err := r.loop.Connect(1, patience); err != nil {
		return nil, err
	}
	r.loop.Clients[0].Write(gen.AppendFrame(nil, fmt.Appendf(nil, `421["join",%q]`, room), false))
	return r, r.loop.Until(patience, func() bool { return r.joined })
}

// expect sets the broadcasts to expect.
func (r *receiver) expect(size, n int) {
	r.want = fmt.Appendf(nil, `42["msg",%q]`, payload(size))
	r.count, r.due = 0, n
}

// wait returns when the expected broadcasts have been received.
func (r *receiver) wait() error {
	if err := r.loop.Until(patience, func() bool { return r.count >= r.due }); err != nil {
		return fmt.Errorf("%d of %d broadcasts have come: %w", r.count, r.due, err)
	}
	return nil
}

func (r *receiver) Message(_ *gen.Conn, m []byte, _ bool) error {
	if !r.joined && string(m) == "431[true]" {
		r.joined = true
		return nil
	}
	if r.deaf && !bytes.Equal(m, r.want) {
		return nil
	}
	if r.count++; !bytes.Equal(m, r.want) || r.count > r.due {
		return fmt.Errorf("unexpected message %.200q", m)
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
