// Package adaptertest checks that an adapter fulfills the contract of package adapter.
//
// [Run] is the suite for one node and applies to every adapter. [RunCluster] is the suite for several nodes. [Node] and
// [Socket] replace a namespace and its sockets and record the calls of the adapter. [Bus] connects the nodes of one
// process, for tests of the layers above a backend.
//
// [Eventually], [Log] and [ReadGolden] are helpers for further tests of a backend.
package adaptertest
