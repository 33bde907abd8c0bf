// Package adaptertest checks that an adapter keeps the contract of package adapter.
//
// [Run] is the suite for one node; it applies to every adapter. [RunCluster] is that for several nodes. Their [Node]
// and [Socket] stand in for a namespace and its sockets and record what an adapter does with them. [Bus] connects
// the nodes of one process, for tests of what lies above a backend.
//
// The tests that a backend has besides are written with [Eventually], [Log] and [ReadGolden].
package adaptertest
