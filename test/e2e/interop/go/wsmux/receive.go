package wsmux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// closeWait bounds the sending of a close frame.
const closeWait = time.Second

// malformed names a payload of the wrong size in the close frame.
const malformed = fault("malformed payload")

// errBacklog tells of one stream more than may wait.
var errBacklog = errors.New("too many streams wait for Accept")

// fault is a breach of the protocol by the other side, in words for it.
type fault string

func (f fault) Error() string { return string(f) }

// receive handles message after message until the session ends.
func (s *Session) receive() {
	err := s.receiveAll()
	s.logf("session ended: %v", err)
	var reason fault
	switch {
	case errors.Is(err, errBacklog):
		s.end(false)
		return
	case errors.As(err, &reason):
		message := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, reason.Error())
		_ = s.conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeWait))
	case isCloseFrame(err):
		// The connection stays open until the other side ends it.
		_, _ = io.Copy(io.Discard, s.conn.NetConn())
	}
	_ = s.Close()
}

func (s *Session) receiveAll() error {
	for {
		kind, message, err := s.conn.ReadMessage()
		if err == nil {
			err = s.recv(kind, message)
		}
		if err != nil {
			return err
		}
	}
}

// isCloseFrame tells a close frame from the loss that gorilla reports as one.
func isCloseFrame(err error) bool {
	var end *websocket.CloseError
	return errors.As(err, &end) && end.Code != websocket.CloseAbnormalClosure
}

// recv handles one message.
func (s *Session) recv(kind int, message []byte) error {
	if kind != websocket.BinaryMessage {
		return fault("not a binary message")
	}
	if len(message) < headerSize {
		return fault(fmt.Sprintf("message of %d bytes", len(message)))
	}
	id, payload := binary.LittleEndian.Uint32(message[1:]), message[headerSize:]
	switch message[0] {
	case frameSYN:
		if len(payload) != 0 {
			return malformed
		}
		return s.recvSYN(id)
	case frameACK:
		if len(payload) != 4 {
			return malformed
		}
	case frameFIN:
		if len(payload) != 0 {
			return malformed
		}
	case frameDAT:
	default:
		return fault(fmt.Sprintf("unknown frame type %d", message[0]))
	}
	t := s.lookup(id)
	if t == nil {
		s.logf("stream %d: frame type %d without a stream", id, message[0])
		return nil
	}
	switch message[0] {
	case frameACK:
		t.recvACK(binary.LittleEndian.Uint32(payload))
	case frameDAT:
		t.recvDAT(payload)
	case frameFIN:
		t.recvFIN()
	}
	return nil
}

// recvSYN lets a stream wait for Accept. An id that is taken changes nothing,
// though its stream may be over.
func (s *Session) recvSYN(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.IsClosed():
		return nil
	case s.taken(id):
		s.logf("stream %d: duplicate SYN", id)
		return nil
	case len(s.waiting) == acceptBacklog:
		return errBacklog
	}
	t := newStream(s, id, pending)
	s.streams[id] = t
	s.waiting[id] = t
	s.arrived.Signal()
	return nil
}
