package socketio_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/myriad-rt/myriad/internal/testing/fdlimit"
)

// A server needs no descriptors before it serves. If there are none left, Serve returns an error, and a later call succeeds.
func TestNoDescriptorsLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	release := fdlimit.Exhaust(t)
	server := newServer(t, nil)
	if err := server.Serve(l); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Serve: %v", err)
	}
	release()
	connect(t, serveItself(t, server), "")
}
