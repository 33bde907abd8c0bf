package socketio_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/myriad-rt/myriad/socketio"
)

// certify returns a certificate for this name that signs itself, for servers and clients.
func certify(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pool(c tls.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.Leaf)
	return p
}

// The own listener requests certificates from clients and presents a certificate for each of its names.
func TestClientCertificates(t *testing.T) {
	first, second, client, stranger := certify(t, "first.example"), certify(t, "second.example"), certify(t, "client"), certify(t, "client")
	seen := make(chan string, 10)
	server := newServer(t, &socketio.Options{
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{first, second}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(client),
		},
		AllowRequest: func(r *http.Request) error {
			seen <- r.TLS.ServerName + " " + r.TLS.PeerCertificates[0].Subject.CommonName
			return nil
		},
	})
	secure := make(chan bool, 10)
	server.OnConnect(func(s *socketio.Socket) { secure <- s.Handshake().Secure() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		server.Close()
		if err := receive(t, done); err != http.ErrServerClosed {
			t.Errorf("ServeTLS: %v", err)
		}
	})
	url := "https://" + l.Addr().String()
	for _, name := range []string{"first.example", "second.example"} {
		own := map[string]tls.Certificate{"first.example": first, "second.example": second}[name]
		config := &tls.Config{ServerName: name, RootCAs: pool(own), Certificates: []tls.Certificate{client}}
		p := dialWith(t, ws.Dialer{TLSConfig: config}, url)
		p.join("")
		if got := receive(t, seen); got != name+" client" {
			t.Errorf("seen: %s", got)
		}
		if !receive(t, secure) {
			t.Error("the handshake is not secure")
		}
	}
	for _, certificates := range [][]tls.Certificate{nil, {stranger}} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "first.example", RootCAs: pool(first), Certificates: certificates})
		if err == nil { // with TLS 1.3 the client hears of it later
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err = io.Copy(io.Discard, conn)
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("a client without a certificate: %v", err)
		}
	}
}

// Requests on a listener that does TLS itself are secure.
func TestServeOnATLSListener(t *testing.T) {
	certificate := certify(t, "a.example")
	states := make(chan *tls.ConnectionState, 10)
	server := newServer(t, &socketio.Options{AllowRequest: func(r *http.Request) error {
		states <- r.TLS
		return nil
	}})
	secure := make(chan bool, 10)
	server.OnConnect(func(s *socketio.Socket) { secure <- s.Handshake().Secure() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, server, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	config := &tls.Config{ServerName: "a.example", RootCAs: pool(certificate)}
	dialWith(t, ws.Dialer{TLSConfig: config}, "https://"+l.Addr().String()).join("")
	if state := receive(t, states); state == nil || state.ServerName != "a.example" {
		t.Errorf("r.TLS is %+v", state)
	}
	if !receive(t, secure) {
		t.Error("the handshake is not secure")
	}
}

// log is a buffer that can be read while it is written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) has(text string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(l.b.String(), text)
	}
}

// Errors that net/http reports about a connection go to Options.Logger.
func TestLoggerOfNetHTTP(t *testing.T) {
	var l log
	server := newServer(t, &socketio.Options{
		Logger:    slog.New(slog.NewTextHandler(&l, nil)),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certify(t, "a.example")}},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(listener, "", "") }()
	dialHTTP(t, "http://"+listener.Addr().String()).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the failed handshake is logged", l.has("TLS handshake error"))
	server.Close()
	receive(t, done)
}
