package socketio_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/socketio"
)

var insecure = ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}}

type point struct {
	X, Y int
	Blob []byte
}

func TestEvents(t *testing.T) {
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		socketio.On(s, "point", func(so *socketio.Socket, p point) { _ = so.Emit("got", p.X+p.Y, p.Blob) })
		socketio.OnAck(s, "double", func(_ *socketio.Socket, n int) int { return 2 * n })
		s.On("several", func(e *socketio.Event) {
			var a string
			var b int
			var c []byte
			if err := e.Bind(&a, &b, &c); err != nil {
				t.Errorf("Bind: %v", err)
			}
			_ = e.Ack(c, b, a)
			if err := e.Ack("again"); err == nil {
				t.Error("a second Ack did not fail")
			}
		})
		s.On("echo", func(e *socketio.Event) { _ = e.Ack(e.Args().Values()...) })
		s.On("silent", func(e *socketio.Event) {
			if e.WantsAck() || e.Ack(1) == nil {
				t.Error("an event without id wants an acknowledgement")
			}
			_ = e.Socket().Emit("heard", e.Name())
		})
	}, func(t *testing.T, _ *socketio.Server, url string) {
		p := connect(t, url, "")
		p.send(`42["point",{"X":1,"Y":2}]`)
		p.want(`42["got",3,null]`)
		p.send(`451-["point",{"X":1,"Blob":{"_placeholder":true,"num":0}}]`)
		p.sendBinary([]byte{1, 2})
		p.want(`451-["got",1,{"_placeholder":true,"num":0}]`, "b:0102")
		p.send(`420["double",21]`)
		p.want(`430[42]`)
		p.send(`451-7["several","x",5,{"_placeholder":true,"num":0}]`)
		p.sendBinary([]byte{9})
		p.want(`461-7[{"_placeholder":true,"num":0},5,"x"]`, "b:09")
		p.send(`421["echo",1,"é",{"b":[true,null],"a":1.5}]`)
		p.want(`431[1,"é",{"b":[true,null],"a":1.5}]`)
		p.send(`42["silent"]`)
		p.want(`42["heard","silent"]`)
	})
}

func TestEmitWithAck(t *testing.T) {
	answers := make(chan string, 1)
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		// The handler waits for its own client, whose answer arrives on the same connection.
		s.On("ask", func(e *socketio.Event) {
			args, err := e.Socket().EmitWithAck(t.Context(), "question", 1)
			answers <- fmt.Sprintf("%s %v", args.Data, err)
		})
		s.On("late", func(e *socketio.Event) {
			_, err := e.Socket().Timeout(10*time.Millisecond).EmitWithAck(t.Context(), "question", 2)
			answers <- fmt.Sprint(errors.Is(err, socketio.ErrTimeout))
		})
		s.On("leave", func(e *socketio.Event) {
			_, err := e.Socket().EmitWithAck(t.Context(), "question", 3)
			answers <- fmt.Sprint(errors.Is(err, socketio.ErrDisconnected))
		})
	}, func(t *testing.T, s *socketio.Server, url string) {
		p := connect(t, url, "")
		p.send(`42["ask"]`)
		question := p.read()
		id := question[2:strings.Index(question, "[")]
		p.send("43" + id + `["yes",2]`)
		if got := receive(t, answers); got != `["yes",2] <nil>` {
			t.Errorf("answer: %s", got)
		}
		p.send(`42["late"]`)
		p.read()
		if got := receive(t, answers); got != "true" {
			t.Error("no ErrTimeout")
		}
		p.send(`43999["unknown"]`, `42["leave"]`)
		p.read()
		p.conn.Close()
		if got := receive(t, answers); got != "true" {
			t.Error("no ErrDisconnected when the client leaves")
		}
	})
}

// TestBlockedHandler keeps many handlers waiting and expects other clients, and other packets of the same
// client, to go on.
func TestBlockedHandler(t *testing.T) {
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		s.On("wait", func(e *socketio.Event) {
			_ = e.Socket().Emit("waiting")
			<-gate
		})
		socketio.OnAck(s, "echo", func(_ *socketio.Socket, v string) string { return v })
	}, func(t *testing.T, _ *socketio.Server, url string) {
		var waiting []*peer
		for range 50 {
			p := connect(t, url, "")
			p.send(`42["wait"]`, `421["echo","after"]`)
			p.want(`42["waiting"]`)
			waiting = append(waiting, p)
		}
		p := connect(t, url, "")
		p.send(`420["echo","x"]`)
		p.want(`430["x"]`)
		if t.Name() == "TestBlockedHandler/TLS" {
			open() // the last mode: the waiting calls continue, in order
			for _, p := range waiting {
				p.want(`431["after"]`)
			}
		}
	})
}

func TestOrder(t *testing.T) {
	const events = 5000
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		socketio.On(s, "n", func(so *socketio.Socket, n int) {
			if n%1000 == 0 {
				time.Sleep(3 * time.Millisecond) // the loop goes on without this goroutine
			}
			_ = so.Emit("n", n)
		})
	}, func(t *testing.T, _ *socketio.Server, url string) {
		p := connect(t, url, "")
		go func() {
			for i := range events {
				p.send(fmt.Sprintf(`42["n",%d]`, i))
			}
		}()
		for i := range events {
			p.want(fmt.Sprintf(`42["n",%d]`, i))
		}
	})
}

// TestBackPressure sends far more than a blocked handler's queue may hold, and expects all of it to be handled.
func TestBackPressure(t *testing.T) {
	const events, size = 50, 64 << 10
	inEachMode(t, socketio.Options{}, func(s *socketio.Server) {
		first := sync.OnceFunc(func() { time.Sleep(100 * time.Millisecond) })
		n := 0
		socketio.On(s, "bulk", func(so *socketio.Socket, v string) {
			first()
			if n++; n == events {
				_ = so.Emit("all")
			}
		})
	}, func(t *testing.T, _ *socketio.Server, url string) {
		p := connect(t, url, "")
		text := `42["bulk","` + strings.Repeat("x", size) + `"]`
		go func() {
			for range events {
				p.send(text)
			}
		}()
		p.want(`42["all"]`)
	})
}

func TestCatchAll(t *testing.T) {
	s := newServer(t, nil)
	s.OnConnect(func(so *socketio.Socket) {
		var seen []string
		note := func(what string) func(*socketio.Event) { return func(*socketio.Event) { seen = append(seen, what) } }
		out := func(what string) func(string, socketio.Args) {
			return func(name string, _ socketio.Args) { seen = append(seen, what+":"+name) }
		}
		so.OnAny(note("second"))
		so.PrependAny(note("first"))
		so.OnAnyOutgoing(out("out2"))
		so.PrependAnyOutgoing(out("out1"))
		so.On("go", func(e *socketio.Event) {
			_ = so.Emit("x")
			_ = s.Emit("y")
			so.OffAny()
			so.OffAnyOutgoing()
			_ = so.Emit("z")
			_ = e.Ack(strings.Join(seen, " "))
		})
	})
	p := connect(t, serve(t, s), "")
	p.send(`420["go"]`)
	p.want(`42["x"]`, `42["y"]`, `42["z"]`, `430["first second out1:x out2:x out1:y out2:y"]`)
}

func TestMisuse(t *testing.T) {
	s := newServer(t, nil)
	var reserved *socketio.ReservedEventError
	if err := s.Emit("disconnect"); !errors.As(err, &reserved) {
		t.Errorf("a reserved name: %v", err)
	}
	if err := s.Emit("x", make(chan int)); err == nil {
		t.Error("an unencodable argument is accepted")
	}
	for name, misuse := range map[string]func(){
		"nil handler":       func() { s.On("x", nil) },
		"nil typed handler": func() { socketio.On[string](s, "x", nil) },
		"reserved handler":  func() { socketio.On(s, "connect", func(*socketio.Socket, string) {}) },
		"nil middleware":    func() { s.Use(nil) },
		"nil OnConnect":     func() { s.OnConnect(nil) },
		"negative duration": func() { socketio.NewServer(&socketio.Options{PingTimeout: -1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			misuse()
		}()
	}
}

func TestMisfittingArguments(t *testing.T) {
	s := newServer(t, nil)
	failed := make(chan error, 1)
	s.OnError(func(_ *socketio.Socket, err error) { failed <- err })
	socketio.On(s, "n", func(so *socketio.Socket, n int) { _ = so.Emit("n", n) })
	p := connect(t, serve(t, s), "")
	p.send(`42["n","no number"]`, `42["n",5]`)
	p.want(`42["n",5]`)
	var bind *socketio.BindError
	if err := receive(t, failed); !errors.As(err, &bind) || bind.Event != "n" {
		t.Errorf("error handler: %v", err)
	}
}

func TestHandlersOfOneSocket(t *testing.T) {
	s := newServer(t, nil)
	s.OnConnect(func(so *socketio.Socket) {
		var seen []string
		so.OnAny(func(e *socketio.Event) { seen = append(seen, "any:"+e.Name()) })
		so.Use(func(e *socketio.Event) error {
			switch e.Name() {
			case "bad":
				return errors.New("not that")
			case "rename":
				return e.Replace("on", "renamed")
			}
			return nil
		})
		so.OnError(func(err error) { seen = append(seen, "error:"+err.Error()) })
		so.Once("once", func(*socketio.Event) { seen = append(seen, "once") })
		socketio.On(so, "on", func(_ *socketio.Socket, v string) { seen = append(seen, "on:"+v) })
		so.On("off", func(*socketio.Event) { seen = append(seen, "off") })
		so.Off("off")
		so.On("report", func(e *socketio.Event) { _ = e.Ack(strings.Join(seen, " ")) })
	})
	p := connect(t, serve(t, s), "")
	p.send(`42["once"]`, `42["once"]`, `42["on","a"]`, `42["off"]`, `42["bad"]`, `42["rename"]`, `420["report"]`)
	p.want(`430["any:once once any:once any:on on:a any:off any:bad error:not that any:rename on:renamed any:report"]`)
}

// TestTwoArguments registers typed handlers for events with two arguments.
func TestTwoArguments(t *testing.T) {
	s := newServer(t, nil)
	wrong := make(chan error, 1)
	s.OnError(func(_ *socketio.Socket, err error) { wrong <- err })
	socketio.On2(s, "move", func(so *socketio.Socket, x int, to []byte) { _ = so.Emit("moved", x, string(to)) })
	socketio.OnAck2(s, "add", func(_ *socketio.Socket, a, b int) int { return a + b })
	p := dial(t, serve(t, s))
	p.join("")
	p.send(`420["add",3,4]`)
	p.want("430[7]")
	p.send(`42["add",3,4]`, `421["add",3]`)
	p.want("431[3]")
	p.send(`42["move",1,"x"]`)
	var be *socketio.BindError
	if err := receive(t, wrong); !errors.As(err, &be) || be.Event != "move" {
		t.Errorf("error for a string in place of binary: %v", err)
	}
}
