package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// task is a measurement through the tunnel at a port.
type task struct {
	Kind        string
	Port        int
	Connections int
	// Milliseconds of the measurement and of the warm-up, and of all together.
	Ms, Warm, Limit int64
}

// client dials the tunnel, and counts.
type client struct {
	task
	deadline    time.Time
	connections atomic.Int64
	received    atomic.Int64
	sent        atomic.Int64
}

type sample map[string]float64

// most bounds the connections of one measurement.
const most = 20_000

func drive(t task, lines <-chan string) error {
	c := &client{task: t, deadline: time.Now().Add(time.Duration(t.Limit) * time.Millisecond)}
	measure := map[string]func(time.Duration) (sample, error){
		"up":          func(d time.Duration) (sample, error) { return c.bulk(c.upload, d) },
		"down":        func(d time.Duration) (sample, error) { return c.bulk(c.download, d) },
		"pingpong":    c.pingPong,
		"mixed":       c.mixed,
		"connections": c.short,
		"first":       c.first,
	}[t.Kind]
	var got sample
	var err error
	switch {
	case t.Kind == "idle":
		got, err = c.idle(lines)
	case measure == nil:
		err = fmt.Errorf("unknown task %s", t.Kind)
	default:
		if t.Warm > 0 {
			_, err = measure(time.Duration(t.Warm) * time.Millisecond)
		}
		if err == nil {
			tell(map[string]any{"event": "warm"})
			got, err = measure(time.Duration(t.Ms) * time.Millisecond)
		}
	}
	if err != nil {
		return err
	}
	tell(map[string]any{
		"event": "sample", "sample": got,
		"connections": c.connections.Load(), "received": c.received.Load(), "sent": c.sent.Load(),
	})
	return nil
}

// conversation is one connection and its content.
type conversation struct {
	*net.TCPConn
	client  *client
	in, out cursor
}

func (c *client) dial(kind byte, first int) (*conversation, error) {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.Port), time.Until(c.deadline))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(c.deadline)
	start := startOf(c.connections.Add(1))
	with := &conversation{conn.(*net.TCPConn), c, cursor{start: start}, cursor{start: start}}
	head := make([]byte, header, header+first)
	head[0] = kind
	binary.LittleEndian.PutUint64(head[8:], uint64(start))
	if err := with.write(append(head, with.out.next(first)...)); err != nil {
		with.Close()
		return nil, err
	}
	return with, nil
}

func (c *conversation) write(b []byte) error {
	n, err := c.Write(b)
	c.client.sent.Add(int64(n))
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// fill reads the whole buffer.
func (c *conversation) fill(b []byte, name string) error {
	n, err := io.ReadFull(c, b)
	c.client.received.Add(int64(n))
	if err != nil {
		return fmt.Errorf("loses %s: %w after %d of %d bytes", name, err, n, len(b))
	}
	return nil
}

// roundTrip sends bytes to the echo, and compares those that come back.
func (c *conversation) roundTrip(buffer []byte) error {
	if err := c.write(c.out.next(len(buffer))); err != nil {
		return err
	}
	return c.echoed(buffer)
}

func (c *conversation) echoed(buffer []byte) error {
	if err := c.fill(buffer, "the echo"); err != nil {
		return err
	}
	return c.in.check(buffer)
}

// over checks that the peer has ended the connection, too.
func (c *conversation) over() error {
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("instead of the end: %d bytes, %v", n, err)
	}
	return nil
}

func (c *client) upload(stop <-chan struct{}) (int64, error) {
	with, err := c.dial(up, 0)
	if err != nil {
		return 0, err
	}
	defer with.Close()
	for open := true; open; {
		select {
		case <-stop:
			open = false
		default:
			if err := with.write(with.out.next(block)); err != nil {
				return 0, err
			}
		}
	}
	if err := with.CloseWrite(); err != nil {
		return 0, err
	}
	answer := make([]byte, 8)
	if err := with.fill(answer, "the answer"); err != nil {
		return 0, err
	}
	if count := int64(binary.LittleEndian.Uint64(answer)); count != with.out.count {
		return 0, fmt.Errorf("%d of %d bytes arrived", count, with.out.count)
	}
	return with.out.count, with.over()
}

func (c *client) download(stop <-chan struct{}) (int64, error) {
	with, err := c.dial(down, 0)
	if err != nil {
		return 0, err
	}
	defer with.Close()
	told := make(chan error, 1)
	go func() {
		<-stop
		told <- with.write([]byte{'S'})
	}()
	buffer := make([]byte, block)
	for {
		if err := with.fill(buffer, "bytes of the download"); err != nil {
			return 0, err
		}
		want := with.in.next(block)
		if buffer[0] == 0 {
			if count := int64(binary.LittleEndian.Uint64(buffer[1:])); count != with.in.count {
				return 0, fmt.Errorf("%d of %d bytes arrived", with.in.count, count)
			}
			if !bytes.Equal(buffer[9:], want[9:]) {
				return 0, fmt.Errorf("wrong bytes in the last block")
			}
			if err := <-told; err != nil {
				return 0, err
			}
			return with.in.count, with.over()
		}
		if !bytes.Equal(buffer[1:], want[1:]) {
			return 0, fmt.Errorf("wrong bytes before %d", with.in.count)
		}
	}
}

type transfer func(stop <-chan struct{}) (int64, error)

// bulk runs so many transfers at once, each as fast as it can.
func (c *client) bulk(run transfer, time_ time.Duration) (sample, error) {
	stop := make(chan struct{})
	timer := time.AfterFunc(time_, func() { close(stop) })
	defer timer.Stop()
	var total atomic.Int64
	begin := time.Now()
	err := together(c.Connections, func() error {
		count, err := run(stop)
		total.Add(count)
		return err
	})
	return sample{"MB/s": float64(total.Load()) / time.Since(begin).Seconds() / 1e6, "units": float64(total.Load()) / 1e6}, err
}

// together runs the workers, and fails with the first failure.
func together(workers int, run func() error) error {
	results := make(chan error, workers)
	for range workers {
		go func() { results <- run() }()
	}
	for range workers {
		if err := <-results; err != nil {
			return err
		}
	}
	return nil
}

func (c *client) pingPong(d time.Duration) (sample, error) {
	with, err := c.dial(echo, 0)
	if err != nil {
		return nil, err
	}
	defer with.Close()
	buffer := make([]byte, 64)
	times := make([]float64, 0, 1<<18)
	for begin, last := time.Now(), time.Now(); last.Sub(begin) < d || len(times) == 0; {
		if err := with.roundTrip(buffer); err != nil {
			return nil, err
		}
		now := time.Now()
		times = append(times, float64(now.Sub(last).Nanoseconds())/1e3)
		last = now
	}
	return sample{"p50 µs": percentile(times, 0.5), "p99 µs": percentile(times, 0.99), "units": float64(len(times))}, nil
}

func percentile(values []float64, share float64) float64 {
	sort.Float64s(values)
	return values[min(len(values)-1, int(float64(len(values))*share))]
}

func (c *client) mixed(d time.Duration) (sample, error) {
	stop := make(chan struct{})
	finish := sync.OnceFunc(func() { close(stop) })
	defer finish()
	type result struct {
		rate float64
		err  error
	}
	bulk := make(chan result, 1)
	go func() {
		begin := time.Now()
		count, err := c.download(stop)
		bulk <- result{float64(count) / time.Since(begin).Seconds() / 1e6, err}
	}()
	time.Sleep(50 * time.Millisecond) // the bulk connection comes first
	got, err := c.pingPong(d)
	if err != nil {
		return nil, err
	}
	finish()
	with := <-bulk
	got["bulk MB/s"] = with.rate
	return got, with.err
}

// short opens connections from workers, each with an echo of 1 KiB.
func (c *client) short(d time.Duration) (sample, error) {
	begin := time.Now()
	var count atomic.Int64
	err := together(c.Connections, func() error {
		buffer := make([]byte, 1<<10)
		for time.Since(begin) < d && count.Load() < most {
			if err := c.exchange(buffer); err != nil {
				return err
			}
			count.Add(1)
		}
		return nil
	})
	rate := float64(count.Load()) / time.Since(begin).Seconds()
	return sample{"per second": rate, "units": float64(count.Load())}, err
}

func (c *client) exchange(buffer []byte) error {
	with, err := c.dial(echo, len(buffer))
	if err != nil {
		return err
	}
	defer with.Close()
	return with.echoed(buffer)
}

func (c *client) first(d time.Duration) (sample, error) {
	buffer := make([]byte, 64)
	var times []float64
	for begin := time.Now(); time.Since(begin) < d && len(times) < most || len(times) == 0; {
		start := time.Now()
		if err := c.exchange(buffer); err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/1e6)
	}
	return sample{"p50 ms": percentile(times, 0.5), "units": float64(len(times))}, nil
}

// idle opens connections, each with one round trip, and holds them until a line
// comes.
func (c *client) idle(lines <-chan string) (sample, error) {
	held := make([]*conversation, 0, c.Connections)
	defer func() {
		for _, with := range held {
			with.Close()
		}
	}()
	buffer := make([]byte, 64)
	for range c.Connections {
		with, err := c.dial(echo, len(buffer))
		if err != nil {
			return nil, err
		}
		held = append(held, with)
		if err := with.echoed(buffer); err != nil {
			return nil, err
		}
	}
	tell(map[string]any{"event": "open"})
	<-lines
	for _, with := range held {
		if err := with.roundTrip(buffer); err != nil {
			return nil, err
		}
	}
	return sample{"connections": float64(len(held))}, nil
}
