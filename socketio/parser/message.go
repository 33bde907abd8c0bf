package parser

import (
	"sync"

	"github.com/myriad-rt/myriad/transport"
)

// packets has the packets that Release gives back, with their messages.
var packets = sync.Pool{New: func() any { return &Packet{Message: transport.NewMessage()} }}

// NewEvent returns the packet of an event, with its arguments written into a message as [AppendEvent] does. It belongs
// to the caller, who calls Release.
func NewEvent(namespace, name string, args []any) (*Packet, error) {
	p := packets.Get().(*Packet)
	data, attachments, err := AppendEvent(p.Message.Buffer(), nil, name, args...)
	p.Type, p.Namespace = Event, namespace
	return p.filled(data, attachments, err)
}

// NewAck returns the packet of an acknowledgement, with its arguments written into a message as [AppendArgs] does. The
// caller calls Release.
func NewAck(namespace string, id uint64, args []any) (*Packet, error) {
	p := packets.Get().(*Packet)
	data, attachments, err := AppendArgs(p.Message.Buffer(), nil, args...)
	p.Type, p.Namespace, p.ID, p.HasID = Ack, namespace, id, true
	return p.filled(data, attachments, err)
}

func (p *Packet) filled(data []byte, attachments [][]byte, err error) (*Packet, error) {
	if err != nil {
		p.Release()
		return nil, err
	}
	p.Message.SetText(data)
	p.Data, _ = p.Message.Text()
	p.Attachments = attachments
	return p, nil
}

// Release gives p, which NewEvent or NewAck has returned, and its message back. Neither may be used afterwards, nor
// Data.
func (p *Packet) Release() {
	p.Message.Reset()
	*p = Packet{Message: p.Message}
	packets.Put(p)
}

// isWritten reports whether the text of p.Message is Data: p is not a copy with other data, and has not been encoded.
func (p *Packet) isWritten() bool {
	if p.Message == nil {
		return false
	}
	text, _ := p.Message.Text()
	return len(text) > 0 && len(text) == len(p.Data) && &text[0] == &p.Data[0]
}

// AppendString adds s to the arguments of p. It changes Data in place if that stands in p.Message, and copies it
// otherwise.
func (p *Packet) AppendString(s string) {
	if p.isWritten() {
		p.Message.SetText(appendElement(append(p.Message.Buffer(), p.Data...), s))
		p.Data, _ = p.Message.Text()
		return
	}
	p.Data = appendElement(append(make([]byte, 0, len(p.Data)+len(s)+3), p.Data...), s)
}

// EncodeMessage returns the message that carries p in the format of ps. If that is p.Message, in which Data stands
// already, it belongs to p. Otherwise it is a new one, which the caller releases.
func EncodeMessage(ps Parser, p *Packet) (*transport.Message, error) {
	if t, ok := ps.(*textParser); ok && p.isWritten() {
		head, err := t.appendHead(p.Message.Room(), p)
		if err != nil {
			return nil, err
		}
		p.Message.Prepend(head)
		p.Message.SetBinary(p.Attachments...)
		return p.Message, nil
	}
	m := transport.NewMessage()
	text, binary, err := ps.Encode(m.Buffer(), p)
	if err != nil {
		m.Release()
		return nil, err
	}
	m.SetPacket(text, binary)
	return m, nil
}
