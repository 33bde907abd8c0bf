//go:build !linux

package epoll

import "errors"

// Watcher exists on Linux only.
type Watcher struct{}

// NewWatcher returns errors.ErrUnsupported.
func NewWatcher() (*Watcher, error) { return nil, errors.ErrUnsupported }

// Watch returns errors.ErrUnsupported.
func (*Watcher) Watch(Waiter, Watched) (id uint64, err error) { return 0, errors.ErrUnsupported }

// Unwatch does nothing.
func (*Watcher) Unwatch(Waiter, uint64) {}

// Close does nothing.
func (*Watcher) Close() {}
