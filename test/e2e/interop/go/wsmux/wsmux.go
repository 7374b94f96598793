// Package wsmux carries many byte streams over one WebSocket.
//
// It is a stand-in for the published Go package of that name, written from a
// description of its wire and of how its current generation behaves there,
// faults included. It shares no code with that package, only the part of its
// API that the peer uses. The README beside the peer says what that proves.
package wsmux

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// DefaultCapacity is the StreamBufferSize of a Config that gives none.
	DefaultCapacity = 1024

	defaultKeepAlive      = 20 * time.Second
	defaultAcceptDeadline = 30 * time.Second
)

var (
	// ErrAcceptTimeout tells that the other side did not accept a stream in time.
	ErrAcceptTimeout = errors.New("accept timed out")
	// ErrBrokenPipe tells that a stream cannot be written any more.
	ErrBrokenPipe = errors.New("broken pipe")
	// ErrReadTimeout tells that the read deadline of a stream has passed.
	ErrReadTimeout = errors.New("wsmux: read operation timed out")
	// ErrWriteTimeout tells that the write deadline of a stream has passed.
	ErrWriteTimeout = errors.New("wsmux: write operation timed out")
	// ErrNoCapacity tells that a frame was dropped: the buffer had no room for it.
	ErrNoCapacity = errors.New("no capacity")
	// ErrSessionClosed tells that the session is over.
	ErrSessionClosed = errors.New("session closed")
	// ErrKeepAliveExpired tells that no pong came for a whole interval.
	ErrKeepAliveExpired = errors.New("keep alive timer expired")
)

// TellOverrun decides for each dropped frame whether a call fails with
// ErrNoCapacity, or only the hole shows; waits says whether a call is there
// that waits. The published package leaves it to scheduling, and so does this.
// Tests may set it before they make a session.
var TellOverrun = func(waits bool) bool { return waits && rand.N(2) == 0 }

// Logger is what a session logs to; a *log.Logger is one.
type Logger interface {
	Printf(format string, v ...any)
	Print(v ...any)
}

// Config holds the settings of a session. Zero values stand for the defaults.
type Config struct {
	// KeepAliveInterval is the time between pings (20 s).
	KeepAliveInterval time.Duration
	// StreamAcceptDeadline is how long Open waits (30 s).
	StreamAcceptDeadline time.Duration
	// CloseCallback is called once, when the session is over.
	CloseCallback func()
	// Log is told of what is odd (nothing).
	Log Logger
	// StreamBufferSize is how many unread bytes a stream holds (1024).
	StreamBufferSize int
}

func (c Config) withDefaults() Config {
	if c.KeepAliveInterval == 0 {
		c.KeepAliveInterval = defaultKeepAlive
	}
	if c.StreamAcceptDeadline == 0 {
		c.StreamAcceptDeadline = defaultAcceptDeadline
	}
	if c.StreamBufferSize == 0 {
		c.StreamBufferSize = DefaultCapacity
	}
	return c
}

// Client makes the session that opens odd ids, from 1.
func Client(conn *websocket.Conn, config Config) *Session { return newSession(conn, config, 1) }

// Server makes the session that opens even ids, from 0.
func Server(conn *websocket.Conn, config Config) *Session { return newSession(conn, config, 0) }
