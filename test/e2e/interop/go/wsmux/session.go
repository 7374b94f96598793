package wsmux

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// acceptBacklog is how many streams may wait for Accept. One more ends the
	// session.
	acceptBacklog = 200

	// reuseAfter is how long the id of a stream stays taken after both FINs.
	reuseAfter = 2 * time.Second
)

// Session opens and accepts streams over a WebSocket. It is a net.Listener.
type Session struct {
	conn   *websocket.Conn
	config Config

	sending sync.Mutex
	scratch []byte // the message being sent

	mu      sync.Mutex         // taken after a stream's lock, never before
	streams map[uint32]*stream // nil: over, and its id is still taken
	waiting map[uint32]*stream // for Accept, in no order
	arrived *sync.Cond         // a stream waits, or the session is over
	nextID  uint32

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
		waiting: map[uint32]*stream{},
		nextID:  firstID,
		closed:  make(chan struct{}),
	}
	s.arrived = sync.NewCond(&s.mu)
	conn.SetCloseHandler(func(int, string) error { return nil }) // answers nothing
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

// Accept returns a stream that the other side opened, any of those that wait.
// Only now does the other side get its ACK.
func (s *Session) Accept() (net.Conn, error) {
	t := s.take()
	if t == nil {
		return nil, ErrSessionClosed
	}
	t.accept()
	if err := s.send(frameACK, t.id, credit(s.config.StreamBufferSize)); err != nil {
		return nil, ErrSessionClosed
	}
	return t, nil
}

// take waits for a stream of the other side; nil when the session is over.
func (s *Session) take() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.IsClosed() {
		for id, t := range s.waiting {
			delete(s.waiting, id)
			return t
		}
		s.arrived.Wait()
	}
	return nil
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
	s.end(true)
	return nil
}

// end ends the session once. Without hanging up the other side learns nothing,
// and neither does the callback.
func (s *Session) end(hangUp bool) {
	s.closing.Do(func() {
		close(s.closed)
		if hangUp {
			_ = s.conn.Close() // frees a call that hangs in a write and holds a lock
		}
		s.mu.Lock()
		streams := s.streams
		s.streams = map[uint32]*stream{}
		s.arrived.Broadcast()
		s.mu.Unlock()
		for _, t := range streams {
			if t != nil {
				t.lose()
			}
		}
		if hangUp && s.config.CloseCallback != nil {
			s.config.CloseCallback()
		}
	})
}

// register enters a stream of our own under the next free id.
func (s *Session) register() (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.IsClosed() {
		return nil, ErrSessionClosed
	}
	for s.taken(s.nextID) {
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

// taken needs the lock.
func (s *Session) taken(id uint32) bool {
	_, taken := s.streams[id]
	return taken
}

func (s *Session) forget(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, id)
}

// retire forgets a stream, but keeps its id taken for a while.
func (s *Session) retire(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[id] = nil
	time.AfterFunc(reuseAfter, func() { s.forget(id) })
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
