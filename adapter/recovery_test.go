package adapter

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myriad-rt/myriad/socketio/parser"
)

// keep stores packets named 0 to n-1 for everybody and returns their offsets.
func keep(r *recovery, n int) (offsets []string) {
	for i := range n {
		p := r.store(&parser.Packet{Type: parser.Event, Data: fmt.Appendf(nil, `["%d"]`, i)}, Options{})
		var name, offset string
		if err := (parser.Args{Data: p.Data}).Bind(&name, &offset); err != nil {
			panic(err)
		}
		offsets = append(offsets, offset)
	}
	return offsets
}

// missed returns the number of packets that a client gets which resumes behind an offset, or -1.
func missed(r *recovery, pid, offset string) int {
	l, number, ok := r.find(pid, offset)
	if !ok {
		return -1
	}
	packets, _ := r.since(number)
	n := 0
	for range l.missed(packets) {
		n++
	}
	return n
}

func TestRecoveryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecovery(&RecoveryOptions{MaxDisconnection: time.Minute})
		defer r.close()
		offsets := keep(r, 3)
		r.persist(&Session{ID: "id", PID: "pid"})
		if n := missed(r, "pid", offsets[0]); n != 2 {
			t.Errorf("missed %d packets, want 2", n)
		}
		time.Sleep(time.Minute + time.Second)
		if n := missed(r, "pid", offsets[0]); n != -1 {
			t.Errorf("resumed after the time is over, with %d packets", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.packets) != 0 || len(r.byPID) != 0 || r.queue != nil || r.bytes != 0 {
			t.Errorf("left: %d packets with %d bytes, %d sessions", len(r.packets), r.bytes, len(r.byPID))
		}
	})
}

func TestRecoveryIsBounded(t *testing.T) {
	r := newRecovery(&RecoveryOptions{MaxBytes: 10 * packetCost, MaxSessions: 5})
	defer r.close()
	offsets := keep(r, 100)
	for i := range 100 {
		r.persist(&Session{PID: fmt.Sprint("pid", i)})
	}
	if len(r.packets) > 10 || r.bytes > 10*packetCost {
		t.Errorf("%d packets with %d bytes are kept", len(r.packets), r.bytes)
	}
	if len(r.byPID) > 5 {
		t.Errorf("%d sessions are kept", len(r.byPID))
	}
	if n := missed(r, "pid99", offsets[50]); n != -1 {
		t.Errorf("resumed behind a packet that is forgotten, with %d packets", n)
	}
	if n := missed(r, "pid99", offsets[98]); n != 1 {
		t.Errorf("missed %d packets, want 1", n)
	}
	if n := missed(r, "pid0", offsets[98]); n != -1 {
		t.Error("a session that is forgotten was resumed")
	}
}

// FuzzRestore requests sessions with secrets and offsets of all kinds. Only the right ones find a session.
func FuzzRestore(f *testing.F) {
	r := newRecovery(&RecoveryOptions{MaxDisconnection: 24 * time.Hour})
	offsets := keep(r, 40)
	r.persist(&Session{ID: "id", PID: "pid"})
	valid := make(map[string]int)
	for i, offset := range offsets {
		valid[offset] = len(offsets) - 1 - i
		f.Add("pid", offset)
	}
	for _, offset := range []string{"", ".", "x.1", r.nonce, r.nonce + ".", r.nonce + ".-1", r.nonce + ".zzzzzzzzzzzzzzzz", r.nonce + ".0"} {
		f.Add("pid", offset)
		f.Add("other", offset)
	}
	f.Fuzz(func(t *testing.T, pid, offset string) {
		n := missed(r, pid, offset)
		if n == -1 {
			if _, ok := valid[offset]; ok && pid == "pid" {
				t.Error("the session was not found")
			}
			return
		}
		if pid != "pid" || n < 0 || n >= len(offsets) {
			t.Errorf("%q %q: resumed with %d packets", pid, offset, n)
		}
	})
}
