package socketio_test

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/adapter/adaptertest"
	"github.com/myriad-rt/myriad/socketio"
)

// inside is one function of the application that does to the server whatever an application can do.
type inside struct {
	server  atomic.Pointer[socketio.Server]
	socket  atomic.Pointer[socketio.Socket] // the one that connected last
	action  func(*inside)
	begun   atomic.Bool
	done    chan struct{} // closed when action has returned
	started chan struct{} // closed when action has been called
}

// act runs the action, the first time that it is called. The socket is the one that the function is about, if any.
func (in *inside) act(s *socketio.Socket) {
	if in.server.Load() == nil {
		return // NewServer has not returned
	}
	if s != nil {
		in.socket.Store(s)
	}
	if in.begun.CompareAndSwap(false, true) {
		close(in.started)
		defer close(in.done)
		in.action(in)
	}
}

// actions are done from inside each function.
var actions = map[string]func(*inside){
	"use": func(in *inside) {
		server := in.server.Load()
		_ = server.Emit("everyone")
		_ = server.To("room").Except("other").Emit("some")
		_ = server.Of("/dynamic-2").Emit("there")
		_ = server.SocketsJoin("room")
		_ = server.SocketsLeave("room")
		for _, s := range server.Sockets() {
			_ = s.Join("other")
		}
		if s := in.socket.Load(); s != nil {
			_ = s.Emit("one", []byte{1})
			_ = s.Broadcast().Emit("others")
			_ = s.Volatile().Emit("volatile")
			_ = s.Join("other", "room")
			s.Leave("other")
			s.Rooms()
			s.Disconnect(false)
		}
		_ = server.DisconnectSockets(true)
		for _, session := range server.Engine().Sessions() {
			session.Close()
		}
		server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", clientFilePath, nil))
	},
	"close": func(in *inside) { _ = in.server.Load().Close() },
}

const clientFilePath = "/socket.io/socket.io.js"

// insiders register in.act as one function of the application each.
var insiders = map[string]func(in *inside, o *socketio.Options) (setUp func(*socketio.Server)){
	"Options.Adapter": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.Adapter = func(n adapter.Namespace) adapter.Adapter {
			in.act(nil)
			return adapter.NewMemory(n, nil)
		}
		return nil
	},
	"Options.NotFound": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.NotFound = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { in.act(nil) })
		return nil
	},
	"Options.AllowRequest": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.AllowRequest = func(*http.Request) error { in.act(nil); return nil }
		return nil
	},
	"Options.GenerateID": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		var n atomic.Int32
		o.GenerateID = func(*http.Request) (string, error) {
			in.act(nil)
			return "session" + string(rune('a'+n.Add(1))), nil
		}
		return nil
	},
	"Options.CORSFunc": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.CORSFunc = func(*http.Request) (*socketio.CORS, error) { in.act(nil); return nil, nil }
		return nil
	},
	"Options.OnInitialHeaders": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.OnInitialHeaders = func(http.Header, *http.Request) { in.act(nil) }
		return nil
	},
	"Options.OnHeaders": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.OnHeaders = func(http.Header, *http.Request) { in.act(nil) }
		return nil
	},
	"Options.OnConnectionError": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.OnConnectionError = func(*socketio.ConnectionError) { in.act(nil) }
		return nil
	},
	"Options.Value": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.Value = func(*http.Request) any { in.act(nil); return nil }
		return nil
	},
	"Options.ClientFiles": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.ClientFiles = openFunc(func() { in.act(nil) })
		return nil
	},
	"Options.Logger, client file": logged("client file cannot be read", func(o *socketio.Options) {
		o.ClientFiles = openFunc(func() {})
	}, nil),
	"Options.Logger, panic in a hook": logged("hook panicked", func(o *socketio.Options) {
		o.Hooks = &socketio.Hooks{Open: func(*socketio.Session) { panic("on purpose") }}
	}, nil),
	"Options.Logger, panic in middleware of the engine": logged("panic while serving a request", nil, func(s *socketio.Server) {
		s.Engine().Use(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") })
		})
	}),
	"Options.Logger, panic in a handler": logged("handler panicked", nil, func(s *socketio.Server) {
		s.On("event", func(*socketio.Event) { panic("on purpose") })
	}),
	"Options.Logger, panic in OnRoomEvent": logged("handler of a room event panicked", nil, func(s *socketio.Server) {
		s.OnRoomEvent(func(socketio.RoomEvent) { panic("on purpose") })
	}),
	"Options.Logger, arguments that do not fit": logged("socket error", nil, func(*socketio.Server) {}),
	"Options.Logger, error that cannot be encoded": logged("data of a connect error cannot be encoded", nil, func(s *socketio.Server) {
		s.Use(func(*socketio.Socket) error { return &socketio.ConnectError{Data: make(chan int)} })
	}),
	"Hooks.Open": hook(func(h *socketio.Hooks, f func()) { h.Open = func(*socketio.Session) { f() } }),
	"Hooks.Close": hook(func(h *socketio.Hooks, f func()) {
		h.Close = func(*socketio.Session, socketio.CloseReason, error) { f() }
	}),
	"Hooks.Packet":       hook(func(h *socketio.Hooks, f func()) { h.Packet = func(*socketio.Session, socketio.Packet) { f() } }),
	"Hooks.PacketCreate": hook(func(h *socketio.Hooks, f func()) { h.PacketCreate = func(*socketio.Session, socketio.Packet) { f() } }),
	"Hooks.Flush":        hook(func(h *socketio.Hooks, f func()) { h.Flush = func(*socketio.Session) { f() } }),
	"Hooks.Drain":        hook(func(h *socketio.Hooks, f func()) { h.Drain = func(*socketio.Session) { f() } }),
	"Hooks.Heartbeat":    hook(func(h *socketio.Hooks, f func()) { h.Heartbeat = func(*socketio.Session) { f() } }),
	"Hooks.Upgrading":    hook(func(h *socketio.Hooks, f func()) { h.Upgrading = func(*socketio.Session) { f() } }),
	"Hooks.Upgrade":      hook(func(h *socketio.Hooks, f func()) { h.Upgrade = func(*socketio.Session) { f() } }),
	"Hooks.Close at a ping time-out": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.PingTimeout = time.Millisecond
		o.Hooks = &socketio.Hooks{Close: func(*socketio.Session, socketio.CloseReason, error) { in.act(nil) }}
		return nil
	},
	"Engine.Use": onServer(func(in *inside, s *socketio.Server) {
		s.Engine().Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				in.act(nil)
				next.ServeHTTP(w, r)
			})
		})
	}),
	"Engine.Use, the function that makes the handler": onSocket(func(in *inside, s *socketio.Socket) {
		in.server.Load().Engine().Use(func(next http.Handler) http.Handler {
			in.act(s)
			return next
		})
	}),
	"MarshalJSON of an argument": onSocket(func(in *inside, s *socketio.Socket) {
		_ = s.Emit("event", marshaler(func() { in.act(s) }))
	}),
	"MarshalJSON of an argument to all": onSocket(func(in *inside, s *socketio.Socket) {
		_ = in.server.Load().Emit("event", []any{marshaler(func() { in.act(s) })})
	}),
	"MarshalJSON of an acknowledgement": onServer(func(in *inside, s *socketio.Server) {
		s.On("question", func(e *socketio.Event) { _ = e.Ack(marshaler(func() { in.act(e.Socket()) })) })
	}),
	"MarshalJSON of data": onSocket(func(in *inside, s *socketio.Socket) {
		s.SetData(marshaler(func() { in.act(s) }))
		_, _ = s.Namespace().FetchSockets(s.Context())
	}),
	"MarshalJSON of the data of a connect error": onServer(func(in *inside, s *socketio.Server) {
		s.Use(func(so *socketio.Socket) error {
			return &socketio.ConnectError{Data: marshaler(func() { in.act(so) })}
		})
	}),
	"UnmarshalJSON of an argument": onSocket(func(in *inside, s *socketio.Socket) {
		value := unmarshaler(func() { in.act(s) })
		s.On("number", func(e *socketio.Event) { _ = e.Bind(&value) })
	}),
	"Error of middleware": onServer(func(in *inside, s *socketio.Server) {
		s.Use(func(so *socketio.Socket) error { return errorFunc(func() { in.act(so) }) })
	}),
	"Error of AllowRequest": func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.AllowRequest = func(*http.Request) error { return errorFunc(func() { in.act(nil) }) }
		return nil
	},
	"Server.OnNewNamespace": onServer(func(in *inside, s *socketio.Server) {
		s.OnNewNamespace(func(*socketio.Namespace) { in.act(nil) })
	}),
	"Server.OfFunc": onServer(func(in *inside, s *socketio.Server) {
		s.OfFunc(func(name string, _ socketio.Value) (bool, error) { in.act(nil); return name == "/asked", nil })
	}),
	"Namespace.Use": onServer(func(in *inside, s *socketio.Server) {
		s.Use(func(so *socketio.Socket) error { in.act(so); return nil })
	}),
	"Namespace.OnConnect":       onServer(func(in *inside, s *socketio.Server) { s.OnConnect(in.act) }),
	"Namespace.OnDisconnecting": onServer(func(in *inside, s *socketio.Server) { s.OnDisconnecting(in.gone) }),
	"Namespace.OnDisconnect":    onServer(func(in *inside, s *socketio.Server) { s.OnDisconnect(in.gone) }),
	"Namespace.OnError": onServer(func(in *inside, s *socketio.Server) {
		s.OnError(func(so *socketio.Socket, _ error) { in.act(so) })
	}),
	"Namespace.OnRoomEvent": onServer(func(in *inside, s *socketio.Server) {
		s.OnRoomEvent(func(socketio.RoomEvent) { in.act(nil) })
	}),
	"Namespace.On":    onServer(func(in *inside, s *socketio.Server) { s.On("event", in.event) }),
	"Namespace.OnAny": onServer(func(in *inside, s *socketio.Server) { s.OnAny(in.event) }),
	"OnAck": onServer(func(in *inside, s *socketio.Server) {
		socketio.OnAck(s, "event", func(so *socketio.Socket, _ any) int { in.act(so); return 1 })
	}),
	"Socket.On":              onSocket(func(in *inside, s *socketio.Socket) { s.On("event", in.event) }),
	"Socket.Once":            onSocket(func(in *inside, s *socketio.Socket) { s.Once("event", in.event) }),
	"Socket.OnAny":           onSocket(func(in *inside, s *socketio.Socket) { s.OnAny(in.event) }),
	"Socket.Use":             onSocket(func(in *inside, s *socketio.Socket) { s.Use(func(e *socketio.Event) error { in.event(e); return nil }) }),
	"Socket.OnError":         onSocket(func(in *inside, s *socketio.Socket) { s.OnError(func(error) { in.act(s) }) }),
	"Socket.OnDisconnecting": onSocket(func(in *inside, s *socketio.Socket) { s.OnDisconnecting(func(socketio.DisconnectReason) { in.act(s) }) }),
	"Socket.OnDisconnect":    onSocket(func(in *inside, s *socketio.Socket) { s.OnDisconnect(func(socketio.DisconnectReason) { in.act(s) }) }),
	"Socket.OnAnyOutgoing": onSocket(func(in *inside, s *socketio.Socket) {
		s.OnAnyOutgoing(func(string, socketio.Args) { in.act(s) })
	}),
}

// logged returns the registration of a logger that acts when it is given the message. The functions provoke that.
func logged(message string, options func(*socketio.Options), setUp func(*socketio.Server)) func(*inside, *socketio.Options) func(*socketio.Server) {
	return func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.Logger = slog.New(logHandler{message, in})
		if options != nil {
			options(o)
		}
		return setUp
	}
}

// logHandler is a slog.Handler that acts when it is given the message.
type logHandler struct {
	message string
	in      *inside
}

func (logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message {
		h.in.act(nil)
	}
	return nil
}

func (h logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h logHandler) WithGroup(string) slog.Handler { return h }

// openFunc is a file system without files that calls a function when one is opened.
type openFunc func()

func (f openFunc) Open(name string) (fs.File, error) {
	f()
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// marshaler is an argument that calls a function when it is encoded.
type marshaler func()

func (m marshaler) MarshalJSON() ([]byte, error) {
	m()
	return []byte("1"), nil
}

// unmarshaler is a value that calls a function when an argument is stored in it.
type unmarshaler func()

func (u unmarshaler) UnmarshalJSON([]byte) error {
	u()
	return nil
}

// errorFunc is an error that calls a function when its text is requested.
type errorFunc func()

func (f errorFunc) Error() string {
	f()
	return "refused"
}

func (in *inside) event(e *socketio.Event) { in.act(e.Socket()) }

func (in *inside) gone(s *socketio.Socket, _ socketio.DisconnectReason) { in.act(s) }

func hook(set func(*socketio.Hooks, func())) func(*inside, *socketio.Options) func(*socketio.Server) {
	return func(in *inside, o *socketio.Options) func(*socketio.Server) {
		o.Hooks = new(socketio.Hooks)
		set(o.Hooks, func() { in.act(nil) })
		return nil
	}
}

func onServer(register func(*inside, *socketio.Server)) func(*inside, *socketio.Options) func(*socketio.Server) {
	return func(in *inside, _ *socketio.Options) func(*socketio.Server) {
		return func(s *socketio.Server) { register(in, s) }
	}
}

func onSocket(register func(*inside, *socketio.Socket)) func(*inside, *socketio.Options) func(*socketio.Server) {
	return onServer(func(in *inside, s *socketio.Server) {
		s.OnConnect(func(so *socketio.Socket) { register(in, so) })
	})
}

// TestCallbacksFromInside emits, joins, disconnects and closes inside each function of the application, with and without
// recovery. If a function is called with a lock held, it deadlocks.
func TestCallbacksFromInside(t *testing.T) {
	for name, register := range insiders {
		for what, action := range actions {
			for recovery, o := range map[string]*socketio.Options{"memory": {}, "recovery": {Recovery: new(socketio.Recovery)}} {
				t.Run(name+"/"+what+"/"+recovery, func(t *testing.T) {
					t.Parallel()
					in := &inside{action: action, done: make(chan struct{}), started: make(chan struct{})}
					o := *o
					o.PingInterval = 20 * time.Millisecond
					o.PingTimeout = patience
					setUp := register(in, &o)
					server := newServer(t, &o)
					server.On("event", func(e *socketio.Event) {
						_ = e.Socket().Emit("event")
						_ = server.Emit("event")
						_ = e.Ack()
					})
					socketio.On(server, "number", func(*socketio.Socket, int) {})
					server.OfPattern(regexp.MustCompile(`^/dynamic-\d$`))
					if setUp != nil {
						setUp(server)
					}
					in.server.Store(server)
					url := serve(t, server)
					for deadline := time.Now().Add(patience); ; {
						callEverything(t.Context(), url)
						select {
						case <-in.started:
						default:
							if time.Now().After(deadline) {
								t.Fatal("the function was not called")
							}
							continue
						}
						break
					}
					select {
					case <-in.done:
					case <-time.After(patience):
						// The server cannot be closed either. A panic on this goroutine would wait for that.
						debug.SetTraceback("all")
						go panic(name + " does not return")
						select {}
					}
				})
			}
		}
	}
}

// TestServerEventFromInside does the same in handlers of server-side events.
func TestServerEventFromInside(t *testing.T) {
	for what, action := range actions {
		t.Run(what, func(t *testing.T) {
			in := &inside{action: action, done: make(chan struct{}), started: make(chan struct{})}
			bus := new(adaptertest.Bus)
			one := newServer(t, &socketio.Options{Adapter: bus.Factory(nil)})
			other := newServer(t, &socketio.Options{Adapter: bus.Factory(nil)})
			in.server.Store(other)
			other.OnServerEvent("event", func(*socketio.ServerEvent) { in.act(nil) })
			if err := one.ServerSideEmit("event"); err != nil {
				t.Fatal(err)
			}
			receive(t, in.done)
		})
	}
}

// callEverything is a client that causes a call of every function that an application may have. It ignores the server's answers,
// because the server may disconnect it at any moment.
func callEverything(ctx context.Context, url string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	do := func(method, query, body string) string {
		r, _ := http.NewRequestWithContext(ctx, method, url+query, strings.NewReader(body))
		res, err := client.Do(r)
		if err != nil {
			return ""
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	do("GET", "/elsewhere", "")
	do("GET", clientFilePath, "")
	do("GET", "/socket.io/?EIO=4&transport=unknown", "")
	open := do("GET", "/socket.io/?EIO=4&transport=polling", "")
	_, rest, _ := strings.Cut(open, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	if sid == "" {
		return
	}
	session := "/socket.io/?EIO=4&transport=polling&sid=" + sid
	// poll fetches packets and reports whether there is a ping. The server sends no other ping before it is answered.
	poll := func() bool { return slices.Contains(strings.Split(do("GET", session, ""), "\x1e"), "2") }
	do("POST", session, "40\x1e40/dynamic-1,\x1e40/asked,")
	if poll() {
		do("POST", session, "3")
	}
	do("POST", session, "42[\"event\"]\x1e42[\"number\",\"x\"]")
	if poll() {
		do("POST", session, "3")
	}

	conn, _, _, err := ws.Dialer{}.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?EIO=4&transport=websocket&sid="+sid)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(frames("2probe", "5", `421["event"]`, `422["question"]`)); err != nil {
		return
	}
	var polling sync.WaitGroup // the server answers the poll with a noop before it switches
	polling.Go(func() {
		if poll() {
			_, _ = conn.Write(frames("3")) // if that fails, so does reading
		}
	})
	defer polling.Wait()
	for pings := 0; pings < 2; {
		text, err := wsutil.ReadServerText(conn)
		switch {
		case err != nil:
			return
		case string(text) == "2":
			pings++
			if _, err := conn.Write(frames("3")); err != nil {
				return
			}
		}
	}
}
