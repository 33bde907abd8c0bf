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

// Options configure a Server. Except for OnSession the zero value of each field is its default.
// Functions may be called from any number of goroutines at once, and may block.
type Options struct {
	// OnSession is called for each new session and returns what its messages go to. The session can
	// be used at once. Its handshake is answered after OnSession has returned. It must not be nil.
	OnSession func(s *Session) Handler

	// Path is what the path of a request has to begin with; one "/" at its end does not matter.
	// "" means "/engine.io". Node.js: path.
	Path string
	// DisableTrailingSlash lets Path match without a "/" behind it. Node.js: addTrailingSlash: false.
	DisableTrailingSlash bool
	// Transports lists the enabled transports. Nil means Polling and WebSocket. WebTransport is only
	// told to clients; its sessions do not come over HTTP/1 or HTTP/2. Node.js: transports.
	Transports []string
	// DisableUpgrades does not tell polling clients of other transports. Those that upgrade
	// nevertheless are served, as in the reference. Node.js: allowUpgrades: false.
	DisableUpgrades bool

	// PingInterval is how long after the last pong the next ping is sent. Zero means 25 s. Node.js: pingInterval.
	PingInterval time.Duration
	// PingTimeout is how long a client may take to answer a ping. Zero means 20 s. Node.js: pingTimeout.
	PingTimeout time.Duration
	// UpgradeTimeout is how long a client may take to upgrade its transport. Zero means 10 s. Node.js: upgradeTimeout.
	UpgradeTimeout time.Duration
	// MaxHTTPBufferSize is the size in bytes of the largest message, and of the largest body of a
	// POST, that is accepted. Zero means 1,000,000. Node.js: maxHttpBufferSize.
	MaxHTTPBufferSize int
	// BodyTimeout is how long the body of a POST may take to arrive. A client that takes longer is answered 408 and
	// loses its session. Zero means 30 s. Node.js: httpRequestBodyTimeout.
	BodyTimeout time.Duration
	// MaxBodyPieces is how many pieces the body of a POST may arrive in. After one more the client is answered 413 and
	// loses its session, as after a body that is too large. A piece is what one read returns, which may be many
	// chunks. Zero means 10,000. Node.js: maxBufferedChunks.
	MaxBodyPieces int
	// MaxQueuedBytes is how many bytes may wait for a client that does not read; one more closes its
	// session with TransportError and ErrSlowPeer. Zero means 64 MiB. The reference has no limit.
	MaxQueuedBytes int
	// MaxQueuedBytesTotal is how many bytes may wait for all clients together. Beyond it, the sessions with the most
	// bytes waiting are closed, as by MaxQueuedBytes, until an eighth of the limit is free. A message that was sent to
	// many counts once. Zero means a quarter of the memory that the process may use, by GOMEMLIMIT, its control group
	// and the machine; negative means no limit. The reference has no limit.
	MaxQueuedBytesTotal int64

	// AllowEIO3 serves clients of Engine.IO protocol v3 too. Node.js: allowEIO3.
	AllowEIO3 bool
	// AllowRequest may refuse a handshake by returning an error, whose text the client is told. It is
	// not asked about later requests of a session. Node.js: allowRequest.
	AllowRequest func(r *http.Request) error
	// GenerateID makes the id of a session, which has to be unique and impossible to guess. Nil means
	// 15 bytes in URL-safe base64, 12 of them random. Node.js: generateId.
	GenerateID func(r *http.Request) (string, error)
	// InitialPacket, a shared message, is sent directly behind the open packet. Node.js: initialPacket.
	InitialPacket *transport.Message

	// Cookie, if not nil, sets a cookie with the id of the session on its first response. Node.js: cookie.
	Cookie *Cookie
	// CORS, if not nil, answers what browsers ask before they let pages of other origins in. Node.js: cors.
	CORS *CORS
	// CORSFunc is asked for each request instead of CORS; nil means that CORS does not apply to it.
	// After an error the request is refused with CodeBadRequest.
	CORSFunc func(r *http.Request) (*CORS, error)
	// HTTPCompression says which responses to polls are compressed. Node.js: httpCompression.
	HTTPCompression HTTPCompression
	// PerMessageDeflate, if not nil, compresses messages over WebSocket for clients that offer it. Node.js:
	// perMessageDeflate.
	PerMessageDeflate *PerMessageDeflate

	// OnInitialHeaders may change the header of the first response of a session, OnHeaders that of each
	// response to a poll or POST, and of the answer to a WebSocket handshake. They are called in this
	// order. Node.js: events initial_headers and headers.
	OnInitialHeaders func(h http.Header, r *http.Request)
	OnHeaders        func(h http.Header, r *http.Request)
	// OnConnectionError is told of each request that is refused. Node.js: event connection_error.
	OnConnectionError func(e *ConnectionError)

	// Value is called with the request that opens a session, behind all middleware; Session.Value
	// returns what it returned. It serves to keep what middleware has found out about a client, since
	// the request itself is not kept.
	Value func(r *http.Request) any
	// Hooks observe all sessions. Nil costs nothing.
	Hooks *Hooks

	// Loops is the number of event loops for WebSocket connections. Zero means runtime.GOMAXPROCS.
	Loops int
	// DisableEpoll serves WebSocket connections with goroutines also where epoll could be used.
	DisableEpoll bool
	// Logger is told of faults, and at level debug of sessions that end. Nil means slog.Default().
	Logger *slog.Logger
}

// PerMessageDeflate configures the compression of messages over WebSocket.
type PerMessageDeflate = epoll.PerMessageDeflate

// HTTPCompression says which responses to polls are compressed with gzip or deflate.
type HTTPCompression struct {
	// Disabled turns compression off. Node.js: httpCompression: false.
	Disabled bool
	// Threshold is the size in bytes of the smallest body that is compressed. Zero means 1024,
	// negative that all are. Node.js: httpCompression.threshold.
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
