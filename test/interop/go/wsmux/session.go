package wsmux

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// acceptBacklog is how many streams may wait for Accept. With one more, the
// session stops receiving until one has been accepted.
const acceptBacklog = 200

// Session opens and accepts streams over a WebSocket. It is a net.Listener.
type Session struct {
	conn   *websocket.Conn
	config Config

	sending sync.Mutex
	scratch []byte // the message being sent

	mu      sync.Mutex // taken after a stream's lock, never before
	streams map[uint32]*stream
	nextID  uint32

	backlog  chan *stream
	closed   chan struct{}
	closing  sync.Once
	ponged   atomic.Bool
	overruns atomic.Int64
}

var _ net.Listener = (*Session)(nil)

func newSession(conn *websocket.Conn, config Config, firstID uint32) *Session {
	s := &Session{
		conn:    conn,
		config:  config.withDefaults(),
		streams: map[uint32]*stream{},
		nextID:  firstID,
		backlog: make(chan *stream, acceptBacklog),
		closed:  make(chan struct{}),
	}
	conn.SetPongHandler(func(string) error {
		s.ponged.Store(true)
		return nil
	})
	go s.receive()
	go s.keepAlive()
	return s
}

// Open opens a stream, and returns when the other side has accepted it.
func (s *Session) Open() (net.Conn, error) {
	t, err := s.register()
	if err != nil {
		return nil, err
	}
	if err := s.send(frameSYN, t.id, nil); err != nil {
		return nil, ErrSessionClosed
	}
	deadline := time.NewTimer(s.config.StreamAcceptDeadline)
	defer deadline.Stop()
	select {
	case <-t.opened:
		return t, nil
	case <-deadline.C:
		s.forget(t.id)
		return nil, ErrAcceptTimeout
	case <-s.closed:
		return nil, ErrSessionClosed
	}
}

// Accept returns the next stream that the other side opened. Only now does
// the other side get its ACK.
func (s *Session) Accept() (net.Conn, error) {
	select {
	case <-s.closed:
		return nil, ErrSessionClosed
	default:
	}
	select {
	case t := <-s.backlog:
		t.accept()
		if err := s.send(frameACK, t.id, credit(s.config.StreamBufferSize)); err != nil {
			return nil, ErrSessionClosed
		}
		return t, nil
	case <-s.closed:
		return nil, ErrSessionClosed
	}
}

// Addr is the session's own address.
func (s *Session) Addr() net.Addr { return s.conn.LocalAddr() }

// IsClosed tells whether the session is over.
func (s *Session) IsClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Close ends the session: it closes the TCP connection, without a close frame.
func (s *Session) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		_ = s.conn.Close() // frees whoever hangs in a write and holds a lock
		s.mu.Lock()
		streams := s.streams
		s.streams = map[uint32]*stream{}
		s.mu.Unlock()
		for _, t := range streams {
			t.lose()
		}
		if s.config.CloseCallback != nil {
			s.config.CloseCallback()
		}
	})
	return nil
}

// register enters a stream of our own under the next free id.
func (s *Session) register() (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.IsClosed() {
		return nil, ErrSessionClosed
	}
	for s.streams[s.nextID] != nil {
		s.nextID += 2
	}
	t := newStream(s, s.nextID, opening)
	s.streams[t.id] = t
	s.nextID += 2
	return t, nil
}

func (s *Session) lookup(id uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

func (s *Session) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, id)
}

func (s *Session) send(kind byte, id uint32, payload []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.scratch = appendFrame(s.scratch[:0], kind, id, payload)
	return s.conn.WriteMessage(websocket.BinaryMessage, s.scratch)
}

func (s *Session) logf(format string, v ...any) {
	if s.config.Log != nil {
		s.config.Log.Printf(format, v...)
	}
}
