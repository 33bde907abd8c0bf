package adapter

import (
	"sync"
	"unicode/utf16"
)

// SubscriptionMode says which rooms have a channel of their own, where a backend has such channels. Nodes must agree
// on it.
type SubscriptionMode string

const (
	// Dynamic gives one to each room, except those that are named after a socket.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate gives one to each room.
	DynamicPrivate SubscriptionMode = "dynamic-private"
	// Static gives none to rooms: each node gets everything.
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

// HasChannel reports whether what is for a room only is sent on a channel of its own. A name that might be that of
// a socket counts as one with Dynamic.
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

// RoomChannels keeps the subscriptions of a node to the channels of rooms in line with the rooms that it has.
type RoomChannels struct {
	c           *Cluster
	mode        SubscriptionMode
	subscribe   func(room string)
	unsubscribe func(rooms ...string)

	mu     sync.Mutex // guards the order of looking at a room and changing its subscription
	rooms  map[string]struct{}
	closed bool
}

// NewRoomChannels returns the channels of a node that has no rooms yet. subscribe and unsubscribe must not block;
// they are not called at the same time.
func NewRoomChannels(c *Cluster, mode SubscriptionMode, subscribe func(room string), unsubscribe func(rooms ...string)) *RoomChannels {
	return &RoomChannels{
		c: c, mode: mode, subscribe: subscribe, unsubscribe: unsubscribe, rooms: make(map[string]struct{}),
	}
}

// HandleRoom is Backend.HandleRoom.
func (r *RoomChannels) HandleRoom(room string) {
	if r.mode == Static {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.wants(room) {
		r.rooms[room] = struct{}{}
		r.subscribe(room)
	} else if _, ok := r.rooms[room]; ok {
		delete(r.rooms, room)
		r.unsubscribe(room)
	}
}

// wants reports whether the channel of a room is to be subscribed to.
func (r *RoomChannels) wants(room string) bool {
	if r.mode == Dynamic {
		if _, isSocket := r.c.Socket(room); isSocket {
			return false
		}
	}
	return r.c.HasRoom(room)
}

// Close unsubscribes from all of them for good.
func (r *RoomChannels) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	rooms := make([]string, 0, len(r.rooms))
	for room := range r.rooms {
		rooms = append(rooms, room)
	}
	r.rooms = nil
	r.unsubscribe(rooms...)
}
