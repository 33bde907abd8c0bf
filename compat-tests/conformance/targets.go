package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/myriad-rt/myriad/transport"
	"github.com/myriad-rt/myriad/transport/epoll"
)

// target is a server that sends every message back.
type target struct {
	name  string
	addr  string
	tls   bool
	judge bool // not ours
	close func()
}

// dial connects to t.
func (t *target) dial() (net.Conn, error) {
	if t.tls {
		return tls.Dial("tcp", t.addr, &tls.Config{InsecureSkipVerify: true}) // the certificate is one of tests
	}
	return net.Dial("tcp", t.addr)
}

// startTargets starts the server in each of its kinds, and ws in Node.js.
func startTargets() (all []*target, err error) {
	defer func() {
		if err != nil {
			stop(all)
		}
	}()
	for _, k := range []struct {
		name         string
		disableEpoll bool
		tls          bool
	}{{"epoll", false, false}, {"goroutines", true, false}, {"TLS", false, true}} {
		t, err := startServer(k.name, k.disableEpoll, k.tls)
		if err != nil {
			return all, err
		}
		all = append(all, t)
	}
	ws, err := startJudge()
	if err != nil {
		return all, err
	}
	return append(all, ws), nil
}

func stop(all []*target) {
	for _, t := range all {
		t.close()
	}
}

// maxMessage is more than the largest message of a case.
const maxMessage = 32 * mib

func startServer(name string, disableEpoll, secure bool) (*target, error) {
	s, err := epoll.NewServer(&epoll.Options{
		MaxMessageBytes:   maxMessage,
		DisableEpoll:      disableEpoll,
		PerMessageDeflate: &epoll.PerMessageDeflate{},
	})
	if err != nil {
		return nil, err
	}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := s.Upgrade(w, r, nil, transport.FormatV4); err == nil {
			c.Start(echoes{})
		}
	}))
	if secure {
		h.StartTLS()
	} else {
		h.Start()
	}
	return &target{name: name, addr: h.Listener.Addr().String(), tls: secure, close: func() {
		h.Close()
		s.Close()
	}}, nil
}

// echoes is a handler that sends every message back.
type echoes struct{}

func (echoes) HandleMessage(c transport.Conn, data []byte, binary bool) bool {
	if !binary {
		_ = c.SendText(string(data)) // the client notices if the connection has closed
		return false
	}
	m := transport.NewMessage()
	m.SetBinary(data)
	_ = c.Send(m)
	m.Release()
	return false
}

func (echoes) Run(transport.Conn)                {}
func (echoes) HandleBatch(transport.Conn)        {}
func (echoes) HandleDrain(transport.Conn)        {}
func (echoes) HandleClose(transport.Conn, error) {}

// startJudge starts ws. The name of the target includes its version.
func startJudge() (*target, error) {
	manifest, err := os.ReadFile(filepath.Join(directory, "../node_modules/ws/package.json"))
	if err != nil {
		return nil, fmt.Errorf("ws is not installed (npm ci in compat-tests): %w", err)
	}
	var ws struct{ Version string }
	if err := json.Unmarshal(manifest, &ws); err != nil {
		return nil, err
	}
	node := exec.Command("node", filepath.Join(directory, "judge.mjs"))
	node.Stderr = os.Stderr
	in, err := node.StdinPipe() // the program exits at its end
	if err != nil {
		return nil, err
	}
	out, err := node.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := node.Start(); err != nil {
		return nil, err
	}
	t := &target{name: "ws " + ws.Version, judge: true, close: func() {
		in.Close()
		_ = node.Wait() // how it ends does not matter
	}}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.close()
		return nil, fmt.Errorf("ws does not start: %w", err)
	}
	t.addr = "127.0.0.1:" + strings.TrimSpace(port)
	return t, nil
}
