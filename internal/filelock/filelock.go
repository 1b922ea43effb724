// Package filelock takes the lock of an open file. Locks are advice: they bind those
// who ask. The system drops a lock when its file is closed or its process ends,
// however it ends, so a lock file that was left behind blocks nobody.
package filelock

import "errors"

var (
	// ErrHeld says that another process, or another open file of this one, has the lock.
	ErrHeld = errors.New("held by another process")
	// ErrNone says that the file system has no locks.
	ErrNone = errors.New("the file system has no locks")
)
