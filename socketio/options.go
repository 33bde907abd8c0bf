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

// Options configure a Server. The zero value of each field is its default. Functions are called concurrently, and may
// block.
type Options struct {
	// Path is the prefix of the paths that are served. A trailing "/" is ignored. "" means "/socket.io". Node.js: path.
	Path string
	// DisableTrailingSlash makes Path match without a trailing "/". Node.js: addTrailingSlash: false.
	DisableTrailingSlash bool
	// NotFound serves requests outside Path. Nil means a response with status 404. It must not route requests back to
	// the Server.
	NotFound http.Handler
	// ClientFiles, if not nil, contains the client files for browsers: the directory dist of the npm package
	// socket.io-client. They are served below Path, for example as "/socket.io/socket.io.js". Node.js: serveClient.
	ClientFiles fs.FS

	// ConnectTimeout is the time in which a client must join its first namespace. Zero means 45 s. Node.js:
	// connectTimeout.
	ConnectTimeout time.Duration
	// MaxNamespaces is the maximum number of namespaces of one client, including those it is joining. Further ones are
	// refused with CONNECT_ERROR. Zero means 1000; negative means no limit, as in the reference.
	MaxNamespaces int
	// MaxDynamicNamespaces is the maximum number of namespaces created by patterns and functions. Further ones are
	// refused with CONNECT_ERROR. Without DropEmptyNamespaces, empty ones count as well. Zero means 10,000; negative
	// means no limit, as in the reference.
	MaxDynamicNamespaces int
	// MaxUnhandledBytes is the maximum size of the events that wait for the handlers of one client, estimated as 256
	// bytes and the payload of each. When it is exceeded, the server does not read from the client until all of them
	// have been handled; nothing is lost. While an acknowledgement of the client is awaited, 16 times as much may wait,
	// because the acknowledgement may arrive behind the events. Zero means 1 MiB; the maximum is 1 GiB. The reference
	// has no limit.
	MaxUnhandledBytes int
	// Parser encodes and decodes packets; clients must use the same one. Nil means parser.Default. Node.js: parser.
	Parser parser.Parser
	// Adapter returns the adapter for a namespace. Nil means adapter.NewMemory. Node.js: adapter.
	Adapter adapter.Factory

	// Recovery, if not nil, lets clients that lose their connection resume their session with its id, rooms, data and
	// missed events. The adapter must support it. Node.js: connectionStateRecovery.
	Recovery *Recovery
	// DropEmptyNamespaces removes a dynamic namespace when its last socket has left. Node.js:
	// cleanupEmptyChildNamespaces.
	DropEmptyNamespaces bool

	// Transports lists the enabled transports. Nil means engineio.Polling and engineio.WebSocket.
	// Node.js: transports.
	Transports []string
	// DisableUpgrades does not announce WebSocket to polling clients. Node.js: allowUpgrades: false.
	DisableUpgrades bool
	// PingInterval is the time between a pong and the next ping. Zero means 25 s. Node.js: pingInterval.
	PingInterval time.Duration
	// PingTimeout is the time in which a client must answer a ping. Zero means 20 s. Node.js: pingTimeout.
	PingTimeout time.Duration
	// UpgradeTimeout is the time in which a client must complete an upgrade. Zero means 10 s. Node.js: upgradeTimeout.
	UpgradeTimeout time.Duration
	// MaxHTTPBufferSize is the maximum size in bytes of a message and of the body of a POST. Zero means 1,000,000.
	// Node.js: maxHttpBufferSize.
	MaxHTTPBufferSize int
	// BodyTimeout is the time in which the body of a POST must arrive. Otherwise the response is 408, and the session
	// ends. Zero means 30 s. Node.js: httpRequestBodyTimeout.
	BodyTimeout time.Duration
	// MaxBodyPieces is the maximum number of pieces in which the body of a POST may arrive. A piece is the result of
	// one read. If there are more, the response is 413, and the session ends. Zero means 10,000. Node.js:
	// maxBufferedChunks.
	MaxBodyPieces int
	// MaxQueuedBytes is the maximum number of bytes queued for a client that does not read. Exceeding it closes the
	// connection. Zero means 64 MiB. The reference has no limit.
	MaxQueuedBytes int
	// MaxQueuedBytesTotal is the maximum number of bytes queued for all clients. If it is exceeded, the clients with
	// the most queued bytes are disconnected until an eighth of the limit is free. A message sent to many clients
	// counts once. Zero means a quarter of the memory available to the process, according to GOMEMLIMIT, its control
	// group and the machine. Negative means no limit, as in the reference. Packets kept for recovery, and messages for
	// other nodes, have separate limits.
	MaxQueuedBytesTotal int64

	// AllowEIO3 also serves clients of Engine.IO protocol v3, that is, of Socket.IO v1 and v2. Node.js: allowEIO3.
	AllowEIO3 bool
	// AllowRequest may refuse a handshake by returning an error, whose text is sent to the client. It is not called for
	// later requests of a session. Node.js: allowRequest.
	AllowRequest func(r *http.Request) error
	// GenerateID generates session ids, which must be unique and unguessable. Nil means 15 bytes in URL-safe base64, 12
	// of them random. Node.js: io.engine.generateId.
	GenerateID func(r *http.Request) (string, error)
	// InitialPacket, a shared message, is sent directly after the open packet. Node.js: initialPacket.
	InitialPacket *Message
	// Cookie, if not nil, sets a cookie with the session id on the first response. Node.js: cookie.
	Cookie *Cookie
	// CORS, if not nil, enables cross-origin requests and answers preflights. Node.js: cors.
	CORS *CORS
	// CORSFunc, if set, selects the policy for each request and overrides CORS. A nil policy means that CORS does not
	// apply.
	CORSFunc func(r *http.Request) (*CORS, error)
	// HTTPCompression selects the responses to polls that are compressed. Node.js: httpCompression.
	HTTPCompression HTTPCompression
	// PerMessageDeflate, if not nil, compresses WebSocket messages for clients that offer it. Node.js:
	// perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate
	// OnInitialHeaders may change the header of the first response of a session, and OnHeaders the header of each
	// response to a poll, POST or WebSocket handshake. Node.js: events initial_headers and headers of io.engine.
	OnInitialHeaders func(h http.Header, r *http.Request)
	OnHeaders        func(h http.Header, r *http.Request)
	// OnConnectionError is called for each refused request. Node.js: event connection_error of io.engine.
	OnConnectionError func(e *ConnectionError)
	// Value is called once per session, after all middleware, with the request that opens it. Session.Value returns its
	// result. Use it to keep results of middleware.
	Value func(r *http.Request) any
	// Hooks observe all sessions. Nil costs nothing. Node.js: events of socket.conn.
	Hooks *Hooks

	// IdleTimeout bounds the time for which an HTTP connection of ListenAndServe may wait for the next request. Zero
	// means 75 s, which is longer than reverse proxies usually keep connections; negative means no limit. Node.js:
	// keepAliveTimeout of http.Server.
	IdleTimeout time.Duration
	// TLSConfig configures ListenAndServeTLS and ServeTLS, for example to request client certificates. It is not
	// modified. Nil means the defaults of package tls.
	TLSConfig *tls.Config
	// ReusePort lets several processes listen on the same port with ListenAndServe and ListenAndServeTLS
	// (SO_REUSEPORT). All of them must set it. The kernel distributes the connections. It works only for clients that
	// use WebSocket alone, because the requests of a polling client would reach different processes. Outside Unix,
	// listening returns errors.ErrUnsupported.
	ReusePort bool
	// Loops is the number of event loops for WebSocket connections. Zero means runtime.GOMAXPROCS.
	Loops int
	// DisableEpoll uses goroutines for WebSocket connections even where epoll is available.
	DisableEpoll bool
	// Logger receives faults, and events of clients at level debug. Nil means slog.Default().
	Logger *slog.Logger
}

// Recovery configures connection state recovery. Its zero value means the defaults. MaxBytes and MaxSessions apply to
// the node's own memory. Adapters that store sessions and packets elsewhere have limits of their own.
type Recovery struct {
	// MaxDisconnection is the time for which sessions and packets are kept. Zero means two minutes. Node.js:
	// connectionStateRecovery.maxDisconnectionDuration.
	MaxDisconnection time.Duration
	// MaxBytes is the maximum size in bytes of the packets kept for one namespace; the oldest are dropped first. Zero
	// means 64 MiB. The reference has no limit.
	MaxBytes int
	// MaxSessions is the maximum number of sessions kept for one namespace; those lost first are dropped first. Zero
	// means 1,000,000. The reference has no limit.
	MaxSessions int
	// RunMiddleware also runs middleware for sockets that resume a session. Node.js: skipMiddlewares: false.
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

// withDefaults returns a copy of o with the defaults of the options that this package uses itself.
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
