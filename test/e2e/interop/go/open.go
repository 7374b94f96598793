package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxErrors  = 5 // errors quoted in a result
	writeChunk = 32 * 1024
)

var (
	errGaveUp = errors.New("not opened: an earlier open of this round failed")
	errStuck  = errors.New("stuck")
)

// drivers check one stream of index i with size bytes, and return how many
// bytes proved right.
var drivers = map[string]func(stream net.Conn, i int, size int64) (int64, error){
	"echo":   driveEcho,
	"sink":   driveSink,
	"source": driveSource,
}

// opener opens streams of one session, a bounded number at a time. After the
// first failure the waiting ones give up, so that a deaf peer costs one
// accept deadline and not one per batch.
type opener struct {
	session *muxSession
	slots   chan struct{}
	broken  chan struct{}
	once    sync.Once
}

func newOpener(session *muxSession, opening int) *opener {
	return &opener{
		session: session,
		slots:   make(chan struct{}, opening),
		broken:  make(chan struct{}),
	}
}

// enter waits for a slot; open gives it back.
func (o *opener) enter() error {
	select {
	case o.slots <- struct{}{}:
	case <-o.broken:
		return errGaveUp
	}
	select {
	case <-o.broken: // both were ready
		<-o.slots
		return errGaveUp
	default:
		return nil
	}
}

func (o *opener) fail() { o.once.Do(func() { close(o.broken) }) }

func (o *opener) open() (net.Conn, error) {
	defer func() { <-o.slots }()
	stream, err := o.session.Open()
	if err != nil {
		o.fail() // before the slot is free
		return nil, fmt.Errorf("open: %w", err)
	}
	return stream, nil
}

// within runs work with a bound in time. A stream's own deadlines cannot
// interrupt a write that hangs in the socket, so this does not rely on them.
func within(limit time.Duration, work func() (int64, error)) (int64, error) {
	type outcome struct {
		n   int64
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		n, err := work()
		done <- outcome{n, err}
	}()
	select {
	case o := <-done:
		return o.n, o.err
	case <-time.After(limit):
		return 0, fmt.Errorf("%w for %v", errStuck, limit)
	}
}

// load repeats rounds of streams until the time is up or a round fails.
func load(session *muxSession, o options) result {
	start := time.Now()
	r := result{Event: "result", Mode: o.open, Streams: o.streams, Errors: []string{}}
	for {
		r.Rounds++
		round(session, o, &r)
		if r.Failed > 0 || time.Since(start) >= o.repeatFor {
			break
		}
	}
	r.OK = r.Failed == 0
	r.Seconds = float64(time.Since(start).Milliseconds()) / 1000
	return r
}

// round runs all streams once, at the same time, and adds up into r.
func round(session *muxSession, o options, r *result) {
	opener := newOpener(session, o.opening)
	drive, done := streamDriver(opener, o)
	defer done()
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range o.streams {
		all.Go(func() {
			n, err := drive(i)
			mu.Lock()
			defer mu.Unlock()
			r.Bytes += n
			if err != nil {
				r.Failed++
				if len(r.Errors) < maxErrors {
					r.Errors = append(r.Errors, fmt.Sprintf("stream %d: %v", i, err))
				}
			}
		})
	}
	all.Wait()
}

// streamDriver returns what drives the stream of an index, and a clean-up.
func streamDriver(opener *opener, o options) (func(int) (int64, error), func()) {
	if o.open == "http" {
		return httpDriver(opener, o.bytes)
	}
	drive := func(i int) (int64, error) {
		if err := opener.enter(); err != nil {
			return 0, err
		}
		end := time.Now().Add(streamLimit)
		n, err := within(streamLimit+2*time.Second, func() (int64, error) {
			stream, err := opener.open()
			if err != nil {
				return 0, err
			}
			_ = stream.SetDeadline(end)
			n, err := drivers[o.open](stream, i, o.bytes)
			finish(stream)
			return n, err
		})
		if errors.Is(err, errStuck) {
			opener.fail() // its slot may be lost
		}
		return n, err
	}
	return drive, func() {}
}

// sendPattern writes size bytes of a pattern.
func sendPattern(stream net.Conn, seed uint32, size int64) error {
	p, buf := newPattern(seed), make([]byte, writeChunk)
	for size > 0 {
		part := buf[:min(size, writeChunk)]
		_, _ = p.Read(part)
		if _, err := stream.Write(part); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		size -= int64(len(part))
	}
	return nil
}

// expectEnd reads the text that must come last, and the end of stream.
func expectEnd(stream net.Conn, want string) error {
	got, err := io.ReadAll(io.LimitReader(stream, int64(len(want))+1))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if string(got) != want {
		return fmt.Errorf("ended with %q, expected %q", got, want)
	}
	return nil
}

// expectPattern reads size bytes and compares them with a pattern.
func expectPattern(stream net.Conn, seed uint32, size int64) (int64, error) {
	check := newChecker(seed)
	if _, err := io.CopyN(check, stream, size); err != nil {
		return check.n, fmt.Errorf("after %d of %d bytes: %w", check.n, size, err)
	}
	return check.n, nil
}

func driveEcho(stream net.Conn, i int, size int64) (int64, error) {
	seed := uint32(i) + 1
	sent := make(chan error, 1)
	go func() {
		err := sendPattern(stream, seed, size)
		_ = stream.Close()
		sent <- err
	}()
	n, err := expectPattern(stream, seed, size)
	if err != nil {
		return n, err
	}
	if err := expectEnd(stream, ""); err != nil {
		return n, err
	}
	return n, <-sent
}

func driveSink(stream net.Conn, i int, size int64) (int64, error) {
	seed := uint32(i) + 1
	if err := sendPattern(stream, seed, size); err != nil {
		return 0, err
	}
	if err := stream.Close(); err != nil {
		return 0, fmt.Errorf("close: %w", err)
	}
	if err := expectEnd(stream, patternSum(seed, size)); err != nil {
		return 0, err
	}
	return size, nil
}

func driveSource(stream net.Conn, _ int, size int64) (int64, error) {
	request := binary.LittleEndian.AppendUint64(nil, uint64(size))
	if _, err := stream.Write(request); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n, err := expectPattern(stream, 1, size)
	if err != nil {
		return n, err
	}
	return n, expectEnd(stream, patternSum(1, size))
}
