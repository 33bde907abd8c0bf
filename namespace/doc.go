// Package namespace keeps track of which namespaces exist. A [Registry] holds them by name, creates those
// that the application or a client asks for, and drops dynamic ones when their last socket has gone.
//
// A namespace is a value of a type N that the owner of the registry chooses; the registry makes one with
// [Options.New], ends it with [Options.Close], and knows nothing else about it, in particular nothing of
// sockets. There is at most one for a name at any time: whoever asks for a name whose namespace is being
// made or closed waits until that is done.
//
//	free ──Of, Resolve──▶ making ──New has returned──▶ there ──last Release──▶ closing ──Close has returned──▶ free
//
// The package imports only the standard library. Package socketio imports it.
//
// # Locks
//
// The lock of a Registry is a leaf: no function of Options, of a [Parent] or of the application is called,
// and no other lock is taken, while it is held.
package namespace
