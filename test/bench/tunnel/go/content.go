package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	// block is the size of a large write, and the most that one read takes.
	block = 64 << 10
	// period is how far a connection's content goes without a repetition.
	period = 1 << 20
	// header is the size of a connection's first bytes: its kind and where its
	// content starts.
	header = 16
)

// The kinds of connections.
const (
	up   = 'U' // the target reads to the end, and answers with the count
	down = 'D' // the target sends blocks until a byte arrives, then a last one
	echo = 'E' // the target returns what it reads
)

// pool is the noise of which all content consists, with a block of its beginning
// at its end, so that any part is one slice.
var pool = func() []byte {
	b, x := make([]byte, 0, period+block), uint32(1)
	for len(b) < period {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return append(b, b[:block]...)
}()

// cursor is a position in the content of one direction of a connection.
type cursor struct {
	start int64
	count int64
}

// next takes so many bytes of the content, at most a block.
func (c *cursor) next(n int) []byte {
	at := (c.start + c.count) % period
	c.count += int64(n)
	return pool[at : at+int64(n)]
}

// check fails when the bytes differ from the next ones of the content.
func (c *cursor) check(got []byte) error {
	at := c.count
	if !bytes.Equal(got, c.next(len(got))) {
		return fmt.Errorf("wrong bytes between %d and %d", at, c.count)
	}
	return nil
}

// startOf spreads the connections over the pool, so that a byte of another
// connection is a wrong byte.
func startOf(connection int64) int64 { return connection * 104_729 % period }
