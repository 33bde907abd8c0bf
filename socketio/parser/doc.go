// Package parser translates between Socket.IO packets and bytes. It does no I/O and starts no goroutine.
//
// A [Packet] has the same form whatever is on the wire: a header, the payload as JSON text, and the attachments to which
// placeholders in this text refer. A [Parser] translates between packets and the messages of a session: [Default] for
// the format of the protocol text, [NewMessagePack] for the format of socket.io-msgpack-parser. Packets are passed on,
// stored and sent to other nodes without decoding the arguments. Only handlers and emits translate these from and to Go
// values:
//
//	text, attachments, err := parser.AppendEvent(nil, nil, "draw", 3, 4, png) // png is a []byte
//	message, binary, err := parser.Default.Encode(nil, &parser.Packet{
//		Type: parser.Event, Data: text, Attachments: attachments,
//	})
//
//	var p parser.Packet
//	complete, err := decoder.Add(&p, message, false) // then each of binary
//	name, rest, ok := parser.EventName(p.Data)
//	var x, y int
//	var png []byte
//	err = parser.Args{Data: rest, Attachments: p.Attachments}.Bind(&x, &y, &png)
//
// A server that sends does both in one: [NewEvent] writes the arguments into a message, and [EncodeMessage] writes the
// rest in front of them.
//
// A packet from a Decoder may point into the message, see [Decoder]; values that Bind stores belong to the caller.
// [Args], [Value] and [EventName] require the valid JSON that a Decoder or AppendArgs produces; [Valid] checks text from
// elsewhere.
//
// [Options] and the transport's limit for the size of messages bound everything that comes from a peer. An error in it
// is a [SyntaxError] with the words of the reference.
//
// The package imports transport, internal/jsontext and internal/msgpack. Package socketio, the adapters and emitter
// import it.
package parser
