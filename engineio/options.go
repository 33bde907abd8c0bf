package engineio

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// Names of transports.
const (
	Polling      = "polling"
	WebSocket    = "websocket"
	WebTransport = "webtransport"
)

// Options configure a Server. The zero value of each field, except OnSession, is its default. Functions are called
// concurrently, and may block.
type Options struct {
	// OnSession is called for each new session and returns its Handler. The session can be used immediately. The
	// handshake is answered after OnSession has returned. OnSession must not be nil.
	OnSession func(s *Session) Handler

	// Path is the prefix of the paths that are served. A trailing "/" is ignored. "" means "/engine.io". Node.js: path.
	Path string
	// DisableTrailingSlash makes Path match without a trailing "/". Node.js: addTrailingSlash: false.
	DisableTrailingSlash bool
	// Transports lists the enabled transports. Nil means Polling and WebSocket. WebTransport is only announced to
	// clients; the Server does not implement it. Node.js: transports.
	Transports []string
	// DisableUpgrades does not announce other transports to polling clients. Clients that upgrade nevertheless are
	// served, as in the reference. Node.js: allowUpgrades: false.
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
	// one read, which may span many chunks. If there are more, the response is 413, as for a body that is too large,
	// and the session ends. Zero means 10,000. Node.js: maxBufferedChunks.
	MaxBodyPieces int
	// MaxQueuedBytes is the maximum number of bytes queued for a client that does not read. Exceeding it closes the
	// session with TransportError and ErrSlowPeer. Zero means 64 MiB. The reference has no limit.
	MaxQueuedBytes int
	// MaxQueuedBytesTotal is the maximum number of bytes queued for all clients. If it is exceeded, the sessions with
	// the most queued bytes are closed, with TransportError and ErrSlowPeer, until an eighth of the limit is free. A
	// message sent to many clients counts once. Zero means a quarter of the memory available to the process, according
	// to GOMEMLIMIT, its control group and the machine. Negative means no limit, as in the reference.
	MaxQueuedBytesTotal int64

	// AllowEIO3 also serves clients of Engine.IO protocol v3. Node.js: allowEIO3.
	AllowEIO3 bool
	// AllowRequest may refuse a handshake by returning an error, whose text is sent to the client. It is not called
	// for later requests of a session. Node.js: allowRequest.
	AllowRequest func(r *http.Request) error
	// GenerateID generates session ids, which must be unique and unguessable. Nil means 15 bytes in URL-safe base64,
	// 12 of them random. Node.js: generateId.
	GenerateID func(r *http.Request) (string, error)
	// InitialPacket, a shared message, is sent directly after the open packet. Node.js: initialPacket.
	InitialPacket *transport.Message

	// Cookie, if not nil, sets a cookie with the session id on the first response. Node.js: cookie.
	Cookie *Cookie
	// CORS, if not nil, enables cross-origin requests and answers preflights. Node.js: cors.
	CORS *CORS
	// CORSFunc, if set, selects the policy for each request and overrides CORS. A nil policy means that CORS does not
	// apply. If it returns an error, the request is refused with CodeBadRequest.
	CORSFunc func(r *http.Request) (*CORS, error)
	// HTTPCompression selects the responses to polls that are compressed. Node.js: httpCompression.
	HTTPCompression HTTPCompression
	// PerMessageDeflate, if not nil, compresses WebSocket messages for clients that offer it. Node.js:
	// perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate

	// OnInitialHeaders may change the header of the first response of a session, and OnHeaders the header of each
	// response to a poll, POST or WebSocket handshake. OnInitialHeaders is called first. Node.js: events
	// initial_headers and headers.
	OnInitialHeaders func(h http.Header, r *http.Request)
	OnHeaders        func(h http.Header, r *http.Request)
	// OnConnectionError is called for each refused request. Node.js: event connection_error.
	OnConnectionError func(e *ConnectionError)

	// Value is called once per session, after all middleware, with the request that opens it. Session.Value returns
	// its result. Use it to keep results of middleware, because the request itself is not kept.
	Value func(r *http.Request) any
	// Hooks observe all sessions. Nil costs nothing.
	Hooks *Hooks

	// Loops is the number of event loops for WebSocket connections. Zero means runtime.GOMAXPROCS.
	Loops int
	// DisableEpoll uses goroutines for WebSocket connections even where epoll is available.
	DisableEpoll bool
	// Logger receives faults, and closed sessions at level debug. Nil means slog.Default().
	Logger *slog.Logger
}

// PerMessageDeflate configures the compression of messages over WebSocket.
type PerMessageDeflate = epoll.PerMessageDeflate

// HTTPCompression selects the responses to polls that are compressed with gzip or deflate.
type HTTPCompression struct {
	// Disabled turns compression off. Node.js: httpCompression: false.
	Disabled bool
	// Threshold is the minimum size in bytes of a compressed body. Zero means 1024; negative compresses all bodies.
	// Node.js: httpCompression.threshold.
	Threshold int
}

const (
	defaultPath           = "/engine.io"
	defaultPingInterval   = 25 * time.Second
	defaultPingTimeout    = 20 * time.Second
	defaultUpgradeTimeout = 10 * time.Second
	defaultBodyTimeout    = 30 * time.Second
	defaultMaxPayload     = 1e6
	defaultBodyPieces     = 10_000
	defaultMaxQueued      = 64 << 20
	defaultThreshold      = 1024
)

// withDefaults returns a checked copy of o.
func (o *Options) withDefaults() (*Options, error) {
	if o == nil || o.OnSession == nil {
		return nil, errors.New("engineio: Options.OnSession is nil")
	}
	c := *o
	for _, n := range []int64{
		int64(c.PingInterval), int64(c.PingTimeout), int64(c.UpgradeTimeout), int64(c.BodyTimeout),
		int64(c.MaxHTTPBufferSize), int64(c.MaxBodyPieces), int64(c.MaxQueuedBytes), int64(c.Loops),
	} {
		if n < 0 {
			return nil, errors.New("engineio: negative duration, size or number in Options")
		}
	}
	if c.Path == "" {
		c.Path = defaultPath
	}
	c.Path = strings.TrimSuffix(c.Path, "/")
	if !c.DisableTrailingSlash {
		c.Path += "/"
	}
	if c.Transports == nil {
		c.Transports = []string{Polling, WebSocket}
	}
	c.Transports = slices.Clone(c.Transports)
	for _, t := range c.Transports {
		if t != Polling && t != WebSocket && t != WebTransport {
			return nil, fmt.Errorf("engineio: unknown transport %q in Options.Transports", t)
		}
	}
	if c.InitialPacket != nil && !c.InitialPacket.Shared() {
		return nil, errors.New("engineio: Options.InitialPacket is not shared")
	}
	setDefault(&c.PingInterval, defaultPingInterval)
	setDefault(&c.PingTimeout, defaultPingTimeout)
	setDefault(&c.UpgradeTimeout, defaultUpgradeTimeout)
	setDefault(&c.BodyTimeout, defaultBodyTimeout)
	setDefault(&c.MaxHTTPBufferSize, defaultMaxPayload)
	setDefault(&c.MaxBodyPieces, defaultBodyPieces)
	setDefault(&c.MaxQueuedBytes, defaultMaxQueued)
	if c.MaxQueuedBytesTotal == 0 {
		c.MaxQueuedBytesTotal = defaultQueuedTotal()
	}
	setDefault(&c.HTTPCompression.Threshold, defaultThreshold)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
