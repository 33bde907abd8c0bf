// Package jsontext reads and writes JSON text without decoding more than is asked for. It is the only scanner of JSON
// and the only writer of JSON strings in this module.
//
// [Check] reports whether a text from elsewhere is JSON. The other functions that read require text that Check has
// accepted and do not look for errors. They return parts of the text unless they say otherwise. The functions that
// write produce what JSON.stringify of JavaScript produces.
//
// It imports the standard library only. socketio/parser, the adapters, engineio and transport/polling import it.
package jsontext
