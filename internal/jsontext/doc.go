// Package jsontext reads and writes JSON text without unnecessary decoding. It is the only scanner of JSON and the
// only writer of JSON strings in this module.
//
// [Check] validates untrusted text. The other reading functions require text accepted by Check and do not detect
// errors. Unless documented otherwise, they return parts of the text. The writing functions produce the same output
// as JSON.stringify in JavaScript.
//
// It imports the standard library only. socketio/parser, the adapters, engineio and transport/polling import it.
package jsontext
