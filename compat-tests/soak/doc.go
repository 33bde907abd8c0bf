// Package soak runs servers of every kind under clients that behave well, badly or not at all, and checks what must
// always hold: events are handled once and in order, no session outlives its heartbeat, quiet clients are answered,
// and after each round the server holds no more than it did before.
//
//	make soak                                   runs for an hour
//	SOAK=2m make soak                           runs for two minutes, and each kind of server at least once
//	SEED=7 make soak                            repeats the choices of the run that printed this seed
//	SEED=7 ROUNDS=3 make soak                   repeats the round with this number only
//	KINDS=listener,cluster make soak            runs certain kinds of servers
//	ACTIONS=polite,vanish make soak             runs certain actions of clients
//	ACTIONS=-vanish make soak                   runs all but one
//	RACE=1 CLIENTS=20 make soak                 runs with the race detector, and with fewer clients at a time
//
// A run is a sequence of rounds. A round starts a server with random options, runs some dozens of clients at a time,
// one life after another, and then waits until the server is as it was before. All choices come from generators
// derived from the seed, the round and the client, so a seed repeats them; the timing is up to the machine. Time limits
// are generous and scale with the delay that a plain TCP connection in the same process sees at the same time, so a
// busy machine does not fail a run.
//
// Clients are raw HTTP and WebSocket connections (wire.go), a Socket.IO client that can misbehave (client.go), and the
// things it does (polite.go, special.go, rude.go, garbage.go). The judges (ledger.go, vigil.go, pulse.go, gauges.go,
// pools.go) know nothing about servers and have tests of their own.
//
// The package uses the public API, and helpers for tests to start Redis. Only its own test imports it.
package soak
