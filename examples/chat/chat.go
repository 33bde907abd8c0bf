package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/myriad-rt/myriad/socketio"
)

const (
	maxRooms     = 100
	maxHistory   = 50      // messages of a room
	historyBytes = 2 << 20 // images in them
)

var (
	permanentRooms = []string{"lobby", "design", "random"}

	errNoHello   = errors.New("please choose a name first")
	errNotInRoom = errors.New("you are not in this room")
	errTooMany   = errors.New("there are too many rooms, please use one that exists")
)

// chat knows who is here, and the rooms. Its methods are safe for concurrent use.
type chat struct {
	server  *socketio.Server
	started time.Time

	// mu also orders events, so that everyone sees changes in the order in which they were made.
	// Emit does not wait for clients, so mu is never held for long.
	mu     sync.Mutex
	users  map[*socketio.Socket]*user
	rooms  map[string]*room
	lastID int64
}

type user struct {
	name, key string
	socket    *socketio.Socket
}

type room struct {
	name    string
	members map[*user]struct{}
	history []Message
}

// channel returns the name of the Socket.IO room for a room of the chat. The prefix keeps names that users
// choose apart from socket ids, which are rooms, too.
func channel(room string) string { return "room:" + room }

// newChat registers the handlers of the chat on server.
func newChat(server *socketio.Server) *chat {
	c := &chat{
		server:  server,
		started: time.Now(),
		users:   make(map[*socketio.Socket]*user),
		rooms:   make(map[string]*room),
		lastID:  time.Now().UnixMilli(), // greater than all ids from before a restart
	}
	for _, name := range permanentRooms {
		c.rooms[name] = newRoom(name)
	}
	socketio.OnAck(server, "hello", c.hello)
	socketio.OnAck(server, "join", c.join)
	socketio.OnAck(server, "leave", c.leave)
	socketio.OnAck(server, "message", c.message)
	socketio.On(server, "typing", c.typing)
	server.On("latency", func(e *socketio.Event) { e.Ack() })
	server.OnDisconnect(c.quit)
	return c
}

func newRoom(name string) *room { return &room{name: name, members: make(map[*user]struct{})} }

func (c *chat) hello(s *socketio.Socket, h Hello) Reply {
	name, err := cleanName(h.Name)
	if err != nil {
		return refuse(err)
	}
	if len(h.Key) > maxKey {
		return refuse(errors.New("the key is too long"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[s] != nil {
		return refuse(errors.New("you have a name already"))
	}
	u := c.named(name)
	switch {
	case u == nil:
		u = &user{name: name, key: h.Key, socket: s}
	case u.key == "" || u.key != h.Key:
		return refuse(fmt.Errorf("%s is here already, please choose another name", name))
	default:
		// The user is back before the server noticed that the old connection is broken.
		delete(c.users, u.socket)
		u.socket.Disconnect(true)
		u.socket = s
		for _, r := range c.rooms {
			if r.has(u) {
				s.Join(channel(r.name))
			}
		}
	}
	c.users[s] = u
	s.Emit("rooms", c.list())
	c.server.Emit("stats", c.stats())
	return Reply{OK: true, Name: u.name}
}

func (c *chat) join(s *socketio.Socket, j Join) Reply {
	name, err := cleanRoom(j.Room)
	if err != nil {
		return refuse(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[s]
	if u == nil {
		return refuse(errNoHello)
	}
	r := c.rooms[name]
	if r == nil {
		if len(c.rooms) >= maxRooms {
			return refuse(errTooMany)
		}
		r = newRoom(name)
	}
	for _, m := range r.history {
		if m.ID > j.After {
			s.Emit("message", m)
		}
	}
	if r.has(u) {
		s.Emit("presence", Presence{Room: name, Members: r.names()})
		return Reply{OK: true, Room: name}
	}
	if err := s.Join(channel(name)); err != nil {
		return refuse(err)
	}
	r.members[u] = struct{}{}
	c.rooms[name] = r
	c.server.To(channel(name)).Emit("presence", Presence{Room: name, Members: r.names(), Joined: u.name})
	c.server.Emit("rooms", c.list())
	return Reply{OK: true, Room: name}
}

func (c *chat) leave(s *socketio.Socket, l Leave) Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, r := c.users[s], c.rooms[l.Room]
	if u == nil || r == nil || !r.has(u) {
		return refuse(errNotInRoom)
	}
	s.Leave(channel(r.name))
	c.remove(r, u)
	c.server.Emit("rooms", c.list())
	return Reply{OK: true}
}

func (c *chat) message(s *socketio.Socket, p Post) Reply {
	imageType, err := p.check()
	if err != nil {
		return refuse(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u, r := c.users[s], c.rooms[p.Room]
	if u == nil || r == nil || !r.has(u) {
		return refuse(errNotInRoom)
	}
	c.lastID++
	m := Message{
		ID: c.lastID, Room: r.name, From: u.name, Text: p.Text, Image: p.Image, ImageType: imageType,
		Ref: p.Ref, Time: time.Now().UnixMilli(),
	}
	r.remember(m)
	if err := s.To(channel(r.name)).Emit("message", m); err != nil { // the room, without the sender
		return refuse(err)
	}
	return Reply{OK: true, ID: m.ID, Time: m.Time}
}

func (c *chat) typing(s *socketio.Socket, t Typing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, r := c.users[s], c.rooms[t.Room]
	if u == nil || r == nil || !r.has(u) {
		return
	}
	// Nobody misses this if the connection is busy.
	s.To(channel(r.name)).Volatile().Emit("typing", Typing{Room: r.name, Name: u.name})
}

// quit runs when a socket has disconnected. It has already left its rooms.
func (c *chat) quit(s *socketio.Socket, _ socketio.DisconnectReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.users[s]
	if u == nil {
		return
	}
	delete(c.users, s)
	for _, r := range c.rooms {
		if r.has(u) {
			c.remove(r, u)
		}
	}
	c.server.Emit("rooms", c.list())
	c.server.Emit("stats", c.stats())
}

// remove removes u from r, tells the others, and removes the room if it is empty.
func (c *chat) remove(r *room, u *user) {
	delete(r.members, u)
	if len(r.members) == 0 && !slices.Contains(permanentRooms, r.name) {
		delete(c.rooms, r.name)
		return
	}
	c.server.To(channel(r.name)).Emit("presence", Presence{Room: r.name, Members: r.names(), Left: u.name})
}

// named returns the user with this name, whatever its case, or nil.
func (c *chat) named(name string) *user {
	for _, u := range c.users {
		if strings.EqualFold(u.name, name) {
			return u
		}
	}
	return nil
}

// list returns the rooms, the permanent ones first.
func (c *chat) list() []RoomInfo {
	var list []RoomInfo
	for _, name := range permanentRooms {
		list = append(list, RoomInfo{Name: name, Members: len(c.rooms[name].members)})
	}
	for _, name := range slices.Sorted(maps.Keys(c.rooms)) {
		if !slices.Contains(permanentRooms, name) {
			list = append(list, RoomInfo{Name: name, Members: len(c.rooms[name].members)})
		}
	}
	return list
}

func (c *chat) stats() Stats {
	return Stats{Online: len(c.users), Uptime: int64(time.Since(c.started).Seconds())}
}

func (r *room) has(u *user) bool {
	_, ok := r.members[u]
	return ok
}

// names returns the names of the members in alphabetical order.
func (r *room) names() []string {
	names := make([]string, 0, len(r.members))
	for u := range r.members {
		names = append(names, u.name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
	})
	return names
}

// remember adds m to the history, which holds no more than maxHistory messages and historyBytes of images.
func (r *room) remember(m Message) {
	r.history = append(r.history, m)
	size := 0
	for _, m := range r.history {
		size += len(m.Image)
	}
	for len(r.history) > maxHistory || size > historyBytes {
		size -= len(r.history[0].Image)
		r.history = slices.Delete(r.history, 0, 1)
	}
}
