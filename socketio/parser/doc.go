// Package parser turns Socket.IO packets into bytes and back. It does no I/O and starts no goroutine.
//
// A [Packet] has the same form whatever is on the wire: a header, the payload as JSON text, and the
// attachments that placeholders in this text refer to. A [Parser] translates between packets and the
// messages of a session: [Default] for the format of the protocol text, [NewMessagePack] for the one
// of socket.io-msgpack-parser. Packets are passed on, stored and sent to other nodes without a look
// at the arguments; these are translated from and to Go values at the ends only:
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
// What a Decoder puts into a packet may point into the message, see [Decoder]; what Bind stores
// belongs to the caller. [Args], [Value] and [EventName] rely on text that a Decoder or AppendArgs
// has produced, which is valid JSON; for text from elsewhere there is [Valid].
//
// Everything that comes from a peer is bounded, by [Options] and by the size of messages, for which
// the transport has a limit. Anything wrong in it is a [SyntaxError] with the reference's words.
package parser
