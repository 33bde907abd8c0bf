package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

// This file emits from Go code outside of event handlers: from an HTTP handler and a ticker. Any code with access to the
// server can do so, on any goroutine.

// ackTimeout is how long POST /announce waits for acknowledgements.
const ackTimeout = 5 * time.Second

// announce answers POST /announce. The form selects the recipients:
//
//	curl -d text=Hello localhost:3000/announce                              everyone
//	curl -d text=Hello -d room=lobby localhost:3000/announce                a room
//	curl -d text=Hello -d room=lobby -d room=design localhost:3000/announce several rooms, each socket once
//	curl -d text=Hello -d except=lobby localhost:3000/announce              all but those in a room
//	curl -d text=Hello -d name=Ada localhost:3000/announce                  one socket
//
// With -d ack=1 it waits for acknowledgements and answers with the names of the users who
// acknowledged.
func (c *chat) announce(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rooms, except := r.PostForm["room"], r.PostForm["except"]
	a := Announcement{Text: r.PostForm.Get("text"), Rooms: rooms, Time: time.Now().UnixMilli()}
	if a.Text == "" || len(a.Text) > maxText {
		http.Error(w, "text is missing or too long", http.StatusBadRequest)
		return
	}

	if name := r.PostForm.Get("name"); name != "" {
		s := c.socket(name)
		if s == nil {
			http.Error(w, name+" is not here", http.StatusNotFound)
			return
		}
		c.announceToOne(w, r, s, a)
		return
	}

	// A Broadcast is a value: each call returns another one, which can be kept and shared.
	audience := c.server.Except(channels(except)...) // everyone if except is empty
	if len(rooms) > 0 {
		audience = audience.To(channels(rooms)...)
	}

	if !r.PostForm.Has("ack") {
		answer(w, nil, audience.Emit("announcement", a))
		return
	}
	// One answer for each client. At the deadline the answers so far are returned with an error.
	answers, err := audience.Timeout(ackTimeout).EmitWithAck(r.Context(), "announcement", a)
	answer(w, names(answers...), err)
}

// announceToOne sends a to one socket.
func (c *chat) announceToOne(w http.ResponseWriter, r *http.Request, s *socketio.Socket, a Announcement) {
	if !r.PostForm.Has("ack") {
		answer(w, nil, s.Emit("announcement", a))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ackTimeout)
	defer cancel()
	args, err := s.EmitWithAck(ctx, "announcement", a)
	answer(w, names(args), err)
}

// tick tells everyone how many are here, until ctx ends.
func (c *chat) tick(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.mu.Lock()
			stats := c.stats()
			c.mu.Unlock()
			// Volatile: whoever cannot be written to at once gets the next one instead.
			if err := c.server.Volatile().Emit("stats", stats); err != nil {
				slog.Warn("stats not sent", "err", err)
			}
		}
	}
}

// socket returns the socket of the user with this name, or nil.
func (c *chat) socket(name string) *socketio.Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.named(name); u != nil {
		return u.socket
	}
	return nil
}

func channels(rooms []string) []string {
	names := make([]string, len(rooms))
	for i, room := range rooms {
		names[i] = channel(room)
	}
	return names
}

// names returns the first argument of each acknowledgement: clients answer with their name.
func names(acks ...socketio.Args) []string {
	names := make([]string, 0, len(acks))
	for _, ack := range acks {
		var name string
		if err := ack.Bind(&name); err == nil && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// answer reports the result of an announcement.
func answer(w http.ResponseWriter, seenBy []string, err error) {
	result := struct {
		SeenBy []string `json:"seenBy,omitempty"`
		Error  string   `json:"error,omitempty"`
	}{SeenBy: seenBy}
	if err != nil {
		result.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(result)
}
