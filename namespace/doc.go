// Package namespace manages the namespaces of a server. A [Registry] holds them by name, creates namespaces
// requested by the application or a client, and drops dynamic ones when their last socket has left.
//
// A namespace is a value of type N, which the owner of the registry chooses. The registry creates it with
// [Options.New] and closes it with [Options.Close]. It knows nothing else about it, and nothing about sockets. At
// most one namespace exists for a name at any time: while it is being created or closed, requests for its name
// wait.
//
//	free ──Of, Resolve──▶ making ──New has returned──▶ there ──last Release──▶ closing ──Close has returned──▶ free
//
// The package imports only the standard library. Package socketio imports it.
//
// # Locks
//
// The lock of a Registry is a leaf. While it is held, no other lock is acquired, and no function of Options, of a
// [Parent] or of the application is called.
package namespace
