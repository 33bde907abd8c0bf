package soak

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// packet is an Engine.IO packet: text that begins with the packet type, or the data of a binary message.
type packet struct {
	text string
	data []byte
}

func texts(list ...string) []packet {
	packets := make([]packet, len(list))
	for i, text := range list {
		packets[i].text = text
	}
	return packets
}

// separator separates the packets of a payload.
const separator = "\x1e"

// joined is the answer to CONNECT.
type joined struct {
	SID     string `json:"sid"`
	PID     string `json:"pid"`
	Message string `json:"message"` // of CONNECT_ERROR
}

// socketPacket is a Socket.IO packet.
type socketPacket struct {
	kind        byte
	attachments int
	namespace   string
	id          int // of the acknowledgement, or -1
	data        string
	blobs       [][]byte
}

func parseSocketPacket(text string) (*socketPacket, error) {
	if text == "" {
		return nil, errors.New("a message without a packet")
	}
	p := &socketPacket{kind: text[0], namespace: "/", id: -1}
	rest := text[1:]
	if p.kind == '5' || p.kind == '6' {
		count, behind, ok := strings.Cut(rest, "-")
		n, err := strconv.Atoi(count)
		if !ok || err != nil {
			return nil, fmt.Errorf("a packet without a number of attachments: %.100q", text)
		}
		p.attachments, rest = n, behind
	}
	if strings.HasPrefix(rest, "/") {
		p.namespace, rest, _ = strings.Cut(rest, ",")
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	if digits > 0 {
		id, err := strconv.Atoi(rest[:digits])
		if err != nil {
			return nil, err
		}
		p.id, rest = id, rest[digits:]
	}
	p.data = rest
	return p, nil
}

// frames encodes packets as WebSocket messages, some of them in two frames and some compressed.
func frames(packets []packet, deflate bool) []byte {
	var b []byte
	for _, p := range packets {
		op, data := opText, []byte(p.text)
		if p.data != nil {
			op, data = opBinary, p.data
		}
		switch n := len(data); {
		case n%7 == 6:
			b = appendFrame(b, op, data[:n/2])
			b = appendFrame(b, 0x80|opContinuation, data[n/2:])
		case deflate && n%3 == 1:
			b = appendFrame(b, 0x80|0x40|op, compress(data))
		default:
			b = appendFrame(b, 0x80|op, data)
		}
	}
	return b
}

// payload encodes packets as the body of a POST.
func payload(packets []packet) []byte {
	var b []byte
	for i, p := range packets {
		if i > 0 {
			b = append(b, separator...)
		}
		if p.data != nil {
			b = base64.StdEncoding.AppendEncode(append(b, 'b'), p.data)
		} else {
			b = append(b, p.text...)
		}
	}
	return b
}

// connect returns a CONNECT packet.
func connect(namespace string, a auth) packet {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings cannot fail to encode
	}
	if namespace == "/" {
		return packet{text: "40" + string(data)}
	}
	return packet{text: "40" + namespace + "," + string(data)}
}

// event returns an EVENT packet for the namespace "/". A negative id requests no acknowledgement.
func event(id int, name string, args ...any) packet {
	data, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		panic(err) // arguments are chosen by this package
	}
	text := "42"
	if id >= 0 {
		text += strconv.Itoa(id)
	}
	return packet{text: text + string(data)}
}
