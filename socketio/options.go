package socketio

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/engineio"
	"github.com/myriad-rt/myriad/socketio/parser"
)

// Options configure a Server. The zero value of each field is its default. Functions may be called from
// any number of goroutines at once, and may block.
type Options struct {
	// Path is what the path of a request has to begin with; one "/" at its end does not matter.
	// "" means "/socket.io". Node.js: path.
	Path string
	// DisableTrailingSlash lets Path match without a "/" behind it. Node.js: addTrailingSlash: false.
	DisableTrailingSlash bool
	// NotFound answers requests outside Path. Nil means 404. It must not route requests back to the Server.
	NotFound http.Handler
	// ClientFiles, if not nil, holds the files of the client for browsers, as they are in the folder dist of
	// the npm package socket.io-client; they are served under Path, as "/socket.io/socket.io.js" and so
	// on. Node.js: serveClient.
	ClientFiles fs.FS

	// ConnectTimeout is how long a client may take to join its first namespace. Zero means 45 s.
	// Node.js: connectTimeout.
	ConnectTimeout time.Duration
	// MaxNamespaces is how many namespaces one client may be in, with those about which a function is deciding. Zero
	// means 1000, negative that there is no bound; a client that asks for more is refused with CONNECT_ERROR. The
	// reference has no limit.
	MaxNamespaces int
	// MaxDynamicNamespaces is how many namespaces that a pattern or function has allowed may exist at a time. Zero means
	// 10,000, negative that there is no bound; clients that ask for more are refused with CONNECT_ERROR. Without
	// DropEmptyNamespaces dynamic namespaces stay, and all that were ever asked for count. The reference has no limit.
	MaxDynamicNamespaces int
	// MaxUnhandledBytes is how many bytes of events may wait for the handlers of one client, estimated as 256 for each event
	// beside its payload. Beyond that the client is not read until all of them have been handled, which slows it down and
	// loses nothing. While an acknowledgement of the client is awaited, 16 times as many may wait, since it may come
	// behind them. Zero means 1 MiB; more than 1 GiB is 1 GiB. The reference has no limit.
	MaxUnhandledBytes int
	// Parser encodes and decodes packets; clients must use the same. Nil means parser.Default. Node.js: parser.
	Parser parser.Parser
	// Adapter makes the adapter of each namespace. Nil means adapter.NewMemory. Node.js: adapter.
	Adapter adapter.Factory

	// Recovery, if not nil, lets clients that lose their connection resume their session: its id, rooms and
	// data, and the events that they have missed. The adapter has to be able to. Node.js: connectionStateRecovery.
	Recovery *Recovery
	// DropEmptyNamespaces forgets a dynamic namespace when its last socket has gone. Node.js:
	// cleanupEmptyChildNamespaces.
	DropEmptyNamespaces bool

	// Transports lists the enabled transports. Nil means engineio.Polling and engineio.WebSocket.
	// Node.js: transports.
	Transports []string
	// DisableUpgrades does not tell polling clients of WebSocket. Node.js: allowUpgrades: false.
	DisableUpgrades bool
	// PingInterval is how long after the last pong the next ping is sent. Zero means 25 s. Node.js: pingInterval.
	PingInterval time.Duration
	// PingTimeout is how long a client may take to answer a ping. Zero means 20 s. Node.js: pingTimeout.
	PingTimeout time.Duration
	// UpgradeTimeout is how long a client may take to upgrade its transport. Zero means 10 s.
	// Node.js: upgradeTimeout.
	UpgradeTimeout time.Duration
	// MaxHTTPBufferSize is the size in bytes of the largest message, and of the largest body of a POST, that is
	// accepted. Zero means 1,000,000. Node.js: maxHttpBufferSize.
	MaxHTTPBufferSize int
	// BodyTimeout is how long the body of a POST may take to arrive. A client that takes longer is answered 408 and
	// loses its session. Zero means 30 s. Node.js: httpRequestBodyTimeout.
	BodyTimeout time.Duration
	// MaxBodyPieces is how many pieces, as reads return them, the body of a POST may arrive in. After one more the
	// client is answered 413 and loses its session. Zero means 10,000. Node.js: maxBufferedChunks.
	MaxBodyPieces int
	// MaxQueuedBytes is how many bytes may wait for a client that does not read; one more closes its
	// connection. Zero means 64 MiB. The reference has no limit.
	MaxQueuedBytes int
	// MaxQueuedBytesTotal is how many bytes may wait for all clients together. Beyond it, the clients with the most
	// bytes waiting are disconnected, as by MaxQueuedBytes, until an eighth of the limit is free. A message that was
	// sent to many counts once. Zero means a quarter of the memory that the process may use, by GOMEMLIMIT, its control
	// group and the machine; negative means no limit. Packets kept for recovery and messages for other nodes have
	// limits of their own. The reference has no limit.
	MaxQueuedBytesTotal int64

	// AllowEIO3 serves clients of Engine.IO protocol v3 too, which are those of Socket.IO v1 and v2.
	// Node.js: allowEIO3.
	AllowEIO3 bool
	// AllowRequest may refuse a handshake by returning an error, whose text the client is told. It is not
	// asked about later requests of a session. Node.js: allowRequest.
	AllowRequest func(r *http.Request) error
	// GenerateID makes the id of a session, which has to be unique and impossible to guess. Nil means 15 bytes in
	// URL-safe base64, 12 of them random. Node.js: io.engine.generateId.
	GenerateID func(r *http.Request) (string, error)
	// InitialPacket, a shared message, is sent directly behind the open packet. Node.js: initialPacket.
	InitialPacket *Message
	// Cookie, if not nil, sets a cookie with the id of the session on its first response. Node.js: cookie.
	Cookie *Cookie
	// CORS, if not nil, answers what browsers ask before they let pages of other origins in. Node.js: cors.
	CORS *CORS
	// CORSFunc is asked for each request instead of CORS; nil means that CORS does not apply to it.
	CORSFunc func(r *http.Request) (*CORS, error)
	// HTTPCompression says which responses to polls are compressed. Node.js: httpCompression.
	HTTPCompression HTTPCompression
	// PerMessageDeflate, if not nil, compresses messages over WebSocket for clients that offer it. Node.js:
	// perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate
	// OnInitialHeaders may change the header of the first response of a session, OnHeaders that of each response to
	// a poll or POST, and of the answer to a WebSocket handshake. Node.js: events initial_headers and
	// headers of io.engine.
	OnInitialHeaders func(h http.Header, r *http.Request)
	OnHeaders        func(h http.Header, r *http.Request)
	// OnConnectionError is told of each request that is refused. Node.js: event connection_error of io.engine.
	OnConnectionError func(e *ConnectionError)
	// Value is called with the request that opens a session, behind all middleware; Session.Value returns
	// what it returned. It keeps what middleware has found out about a client.
	Value func(r *http.Request) any
	// Hooks observe all sessions. Nil costs nothing. Node.js: events of socket.conn.
	Hooks *Hooks

	// IdleTimeout is how long an HTTP connection of ListenAndServe may wait for the next request. Zero means 75 s, which is
	// more than reverse proxies usually keep theirs, and negative means for ever. Node.js: keepAliveTimeout of
	// http.Server.
	IdleTimeout time.Duration
	// TLSConfig is for ListenAndServeTLS and ServeTLS, for example to ask clients for certificates. It is not changed. Nil
	// means the defaults of package tls.
	TLSConfig *tls.Config
	// ReusePort lets several processes listen on one port with ListenAndServe and ListenAndServeTLS, all of which have to set
	// it (SO_REUSEPORT); the kernel gives each connection to one of them. It is for clients that use WebSocket only:
	// the requests of a polling client would reach different processes. Other systems than Unix return errors.ErrUnsupported.
	ReusePort bool
	// Loops is the number of event loops for WebSocket connections. Zero means runtime.GOMAXPROCS.
	Loops int
	// DisableEpoll serves WebSocket connections with goroutines also where epoll could be used.
	DisableEpoll bool
	// Logger is told of faults, and at level debug of what clients do. Nil means slog.Default().
	Logger *slog.Logger
}

// Recovery configures connection state recovery. Its zero value gives the defaults. The bounds on bytes and sessions
// are those of a node's own memory: adapters that keep sessions and packets elsewhere have bounds of their own.
type Recovery struct {
	// MaxDisconnection is how long sessions and packets are kept. Zero means two minutes. Node.js:
	// connectionStateRecovery.maxDisconnectionDuration.
	MaxDisconnection time.Duration
	// MaxBytes bounds the payload bytes of the packets that are kept for one namespace; the oldest go first. Zero
	// means 64 MiB. The reference has no limit.
	MaxBytes int
	// MaxSessions bounds the sessions that are kept for one namespace; those that were lost first go first. Zero
	// means 1,000,000. The reference has no limit.
	MaxSessions int
	// RunMiddleware runs middleware also for sockets that resume a session. Node.js: skipMiddlewares: false.
	RunMiddleware bool
}

// kept returns the options for adapters, nil if recovery is off.
func (r *Recovery) kept() *adapter.RecoveryOptions {
	if r == nil {
		return nil
	}
	return &adapter.RecoveryOptions{MaxDisconnection: r.MaxDisconnection, MaxBytes: r.MaxBytes, MaxSessions: r.MaxSessions}
}

const (
	defaultPath           = "/socket.io"
	defaultConnectTimeout = 45 * time.Second
	defaultMaxNamespaces  = 1000
	defaultMaxDynamic     = 10_000
	defaultMaxUnhandled   = 1 << 20
	defaultIdleTimeout    = 75 * time.Second
)

// withDefaults returns a copy of o in which what this package uses itself is set.
func (o *Options) withDefaults() *Options {
	c := new(Options)
	if o != nil {
		*c = *o
	}
	if c.Path == "" {
		c.Path = defaultPath
	}
	if c.NotFound == nil {
		c.NotFound = http.NotFoundHandler()
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = defaultConnectTimeout
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = defaultIdleTimeout
	}
	if c.MaxNamespaces == 0 {
		c.MaxNamespaces = defaultMaxNamespaces
	}
	if c.MaxDynamicNamespaces == 0 {
		c.MaxDynamicNamespaces = defaultMaxDynamic
	}
	if c.MaxUnhandledBytes == 0 {
		c.MaxUnhandledBytes = defaultMaxUnhandled
	}
	if c.Parser == nil {
		c.Parser = parser.Default
	}
	if c.Adapter == nil {
		c.Adapter = func(n adapter.Namespace) adapter.Adapter { return adapter.NewMemory(n, nil) }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// engine returns the options of the layer below.
func (o *Options) engine(onSession func(*engineio.Session) engineio.Handler) *engineio.Options {
	return &engineio.Options{
		OnSession:            onSession,
		Path:                 o.Path,
		DisableTrailingSlash: o.DisableTrailingSlash,
		Transports:           o.Transports,
		DisableUpgrades:      o.DisableUpgrades,
		PingInterval:         o.PingInterval,
		PingTimeout:          o.PingTimeout,
		UpgradeTimeout:       o.UpgradeTimeout,
		MaxHTTPBufferSize:    o.MaxHTTPBufferSize,
		BodyTimeout:          o.BodyTimeout,
		MaxBodyPieces:        o.MaxBodyPieces,
		MaxQueuedBytes:       o.MaxQueuedBytes,
		MaxQueuedBytesTotal:  o.MaxQueuedBytesTotal,
		AllowEIO3:            o.AllowEIO3,
		AllowRequest:         o.AllowRequest,
		GenerateID:           o.GenerateID,
		InitialPacket:        o.InitialPacket,
		Cookie:               o.Cookie,
		CORS:                 o.CORS,
		CORSFunc:             o.CORSFunc,
		HTTPCompression:      o.HTTPCompression,
		PerMessageDeflate:    o.PerMessageDeflate,
		OnInitialHeaders:     o.OnInitialHeaders,
		OnHeaders:            o.OnHeaders,
		OnConnectionError:    o.OnConnectionError,
		Value:                o.Value,
		Hooks:                o.Hooks,
		Loops:                o.Loops,
		DisableEpoll:         o.DisableEpoll,
		Logger:               o.Logger,
	}
}
