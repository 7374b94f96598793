package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// streamLimit bounds one stream of an -open load, and every drain.
const streamLimit = 60 * time.Second

// finish half-closes a stream, then discards in the background what still
// comes in, so that the writer on the other side never starves for credit.
func finish(c net.Conn) {
	_ = c.Close()
	go func() {
		_ = c.SetReadDeadline(time.Now().Add(streamLimit))
		_, _ = io.Copy(io.Discard, c)
	}()
}

// httpConn makes a stream fit for net/http, which expects of a net.Conn that
// time-outs are net.Errors, that a cleared deadline stays cleared, and that
// nothing needs to be read after Close.
type httpConn struct {
	net.Conn
	mu       sync.Mutex
	deadline time.Time
	closed   bool
}

func (c *httpConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err := c.Conn.Read(b)
		if !errors.Is(err, errReadTimeout) {
			return n, err
		}
		if !c.rearm() {
			return n, os.ErrDeadlineExceeded
		}
	}
}

// rearm tells whether a time-out was that of a deadline since moved, and if so
// sets the current one again.
func (c *httpConn) rearm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := !c.deadline.IsZero() && !time.Now().Before(c.deadline)
	if due || c.closed {
		return false
	}
	return c.Conn.SetReadDeadline(c.deadline) == nil
}

func (c *httpConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, errWriteTimeout) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *httpConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetReadDeadline(t)
}

func (c *httpConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *httpConn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if !again {
		finish(c.Conn)
	}
	return nil
}
