package adapter

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// MemoryOptions configures a Memory. The zero value selects the defaults.
type MemoryOptions struct {
	// MaxRoomsPerSocket is the maximum number of rooms of one socket, not counting the room named after it. Zero means
	// 10,000; negative means no limit.
	MaxRoomsPerSocket int

	// Recovery, if not nil, overrides Namespace.Recovery for the packets and sessions stored on this node.
	Recovery *RecoveryOptions
}

const defaultMaxRooms = 10_000

// Memory is the adapter of a single server. It is safe for concurrent use.
//
// Joining, leaving and testing for membership take constant time. An empty room uses no memory. A broadcast is encoded once,
// and no lock is held while it is written.
type Memory struct {
	ns       Namespace
	maxRooms int
	index    index
	recovery *recovery // nil if off

	// order is held while a packet with an offset is put into the queues of its sockets, so that each client gets such
	// packets in the order of their offsets: otherwise the last one that it has seen might hide an earlier one that it has
	// not. It is not held while they are sent.
	order sync.Mutex
}

var _ Adapter = (*Memory)(nil)

// NewMemory returns an adapter of ns. opts may be nil.
func NewMemory(ns Namespace, opts *MemoryOptions) *Memory {
	a := &Memory{ns: ns, maxRooms: defaultMaxRooms}
	if opts != nil {
		if opts.MaxRoomsPerSocket != 0 {
			a.maxRooms = opts.MaxRoomsPerSocket
		}
	}
	kept := ns.Recovery()
	if opts != nil && opts.Recovery != nil {
		kept = opts.Recovery
	}
	if kept != nil {
		a.recovery = newRecovery(kept)
	}
	if a.maxRooms < 0 {
		a.maxRooms = int(^uint(0) >> 1)
	}
	return a
}

// Add implements [Adapter]. A socket that has been removed with RemoveAll is not added again.
func (a *Memory) Add(s Socket, rooms ...string) error {
	var few [4]RoomEvent
	events, err := a.add(few[:0], s, rooms)
	a.tell(events)
	return err
}

// add adds s to rooms and appends the changes to events.
func (a *Memory) add(events []RoomEvent, s Socket, rooms []string) ([]RoomEvent, error) {
	m, id := s.Member(), s.ID()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.has(memberGone) {
		return events, nil
	}
	if !m.has(memberAdded) && len(rooms) > 0 {
		m.socket = s
		m.flags.Or(memberAdded)
		a.index.register(m, id)
	}
	var first error
	for _, room := range rooms {
		joined, created, err := a.index.addLocked(m, id, room, a.maxRooms)
		if err != nil && first == nil {
			first = err
		}
		if created {
			events = append(events, RoomEvent{Kind: RoomCreated, Room: room})
		}
		if joined {
			events = append(events, RoomEvent{Kind: RoomJoined, Room: room, Socket: id})
		}
	}
	return events, first
}

func (a *Memory) tell(events []RoomEvent) {
	for _, e := range events {
		a.ns.HandleRoomEvent(e)
	}
}

// Remove implements [Adapter].
func (a *Memory) Remove(s Socket, room string) {
	m, id := s.Member(), s.ID()
	m.mu.Lock()
	left, deleted := a.index.removeLocked(m, id, room)
	m.mu.Unlock()
	a.left(id, room, left, deleted)
}

func (a *Memory) left(id, room string, left, deleted bool) {
	if left {
		a.ns.HandleRoomEvent(RoomEvent{Kind: RoomLeft, Room: room, Socket: id})
	}
	if deleted {
		a.ns.HandleRoomEvent(RoomEvent{Kind: RoomDeleted, Room: room})
	}
}

// RemoveAll implements [Adapter].
func (a *Memory) RemoveAll(s Socket) {
	m, id := s.Member(), s.ID()
	m.mu.Lock()
	flags := m.flags.Or(memberGone)
	m.mu.Unlock()
	if flags&(memberAdded|memberGone) != memberAdded {
		return
	}
	own := m.flags.And(^uint32(memberOwn))&memberOwn != 0
	a.index.unregister(m, id)
	if own {
		a.left(id, id, true, !a.index.hasRoom(id))
	}
	for ms := range m.memberships {
		a.left(id, ms.room.name, true, a.index.detach(ms) && !a.index.ownsRoom(ms.room.name))
	}
}

// Socket implements [Adapter].
func (a *Memory) Socket(id string) (Socket, bool) {
	m := a.index.member(id)
	if m == nil {
		return nil, false
	}
	return m.socket, true
}

// Rooms implements [Adapter].
func (a *Memory) Rooms(s Socket) []string {
	m := s.Member()
	m.mu.Lock()
	defer m.mu.Unlock()
	rooms := make([]string, 0, m.count()+1)
	if m.has(memberGone) {
		return rooms
	}
	if m.has(memberOwn) {
		rooms = append(rooms, s.ID())
	}
	for ms := range m.memberships {
		rooms = append(rooms, ms.room.name)
	}
	return rooms
}

// RoomNames implements [Adapter].
func (a *Memory) RoomNames() []string {
	var names []string
	for i := range a.index.rooms {
		sh := &a.index.rooms[i]
		sh.mu.RLock()
		names = slices.AppendSeq(names, maps.Keys(sh.rooms))
		sh.mu.RUnlock()
	}
	return names
}

func (a *Memory) hasRoom(name string) bool { return a.index.hasRoom(name) || a.index.ownsRoom(name) }

// Each implements [Adapter].
func (a *Memory) Each(o Options, f func(Socket) bool) {
	a.index.each(o, func(m *Member) bool {
		return !m.socket.Reachable() || f(m.socket)
	})
}

// Broadcast implements [Adapter].
func (a *Memory) Broadcast(p *parser.Packet, o Options) error {
	if a.recovery == nil || p.HasID || o.Flags.Volatile {
		return a.deliver(p, o)
	}
	a.order.Lock()
	to, err := a.enqueueLocked(a.recovery.store(p, o), o)
	a.order.Unlock()
	to.flush()
	return err
}

// enqueueLocked puts p into the queues of the sockets that o selects and returns them. a.order is held.
func (a *Memory) enqueueLocked(p *parser.Packet, o Options) (to *snapshot, err error) {
	to = snapshots.Get().(*snapshot)
	a.index.each(o, func(m *Member) bool {
		if m.socket.Reachable() {
			to.members = append(to.members, m)
		}
		return true
	})
	if len(to.members) == 0 {
		return to, nil
	}
	msg, err := a.ns.Encode(p, o.Flags)
	if err != nil {
		to.members = to.members[:0]
		return to, err
	}
	for _, m := range to.members {
		m.socket.Enqueue(p, msg, o.Flags)
	}
	return to, nil
}

// flush sends the packets queued by enqueueLocked and releases s.
func (s *snapshot) flush() {
	defer s.release()
	for _, m := range s.members {
		m.socket.Flush()
	}
}

func (a *Memory) deliver(p *parser.Packet, o Options) (err error) {
	var msg *transport.Message
	a.Each(o, func(s Socket) bool {
		if msg == nil {
			if msg, err = a.ns.Encode(p, o.Flags); err != nil {
				return false
			}
		}
		s.Deliver(p, msg, o.Flags)
		return true
	})
	return err
}

// BroadcastWithAck implements [Adapter].
func (a *Memory) BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options) ([]parser.Args, error) {
	if o.Flags.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Flags.Timeout, ErrTimeout)
		defer cancel()
	}
	var (
		mu      sync.Mutex
		answers = []parser.Args{}
		arrived = make(chan struct{}, 1)
	)
	count, drop, err := a.broadcastAcks(p, o, func(answer parser.Args) {
		mu.Lock()
		answers = append(answers, answer)
		mu.Unlock()
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	defer drop()
	for {
		mu.Lock()
		got := answers[:len(answers):len(answers)]
		mu.Unlock()
		if len(got) >= count {
			return got, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			mu.Lock()
			defer mu.Unlock()
			return answers[:len(answers):len(answers)], context.Cause(ctx)
		}
	}
}

// broadcastAcks sends p to the selected sockets of this node and returns their number. onAck is called with each answer, at
// most once per socket, on any goroutine; it must not block. drop cancels the outstanding answers.
func (a *Memory) broadcastAcks(p *parser.Packet, o Options, onAck func(parser.Args)) (count int, drop func(), err error) {
	withID := *p
	withID.ID, withID.HasID = a.ns.NextAckID(), true
	var asked []Socket
	a.Each(o, func(s Socket) bool {
		asked = append(asked, s)
		return true
	})
	if len(asked) == 0 {
		return 0, func() {}, nil
	}
	msg, err := a.ns.Encode(&withID, o.Flags)
	if err != nil {
		return 0, nil, err
	}
	for _, s := range asked {
		s.ExpectAck(withID.ID, onAck)
		s.Deliver(&withID, msg, o.Flags)
	}
	return len(asked), func() {
		for _, s := range asked {
			s.DropAck(withID.ID)
		}
	}, nil
}

// FetchSockets implements [Adapter].
func (a *Memory) FetchSockets(_ context.Context, o Options) ([]Description, error) {
	found := []Description{}
	a.Each(o, func(s Socket) bool {
		d := s.Describe()
		d.Rooms = a.Rooms(s)
		found = append(found, d)
		return true
	})
	return found, nil
}

// AddSockets implements [Adapter].
func (a *Memory) AddSockets(o Options, rooms ...string) (first error) {
	a.Each(o, func(s Socket) bool {
		if err := a.Add(s, rooms...); err != nil && first == nil {
			first = err
		}
		return true
	})
	return first
}

// RemoveSockets implements [Adapter].
func (a *Memory) RemoveSockets(o Options, rooms ...string) error {
	a.Each(o, func(s Socket) bool {
		for _, room := range rooms {
			a.Remove(s, room)
		}
		return true
	})
	return nil
}

// DisconnectSockets implements [Adapter].
func (a *Memory) DisconnectSockets(o Options, closeConn bool) error {
	a.Each(o, func(s Socket) bool {
		s.Disconnect(closeConn)
		return true
	})
	return nil
}

// ServerSideEmit implements [Adapter]. There are no other nodes, so it does nothing.
func (a *Memory) ServerSideEmit(parser.Args) error { return nil }

// ServerSideEmitWithAck implements [Adapter]. There are no other nodes, so it returns no answers.
func (a *Memory) ServerSideEmitWithAck(context.Context, parser.Args) ([]parser.Args, error) {
	return []parser.Args{}, nil
}

// ServerCount implements [Adapter]. It returns 1.
func (a *Memory) ServerCount(context.Context) (int, error) { return 1, nil }

// Recovers implements [Adapter].
func (a *Memory) Recovers() bool { return a.recovery != nil }

// PersistSession implements [Adapter].
func (a *Memory) PersistSession(s *Session) error {
	if a.recovery != nil {
		a.recovery.persist(s)
	}
	return nil
}

// RestoreSession implements [Adapter].
func (a *Memory) RestoreSession(_ context.Context, pid, offset string) (*Restored, error) {
	if a.recovery == nil {
		return nil, nil
	}
	s, number, ok := a.recovery.find(pid, offset)
	if !ok {
		return nil, nil
	}
	resume := func(_ context.Context, socket Socket, open func(iter.Seq[*parser.Packet]) bool) (bool, error) {
		events, resumed := a.resume(socket, s.Rooms, func() bool {
			missed, ok := a.recovery.since(number)
			return ok && open(s.missed(missed))
		})
		a.tell(events)
		return resumed, nil
	}
	return &Restored{Session: s.Session, Resume: resume}, nil
}

// resume calls open while no packet with an offset is put into any queue and, if it returns true, puts s into rooms before
// the next one is. The caller has to tell of the events.
func (a *Memory) resume(s Socket, rooms []string, open func() bool) (events []RoomEvent, resumed bool) {
	a.order.Lock()
	defer a.order.Unlock()
	if !open() {
		return nil, false
	}
	events, _ = a.add(nil, s, rooms) // those that fit
	return events, true
}

// Close implements [Adapter].
func (a *Memory) Close(context.Context) error {
	if a.recovery != nil {
		a.recovery.close()
	}
	return nil
}
