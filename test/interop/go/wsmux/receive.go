package wsmux

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// closeWait bounds the sending of a close frame.
const closeWait = time.Second

// receive handles message after message until the connection ends.
func (s *Session) receive() {
	defer s.Close()
	for {
		kind, message, err := s.conn.ReadMessage()
		if err != nil {
			s.logf("connection ended: %v", err)
			return
		}
		if fault := s.recv(kind, message); fault != "" {
			s.logf("protocol error: %s", fault)
			reason := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, fault)
			_ = s.conn.WriteControl(websocket.CloseMessage, reason, time.Now().Add(closeWait))
			return
		}
	}
}

// recv handles one message, and says what is wrong with one that is no frame.
func (s *Session) recv(kind int, message []byte) (fault string) {
	if kind != websocket.BinaryMessage {
		return "not a binary message"
	}
	if len(message) < headerSize {
		return fmt.Sprintf("message of %d bytes", len(message))
	}
	id, payload := binary.LittleEndian.Uint32(message[1:]), message[headerSize:]
	switch message[0] {
	case frameSYN:
		s.recvSYN(id)
		return ""
	case frameACK:
		if len(payload) < 4 {
			return fmt.Sprintf("ACK with %d bytes", len(payload))
		}
	case frameDAT, frameFIN:
	default:
		return fmt.Sprintf("unknown frame type %d", message[0])
	}
	t := s.lookup(id)
	if t == nil {
		s.logf("stream %d: frame type %d without a stream", id, message[0])
		return ""
	}
	switch message[0] {
	case frameACK:
		t.recvACK(int(binary.LittleEndian.Uint32(payload)))
	case frameDAT:
		t.recvDAT(payload)
	case frameFIN:
		t.recvFIN()
	}
	return ""
}

// recvSYN puts a stream into the backlog. It holds the session's lock while
// the backlog is full, so that nothing else goes on either.
func (s *Session) recvSYN(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[id] != nil {
		s.logf("stream %d: duplicate SYN", id)
		return
	}
	t := newStream(s, id, pending)
	select {
	case <-s.closed:
		return
	default:
	}
	s.streams[id] = t
	select {
	case s.backlog <- t:
	case <-s.closed:
	}
}
