package wsmux

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// staleBytes is how many bytes a DAT without any makes the receiver read.
const staleBytes = 1024

type phase int

const (
	pending phase = iota // waits for Accept; what comes for it is lost
	opening              // waits for the first ACK; a FIN for it is lost
	open
)

// stream is a net.Conn whose Close ends only the writing half.
type stream struct {
	id      uint32
	session *Session
	opened  chan struct{} // closed by the first ACK

	// mu is also held in the socket, while a frame of the stream is sent. The
	// receiving goroutine needs it as well: who sends waits for who receives.
	mu        sync.Mutex
	changed   *sync.Cond
	phase     phase
	in        bytes.Buffer
	credit    uint32 // wraps around
	waiting   int    // calls that wait
	overrun   bool   // one call has to fail
	localFIN  bool
	remoteFIN bool
	lost      bool // the session is over
	reading   deadline
	writing   deadline
}

var _ net.Conn = (*stream)(nil)

func newStream(s *Session, id uint32, p phase) *stream {
	t := &stream{id: id, session: s, phase: p, opened: make(chan struct{})}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// Read returns the credit of what it takes at once. A lost session reads as
// the end of the stream.
func (t *stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case t.tellOverrun():
			return 0, ErrNoCapacity
		case t.in.Len() > 0:
			n, _ := t.in.Read(b)
			_ = t.session.send(frameACK, t.id, credit(n)) // a lost session shows later
			return n, nil
		case t.remoteFIN || t.lost:
			return 0, io.EOF
		case t.reading.expired:
			return 0, ErrReadTimeout
		}
		t.wait()
	}
}

// wait gives the lock away until something has changed.
func (t *stream) wait() {
	t.waiting++
	t.changed.Wait()
	t.waiting--
}

// tellOverrun tells one call of an overrun; the stream goes on behind it.
func (t *stream) tellOverrun() bool {
	told := t.overrun
	t.overrun = false
	return told
}

// Write sends as much as the credit allows in one message, and waits for more.
func (t *stream) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	written := 0
	for written < len(b) {
		switch {
		case t.tellOverrun():
			return written, ErrNoCapacity
		case t.localFIN || t.lost:
			return written, ErrBrokenPipe
		case t.writing.expired:
			return written, ErrWriteTimeout
		case t.credit == 0:
			t.wait()
			continue
		}
		n := min(int(t.credit), len(b)-written)
		t.credit -= uint32(n)
		if err := t.session.send(frameDAT, t.id, b[written:written+n]); err != nil {
			return written, ErrBrokenPipe
		}
		written += n
	}
	return written, nil
}

// Close sends FIN, once. Reading goes on.
func (t *stream) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.localFIN || t.lost {
		return nil
	}
	t.localFIN = true
	t.changed.Broadcast()
	err := t.session.send(frameFIN, t.id, nil)
	t.forgetWhenOver()
	return err
}

func (t *stream) LocalAddr() net.Addr  { return t.session.conn.LocalAddr() }
func (t *stream) RemoteAddr() net.Addr { return t.session.conn.RemoteAddr() }

func (t *stream) SetReadDeadline(at time.Time) error {
	t.setDeadline(&t.reading, at)
	return nil
}

func (t *stream) SetWriteDeadline(at time.Time) error {
	t.setDeadline(&t.writing, at)
	return nil
}

func (t *stream) SetDeadline(at time.Time) error {
	t.setDeadline(&t.reading, at)
	t.setDeadline(&t.writing, at)
	return nil
}

// accept opens a stream of the other side, whose buffer it takes to be as
// large as ours.
func (t *stream) accept() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = open
	t.credit = uint32(t.session.config.StreamBufferSize)
}

func (t *stream) recvACK(n uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.phase {
	case pending:
		return
	case opening:
		t.phase = open
		close(t.opened)
	}
	t.credit += n
	t.changed.Broadcast()
}

// recvDAT drops a frame whole that does not fit, and may tell a call of it.
func (t *stream) recvDAT(payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase != open || t.remoteFIN {
		t.session.logf("stream %d: %d bytes lost: it is not open", t.id, len(payload))
		return
	}
	if len(payload) == 0 {
		payload = make([]byte, staleBytes)
	}
	if t.in.Len()+len(payload) > t.session.config.StreamBufferSize {
		n := t.session.overruns.Add(1)
		t.session.logf("stream %d: frame of %d bytes dropped: no capacity (%d so far)", t.id, len(payload), n)
		if TellOverrun(t.waiting > 0) {
			t.overrun = true
			t.changed.Broadcast()
		}
		return
	}
	t.in.Write(payload)
	t.changed.Broadcast()
}

// recvFIN forgets a FIN that comes before the stream is accepted, by either
// side.
func (t *stream) recvFIN() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.phase != open {
		t.session.logf("stream %d: FIN lost: it is not open", t.id)
		return
	}
	t.remoteFIN = true
	t.changed.Broadcast()
	t.forgetWhenOver()
}

// lose ends a stream with its session.
func (t *stream) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = true
	t.changed.Broadcast()
}

func (t *stream) forgetWhenOver() {
	if t.localFIN && t.remoteFIN {
		t.session.retire(t.id)
	}
}
