package adaptertest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myriad-rt/myriad/adapter"
	"github.com/myriad-rt/myriad/socketio/parser"
	"github.com/myriad-rt/myriad/transport"
)

// Node is a namespace on one node. Adapter must be set to the adapter under test.
type Node struct {
	Adapter adapter.Adapter
	// Mute keeps HandleServerSideEmit from answering.
	Mute atomic.Bool
	// Kept is the result of Recovery. It must be set before the adapter is created.
	Kept *adapter.RecoveryOptions
	// OnRoomEvent, if not nil, is called by HandleRoomEvent, as a function of the application.
	OnRoomEvent func(adapter.RoomEvent)

	name    string
	ackID   atomic.Uint64
	encoded atomic.Int64

	mu     sync.Mutex
	events []adapter.RoomEvent
	emits  []string
}

// NewNode returns a namespace without sockets.
func NewNode(name string) *Node { return &Node{name: name} }

// Name implements adapter.Namespace.
func (n *Node) Name() string { return n.name }

// Recovery implements adapter.Namespace.
func (n *Node) Recovery() *adapter.RecoveryOptions { return n.Kept }

// NextAckID implements adapter.Namespace.
func (n *Node) NextAckID() uint64 { return n.ackID.Add(1) - 1 }

// Encode implements adapter.Namespace.
func (n *Node) Encode(p *parser.Packet, f adapter.Flags) (*transport.Message, error) {
	n.encoded.Add(1)
	m, err := parser.EncodeMessage(parser.Default, p)
	if err != nil {
		return nil, err
	}
	m.NoCompress = f.NoCompress
	return m.Share(), nil
}

// HandleServerSideEmit implements adapter.Namespace. It answers with args.
func (n *Node) HandleServerSideEmit(args parser.Args, ack func(parser.Args)) {
	if ack != nil && !n.Mute.Load() {
		ack(args)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.emits = append(n.emits, string(args.Data))
}

// Emits returns the server-side events received from other nodes. They have been answered unless Mute is set.
func (n *Node) Emits() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.emits)
}

// HandleRoomEvent implements adapter.Namespace.
func (n *Node) HandleRoomEvent(e adapter.RoomEvent) {
	n.mu.Lock()
	n.events = append(n.events, e)
	n.mu.Unlock()
	if n.OnRoomEvent != nil {
		n.OnRoomEvent(e)
	}
}

// TakeRoomEvents returns the room events since the last call.
func (n *Node) TakeRoomEvents() []adapter.RoomEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := n.events
	n.events = nil
	return events
}

// NewSocket returns a socket that is not connected.
func (n *Node) NewSocket(id string) *Socket {
	return &Socket{id: id, node: n, acks: map[uint64]func(parser.Args){}}
}

// Connect returns a connected socket in the room named after it and in others.
func (n *Node) Connect(id string, rooms ...string) *Socket {
	s := n.NewSocket(id)
	s.connected.Store(true)
	if err := n.Adapter.Add(s, append([]string{id}, rooms...)...); err != nil {
		panic(fmt.Sprintf("adaptertest: connecting %s: %v", id, err))
	}
	return s
}

// Stats returns the counters of Adapter, which must be a *adapter.Cluster.
func (n *Node) Stats() adapter.ClusterStats { return n.Adapter.(*adapter.Cluster).Stats() }

// Event returns an EVENT packet without arguments for the namespace "/".
func Event(name string) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["` + name + `"]`)}
}

// Socket is a socket of a Node. It records the packets sent to it.
type Socket struct {
	id        string
	node      *Node
	member    adapter.Member
	connected atomic.Bool
	// Reply, if not nil, returns the answer to packets that request an acknowledgement. Replied, if not nil, is called
	// after each answer.
	Reply   func() parser.Args
	Replied func()
	// Sent, if not nil, is called with the text of each packet after it was sent, as a function of the application may be.
	Sent func(text string)

	mu       sync.Mutex
	queue    []delivery
	sending  bool
	received []string
	flags    []adapter.Flags
	attached [][]byte
	acks     map[uint64]func(parser.Args)
}

// ID implements adapter.Socket.
func (s *Socket) ID() string { return s.id }

// Reachable implements adapter.Socket.
func (s *Socket) Reachable() bool { return s.connected.Load() }

// Member implements adapter.Socket.
func (s *Socket) Member() *adapter.Member { return &s.member }

// delivery is a packet that was given to Deliver or Enqueue.
type delivery struct {
	packet  parser.Packet
	message *transport.Message
	flags   adapter.Flags
}

// Deliver implements adapter.Socket.
func (s *Socket) Deliver(p *parser.Packet, m *transport.Message, f adapter.Flags) {
	s.Enqueue(p, m, f)
	s.Flush()
}

// Enqueue implements adapter.Socket.
func (s *Socket) Enqueue(p *parser.Packet, m *transport.Message, f adapter.Flags) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, delivery{p.Clone(), m, f})
}

// Flush implements adapter.Socket.
func (s *Socket) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending {
		return // the goroutine that sends also sends the rest
	}
	s.sending = true
	for i := 0; i < len(s.queue); i++ {
		d := s.queue[i]
		text, _ := d.message.Text()
		s.received = append(s.received, string(text))
		s.flags = append(s.flags, d.flags)
		s.attached = append(s.attached, d.message.Binary()...)
		s.mu.Unlock()
		s.sent(&d.packet, string(text))
		s.mu.Lock()
	}
	s.sending, s.queue = false, s.queue[:0]
}

func (s *Socket) sent(p *parser.Packet, text string) {
	if s.Sent != nil {
		s.Sent(text)
	}
	if p.HasID && s.Reply != nil {
		answer, replied := s.Reply(), s.Replied
		go func() {
			s.Answer(p.ID, answer)
			if replied != nil {
				replied()
			}
		}()
	}
}

// Answer acknowledges a packet, as the client would.
func (s *Socket) Answer(id uint64, args parser.Args) {
	s.mu.Lock()
	ack := s.acks[id]
	delete(s.acks, id)
	s.mu.Unlock()
	if ack != nil {
		ack(args)
	}
}

// ExpectAck implements adapter.Socket.
func (s *Socket) ExpectAck(id uint64, ack func(parser.Args)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks[id] = ack
}

// DropAck implements adapter.Socket.
func (s *Socket) DropAck(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.acks, id)
}

// Pending returns the number of expected acknowledgements.
func (s *Socket) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acks)
}

// Describe implements adapter.Socket.
func (s *Socket) Describe() adapter.Description {
	return adapter.Description{ID: s.id, Handshake: json.RawMessage(`{}`), Data: json.RawMessage(`{"of":"` + s.id + `"}`)}
}

// Disconnect implements adapter.Socket.
func (s *Socket) Disconnect(bool) {
	if s.connected.Swap(false) {
		s.node.Adapter.RemoveAll(s)
	}
}

// Take returns the texts sent to the socket since the last call.
func (s *Socket) Take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	received := s.received
	s.received, s.flags = nil, nil
	return received
}

// binary returns all attachments sent to the socket.
func (s *Socket) binary() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// InRooms returns the rooms of the socket, sorted.
func (s *Socket) InRooms() []string {
	rooms := s.node.Adapter.Rooms(s)
	slices.Sort(rooms)
	return rooms
}
