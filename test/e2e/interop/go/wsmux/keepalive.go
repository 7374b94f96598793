package wsmux

import (
	"time"

	"github.com/gorilla/websocket"
)

// keepAlive pings at once and at every interval, and ends the session at the
// first tick before which no pong came. Any pong counts; data does not.
func (s *Session) keepAlive() {
	ticker := time.NewTicker(s.config.KeepAliveInterval)
	defer ticker.Stop()
	s.ping()
	for {
		select {
		case <-s.closed:
			return
		case <-ticker.C:
			if !s.ponged.Swap(false) {
				s.logf("%v", ErrKeepAliveExpired)
				_ = s.Close()
				return
			}
			s.ping()
		}
	}
}

// ping waits its turn behind a message that is being written, at most until
// the next tick.
func (s *Session) ping() {
	until := time.Now().Add(s.config.KeepAliveInterval)
	if err := s.conn.WriteControl(websocket.PingMessage, nil, until); err != nil {
		s.logf("ping: %v", err)
	}
}
