package adapter

import (
	"sync"
	"unicode/utf16"
)

// SubscriptionMode says which rooms have a channel of their own, where a backend has such channels. Nodes must agree
// on it.
type SubscriptionMode string

const (
	// Dynamic gives a channel to each room, except those that are named after a socket.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate gives a channel to each room.
	DynamicPrivate SubscriptionMode = "dynamic-private"
	// Static gives no channels to rooms: each node gets everything.
	Static SubscriptionMode = "static"
)

// WithDefault returns m, or Dynamic if it is "". It panics if m is none of the modes.
func (m SubscriptionMode) WithDefault() SubscriptionMode {
	switch m {
	case "":
		return Dynamic
	case Dynamic, DynamicPrivate, Static:
		return m
	}
	panic("adapter: unknown subscription mode " + string(m))
}

// HasChannel reports whether broadcasts to this one room are sent on a channel of its own. With Dynamic, a name that may
// be that of a socket counts as one.
func (m SubscriptionMode) HasChannel(room string) bool {
	return m == DynamicPrivate || m == Dynamic && !looksLikeSocket(room)
}

// looksLikeSocket reports whether a name is as long as the id of a socket, as JavaScript counts.
func looksLikeSocket(room string) bool {
	const length = 20
	if len(room) < length || len(room) > 3*length {
		return false
	}
	return len(utf16.Encode([]rune(room))) == length
}

// SubscribeRooms has the backend follow the rooms of this node: subscribe and unsubscribe are called when a room that
// has a channel comes or goes, and unsubscribe for all that are left before Backend.Close. They must not block, and are
// not called at the same time. Start calls SubscribeRooms, at most once.
func (n Node) SubscribeRooms(mode SubscriptionMode, subscribe func(room string), unsubscribe func(rooms ...string)) {
	if mode == Static {
		return
	}
	n.c.rooms = roomChannels{
		local: n.c.local, mode: mode, subscribe: subscribe, unsubscribe: unsubscribe, subscribed: make(map[string]struct{}),
	}
}

// roomChannels keeps the subscriptions of a node to the channels of rooms in line with its rooms. The zero value does
// nothing.
type roomChannels struct {
	local       *Memory
	mode        SubscriptionMode
	subscribe   func(room string)
	unsubscribe func(rooms ...string)

	mu         sync.Mutex // held from looking at a room until its subscription has changed
	subscribed map[string]struct{}
}

// update is called after a room has come or gone. Calls for one room may be out of order.
func (r *roomChannels) update(room string) {
	if r.local == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, has := r.subscribed[room]
	switch wants := r.wants(room); {
	case r.subscribed == nil: // closed
	case wants:
		r.subscribed[room] = struct{}{}
		r.subscribe(room)
	case has:
		delete(r.subscribed, room)
		r.unsubscribe(room)
	}
}

// wants reports whether the channel of a room is to be subscribed to.
func (r *roomChannels) wants(room string) bool {
	if r.mode == Dynamic {
		if _, isSocket := r.local.Socket(room); isSocket {
			return false
		}
	}
	return r.local.hasRoom(room)
}

// close unsubscribes from all rooms for good.
func (r *roomChannels) close() {
	if r.local == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rooms := make([]string, 0, len(r.subscribed))
	for room := range r.subscribed {
		rooms = append(rooms, room)
	}
	r.subscribed = nil
	r.unsubscribe(rooms...)
}
