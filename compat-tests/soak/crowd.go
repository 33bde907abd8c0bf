package soak

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// crowdSize is the number of sessions in a crowd. They have no open requests, so they need no descriptors.
	crowdSize = 10_000
	// crowdWires is the number of pairs of connections that carry their requests.
	crowdWires = 8
	// crowded is the name under which the sessions are counted.
	crowded = "session of a crowd"
)

// crowd opens many sessions, broadcasts to them, and closes them. A small operation must cost the same before and after
// the broadcasts.
func (r *round) crowd() {
	n, size := r.nodes[0], crowdSize
	if r.soak.config.For == 0 {
		size /= 10
	}
	nobody := func() { n.server.To("nobody").Sockets() }
	const trials = 9
	var before, after []time.Duration
	for range trials {
		before = append(before, cost(nobody))
	}

	var mu sync.Mutex
	var sids []string
	r.overWires(size, func(_, w *wire, i int) error {
		sid, err := joinCrowd(w, i)
		mu.Lock()
		defer mu.Unlock()
		sids = append(sids, sid)
		return err
	})
	// A POST may be answered before the handler for the connection runs.
	if !r.await(patience, func() []string {
		if got := len(n.server.In(crowdRoom).Sockets()); got != size {
			return []string{fmt.Sprintf("%d of %d sockets are in the room of the crowd", got, size)}
		}
		return nil
	}) {
		return
	}
	r.fine(n.server.To(crowdRoom).Emit("hello"))

	for range trials {
		n.server.To(crowdRoom).Sockets()
		after = append(after, cost(nobody))
	}
	if err := aftermath("a selection of nobody", before, after); err != nil {
		r.fail("%v", err)
		return
	}
	r.overWires(len(sids), func(gets, posts *wire, i int) error { return leaveCrowd(gets, posts, sids[i]) })
	r.soak.count(crowded, len(sids))
}

// overWires calls f for 0 to n-1, on several pairs of connections at once.
func (r *round) overWires(n int, f func(gets, posts *wire, i int) error) {
	var all sync.WaitGroup
	for first := range crowdWires {
		all.Go(func() {
			var pair [2]*wire
			for i := range pair {
				w, err := dial(r.ctx, r.nodes[0].addr, r.nodes[0].secure, &r.open)
				if err != nil {
					r.fail("a crowd cannot connect: %v", err)
					return
				}
				defer w.close()
				_ = w.SetDeadline(time.Now().Add(4 * patience))
				pair[i] = w
			}
			for i := first; i < n && !r.failed(); i += crowdWires {
				if err := f(pair[0], pair[1], i); err != nil {
					r.fail("session %d of a crowd: %v", i, err)
				}
			}
		})
	}
	all.Wait()
}

const crowdTarget = "/socket.io/?EIO=4&transport=polling"

// joinCrowd opens a session that joins the room of the crowd.
func joinCrowd(w *wire, i int) (sid string, err error) {
	body, err := w.exchange("GET", crowdTarget, "", nil)
	if err != nil {
		return "", err
	}
	_, behind, _ := bytes.Cut(body, []byte(`"sid":"`))
	sid, _, _ = strings.Cut(string(behind), `"`)
	a := auth{Key: fmt.Sprint("crowd ", i), Rooms: []string{crowdRoom}}
	_, err = w.exchange("POST", crowdTarget+"&sid="+sid, "", []byte(connect("/", a).text))
	return sid, err
}

// leaveCrowd receives the packets that wait for a session and closes it, with a poll under way.
func leaveCrowd(gets, posts *wire, sid string) error {
	target := crowdTarget + "&sid=" + sid
	if _, err := gets.exchange("GET", target, "", nil); err != nil {
		return err
	}
	if err := gets.request("GET", target, "", nil); err != nil {
		return err
	}
	if _, err := posts.exchange("POST", target, "", []byte("1")); err != nil {
		return err
	}
	_, err := gets.answer()
	var status *statusError
	if errors.As(err, &status) {
		return nil // the poll arrived after the end of the session
	}
	return err
}
