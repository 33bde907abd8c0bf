package soak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	redisadapter "github.com/myriad-rt/myriad/adapter/redis"
	"github.com/myriad-rt/myriad/engineio"
	enginepacket "github.com/myriad-rt/myriad/engineio/packet"
	"github.com/myriad-rt/myriad/socketio"
)

// node is a server of the round.
type node struct {
	index  int
	server *socketio.Server
	addr   string
	secure *tls.Config // for clients; nil without TLS
	web    *http.Server
	served chan error
	redis  *redis.Client
}

// start starts the node with this index.
func (r *round) start(index int) (*node, error) {
	p := r.plan
	n := &node{index: index, served: make(chan error, 1)}
	n.server = socketio.NewServer(r.options(n))
	r.install(n)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return n, err
	}
	n.addr = l.Addr().String()
	var s interface {
		Serve(net.Listener) error
		ServeTLS(l net.Listener, certFile, keyFile string) error
	} = n.server
	if !p.own {
		n.web = &http.Server{
			Handler: n.server, IdleTimeout: p.idle, ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
		}
		s = n.web
	}
	if p.secure {
		n.secure = r.soak.secure
		go func() { n.served <- s.ServeTLS(l, r.soak.certFile, r.soak.keyFile) }()
	} else {
		go func() { n.served <- s.Serve(l) }()
	}
	return n, nil
}

func (r *round) options(n *node) *socketio.Options {
	p := r.plan
	o := &socketio.Options{
		ConnectTimeout:      connectTimeout,
		PingInterval:        p.pingInterval,
		PingTimeout:         p.pingTimeout,
		UpgradeTimeout:      5 * time.Second,
		IdleTimeout:         p.idle,
		MaxHTTPBufferSize:   p.maxPayload,
		MaxQueuedBytes:      p.maxQueued,
		AllowEIO3:           p.oldToo,
		HTTPCompression:     socketio.HTTPCompression{Threshold: p.threshold},
		DropEmptyNamespaces: true,
		DisableEpoll:        !p.epoll,
		Loops:               p.loops,
		Logger:              slog.New(&logHandler{round: r}),
	}
	if p.deflate {
		o.PerMessageDeflate = new(socketio.PerMessageDeflate)
	}
	if p.recovery {
		o.Recovery = new(socketio.Recovery)
		o.Recovery.MaxDisconnection = p.kept
	}
	if p.requests {
		o.AllowRequest = func(*http.Request) error { return nil }
		o.Value = func(r *http.Request) any { return r.RemoteAddr }
	}
	if p.hooks {
		o.Hooks = r.hooks(n)
	}
	if p.nodes > 1 {
		n.redis = redis.NewClient(&redis.Options{Addr: r.soak.redis.Addr, PoolSize: redisPool, MinIdleConns: redisPool})
		if p.sharded {
			o.Adapter = redisadapter.NewSharded(n.redis, nil)
		} else {
			o.Adapter = redisadapter.New(n.redis, nil)
		}
	}
	return o
}

const (
	connectTimeout = 2 * time.Second
	// redisPool is the number of a node's connections to Redis, not counting those that receive.
	redisPool = 4
)

// hooks returns hooks that emit, which would deadlock if one of them were called with a lock held.
func (r *round) hooks(n *node) *socketio.Hooks {
	inside := func(*socketio.Session) { r.emitInside(n) }
	return &socketio.Hooks{
		Open: func(s *socketio.Session) {
			r.live.Add(1)
			runtime.AddCleanup(s, func(live *atomic.Int64) { live.Add(-1) }, r.live)
			r.fine(n.server.To(quietRoom).Emit("opened"))
		},
		Close:        func(s *socketio.Session, _ engineio.CloseReason, _ error) { r.fine(n.server.Emit("closed", s.ID())) },
		Packet:       func(*socketio.Session, enginepacket.Packet) { r.emitInside(n) },
		PacketCreate: func(*socketio.Session, enginepacket.Packet) { r.emitInside(n) },
		Flush:        inside,
		Drain:        inside,
		Upgrading:    inside,
		Upgrade:      func(s *socketio.Session) { r.fine(n.server.Volatile().Emit("upgraded", s.ID(), noOffset)) },
		Heartbeat:    func(*socketio.Session) { r.fine(n.server.To(quietRoom).Volatile().Emit("heartbeat")) },
	}
}

// emitInside broadcasts to an empty room in every 20th call, so that hooks that call it do not trigger themselves for ever.
func (r *round) emitInside(n *node) {
	if r.inside.Add(1)%20 == 0 {
		r.fine(n.server.To("nobody").Emit("inside"))
	}
}

// stop stops the node.
func (n *node) stop(graceful bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	if graceful {
		errs = append(errs, n.server.Shutdown(ctx))
	} else {
		errs = append(errs, n.server.Close())
	}
	if n.web != nil {
		errs = append(errs, n.web.Close())
	}
	if n.addr != "" {
		select {
		case err := <-n.served:
			if !errors.Is(err, http.ErrServerClosed) {
				errs = append(errs, fmt.Errorf("unexpected result of Serve: %w", err))
			}
		case <-ctx.Done():
			errs = append(errs, errors.New("no return from Serve"))
		}
	}
	if n.redis != nil {
		errs = append(errs, n.redis.Close())
	}
	return errors.Join(errs...)
}

// measure returns the resources that the nodes hold.
func (r *round) measure() gauges {
	g := gauges{
		"handlers":       len(r.handlers.present(time.Now())),
		goroutinesGauge:  runtime.NumGoroutine(),
		descriptorsGauge: descriptors() - int(r.open.Load()),
	}
	for _, n := range r.nodes {
		stats := n.server.Engine().Stats()
		g["sessions"] += stats.Sessions
		g["WebSocket connections"] += int(stats.WebSocket.Open)
		g["queued bytes"] += max(int(stats.QueuedBytes), -int(stats.QueuedBytes)) // fewer than none are as wrong
		for _, ns := range n.server.Namespaces() {
			g["namespaces"]++
			g["sockets"] += len(ns.Sockets())
			g["rooms"] += len(ns.Rooms())
		}
	}
	if r.plan.nodes > 1 {
		r.measureRedis(g)
	}
	return g
}

// measureRedis adds the subscriptions that Redis knows of.
func (r *round) measureRedis(g gauges) {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	client := r.nodes[0].redis
	channels, err := client.PubSubChannels(ctx, "*").Result()
	if err == nil && len(channels) > 0 {
		var counts map[string]int64
		counts, err = client.PubSubNumSub(ctx, channels...).Result()
		for channel, n := range counts {
			g["subscribers of "+channel] = int(n)
		}
	}
	var shards []string
	if err == nil {
		shards, err = client.PubSubShardChannels(ctx, "*").Result()
	}
	if err == nil && len(shards) > 0 {
		var counts map[string]int64
		counts, err = client.PubSubShardNumSub(ctx, shards...).Result()
		for channel, n := range counts {
			g["subscribers of shard channel "+channel] = int(n)
		}
	}
	var patterns int64
	if err == nil {
		patterns, err = client.PubSubNumPat(ctx).Result()
		g["patterns"] = int(patterns)
	}
	if err != nil && r.ctx.Err() == nil {
		r.fail("Redis does not answer: %v", err)
	}
}

// logHandler receives the logs of the servers. An error fails the round unless a client caused it on purpose.
type logHandler struct {
	round *round
	attrs string
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (h *logHandler) Handle(_ context.Context, record slog.Record) error {
	text := record.Message + h.attrs
	onPurpose := strings.Contains(record.Message, "runtime.Goexit")
	record.Attrs(func(a slog.Attr) bool {
		value := a.Value.String()
		onPurpose = onPurpose || value == purpose || value == "runtime.Goexit"
		text += " " + a.Key + "=" + value
		return true
	})
	switch {
	case onPurpose:
	case record.Level >= slog.LevelError:
		h.round.fail("the server has logged an error: %s", text)
	default:
		h.round.warn(text)
	}
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += " " + a.String()
	}
	return &c
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }

// newCertificate writes a self-signed certificate and its key, and returns a configuration for clients that trusts it.
func newCertificate(tb testing.TB) (certFile, keyFile string, trusting *tls.Config) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0), DNSNames: []string{"soak"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for _, f := range []struct{ name, kind, bytes string }{
		{certFile, "CERTIFICATE", string(cert)}, {keyFile, "PRIVATE KEY", string(private)},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: []byte(f.bytes)})
		if err := os.WriteFile(f.name, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	trusted, err := x509.ParseCertificate(cert)
	if err != nil {
		tb.Fatal(err)
	}
	roots.AddCert(trusted)
	return certFile, keyFile, &tls.Config{RootCAs: roots, ServerName: "soak", NextProtos: []string{"http/1.1"}}
}

// purpose is the value that handlers panic with.
const purpose = "soak: on purpose"
