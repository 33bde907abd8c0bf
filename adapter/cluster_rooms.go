package adapter

import (
	"sync"
	"unicode/utf16"
)

// SubscriptionMode selects the rooms that have their own channel, for backends with such channels. It must be the same on
// all nodes.
type SubscriptionMode string

const (
	// Dynamic uses a channel for each room, except rooms named after a socket.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate uses a channel for each room.
	DynamicPrivate SubscriptionMode = "dynamic-private"
	// Static uses no channels for rooms: every node receives every message.
	Static SubscriptionMode = "static"
)

// WithDefault returns m, or Dynamic if m is "". It panics if m is unknown.
func (m SubscriptionMode) WithDefault() SubscriptionMode {
	switch m {
	case "":
		return Dynamic
	case Dynamic, DynamicPrivate, Static:
		return m
	}
	panic("adapter: unknown subscription mode " + string(m))
}

// HasChannel reports whether broadcasts to room use the room's own channel. With Dynamic, the result is false for every name
// that looks like the id of a socket.
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

// SubscribeRooms keeps subscriptions in line with the rooms of this node. It calls subscribe and unsubscribe when a room with
// a channel is created or deleted, and unsubscribe for all remaining rooms before Backend.Close. The functions must not
// block, and are never called concurrently. Start calls SubscribeRooms, at most once.
func (n Node) SubscribeRooms(mode SubscriptionMode, subscribe func(room string), unsubscribe func(rooms ...string)) {
	if mode == Static {
		return
	}
	n.c.rooms = roomChannels{
		local: n.c.local, mode: mode, subscribe: subscribe, unsubscribe: unsubscribe, subscribed: make(map[string]struct{}),
	}
}

// roomChannels keeps the subscriptions of a node in line with its rooms. The zero value does nothing.
type roomChannels struct {
	local       *Memory
	mode        SubscriptionMode
	subscribe   func(room string)
	unsubscribe func(rooms ...string)

	mu         sync.Mutex // held from looking at a room until its subscription has changed
	subscribed map[string]struct{}
}

// update is called after a room has been created or deleted. Calls for one room may be out of order.
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

// wants reports whether a subscription to the channel of room is needed.
func (r *roomChannels) wants(room string) bool {
	if r.mode == Dynamic {
		if _, isSocket := r.local.Socket(room); isSocket {
			return false
		}
	}
	return r.local.hasRoom(room)
}

// close unsubscribes from all rooms permanently.
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
