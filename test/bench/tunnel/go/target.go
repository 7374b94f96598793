package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// totals is what happened since the last question.
type totals struct {
	mutex       sync.Mutex
	open        int64
	connections int64
	received    int64
	sent        int64
	faults      []string
}

func serve(lines <-chan string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var all totals
	go func() {
		for line := range lines {
			var question struct{ Patience int64 }
			_ = json.Unmarshal([]byte(line), &question)
			all.answer(time.Duration(question.Patience) * time.Millisecond)
		}
	}()
	tell(map[string]any{"event": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		all.mutex.Lock()
		all.open++
		all.mutex.Unlock()
		go func() {
			received, sent, err := talk(conn)
			_ = conn.Close()
			all.mutex.Lock()
			defer all.mutex.Unlock()
			all.open--
			if received == 0 && err == nil {
				return // a connection that is dialled in advance
			}
			all.connections++
			all.received += received
			all.sent += sent
			if err != nil && len(all.faults) < 3 {
				all.faults = append(all.faults, err.Error())
			}
		}()
	}
}

// answer waits until all connections are over, and tells the totals.
func (t *totals) answer(patience time.Duration) {
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
		t.mutex.Lock()
		open := t.open
		t.mutex.Unlock()
		if open == 0 {
			break
		}
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	tell(map[string]any{
		"event": "totals", "open": t.open, "connections": t.connections, "received": t.received, "sent": t.sent,
		"faults": append([]string{}, t.faults...),
	})
	t.connections, t.received, t.sent, t.faults = 0, 0, 0, nil
}

// talk does what the first bytes of the connection ask for.
func talk(conn net.Conn) (received, sent int64, err error) {
	first := make([]byte, header)
	n, err := io.ReadFull(conn, first)
	if errors.Is(err, io.EOF) {
		return 0, 0, nil
	}
	if err != nil {
		return int64(n), 0, fmt.Errorf("the target, reading the header: %w", err)
	}
	start := int64(binary.LittleEndian.Uint64(first[8:]))
	in, out := &cursor{start: start}, &cursor{start: start}
	switch first[0] {
	case up:
		sent, err = sink(conn, in)
	case down:
		err = source(conn, in, out)
		sent = out.count
	case echo:
		err = reflect(conn, in)
		sent = in.count
	default:
		err = fmt.Errorf("the target read an unknown kind %q", first[0])
	}
	return in.count + header, sent, err
}

func sink(conn net.Conn, in *cursor) (int64, error) {
	buffer := make([]byte, block)
	for {
		n, err := conn.Read(buffer)
		if wrong := in.check(buffer[:n]); wrong != nil {
			return 0, fmt.Errorf("the target read %w", wrong)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("the target, reading: %w", err)
		}
	}
	answer := binary.LittleEndian.AppendUint64(nil, uint64(in.count))
	n, err := conn.Write(answer)
	return int64(n), err
}

// source writes whole blocks. The first byte of a block tells whether another
// follows, and the last block has the count behind that byte.
func source(conn net.Conn, in, out *cursor) error {
	var stop atomic.Bool
	stopped := make(chan int64, 1)
	go func() {
		n, _ := conn.Read(make([]byte, 1))
		stop.Store(true)
		stopped <- int64(n)
	}()
	more := []byte{1}
	for !stop.Load() {
		part := out.next(block)
		buffers := net.Buffers{more, part[1:]}
		if _, err := buffers.WriteTo(conn); err != nil {
			return fmt.Errorf("the target, writing: %w", err)
		}
	}
	last := append([]byte{}, out.next(block)...)
	last[0] = 0
	binary.LittleEndian.PutUint64(last[1:], uint64(out.count))
	_, err := conn.Write(last)
	in.count += <-stopped
	return err
}

func reflect(conn net.Conn, in *cursor) error {
	buffer := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		if wrong := in.check(buffer[:n]); wrong != nil {
			return fmt.Errorf("the target read %w", wrong)
		}
		if n > 0 {
			if _, err := conn.Write(buffer[:n]); err != nil {
				return fmt.Errorf("the target, writing: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the target, reading: %w", err)
		}
	}
}
