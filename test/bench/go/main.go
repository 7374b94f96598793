// Command bench is the Go side of the benchmark: a sink that answers how many
// bytes came and their checksum, or the client that sends to such a sink.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

var (
	url    = flag.String("dial", "", "send to this server; otherwise be one")
	window = flag.Int("window", 64<<10, "bytes of StreamBufferSize")
	size   = flag.Int64("bytes", 1<<20, "bytes to send")
	chunk  = flag.Int("chunk", 64<<10, "bytes of a write")
	warm   = flag.Duration("warm", 0, "how long to send before it counts")
)

// buffer is the size of gorilla's buffers; its default of 4 KiB costs half the
// throughput.
const buffer = 64 << 10

func main() {
	flag.Parse()
	go func() { // whoever started it ends it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	var err error
	if *url == "" {
		err = serve()
	} else {
		err = send()
	}
	if err != nil {
		tell(map[string]any{"event": "failed", "message": err.Error()})
	}
	select {}
}

func tell(event map[string]any) { _ = json.NewEncoder(os.Stdout).Encode(event) }

func config() muxConfig { return muxConfig{StreamBufferSize: *window} }

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tell(map[string]any{"event": "listening", "port": listener.Addr().(*net.TCPAddr).Port})
	upgrader := websocket.Upgrader{ReadBufferSize: buffer, WriteBufferSize: buffer}
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		session := newServer(ws, config())
		for {
			stream, err := session.Accept()
			if err != nil {
				return
			}
			go sink(stream)
		}
	}))
}

// tally counts and checksums what is written to it.
type tally struct {
	bytes int64
	crc   uint32
}

func (t *tally) Write(b []byte) (int, error) {
	t.bytes += int64(len(b))
	t.crc = crc32.Update(t.crc, crc32.IEEETable, b)
	return len(b), nil
}

func (t *tally) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(t.bytes)))
	return binary.LittleEndian.AppendUint32(b, t.crc)
}

func sink(stream net.Conn) {
	var got tally
	if _, err := io.CopyBuffer(&got, stream, make([]byte, 64<<10)); err == nil {
		_, _ = stream.Write(got.encode())
	}
	_ = stream.Close()
}

func send() error {
	dialer := websocket.Dialer{ReadBufferSize: buffer, WriteBufferSize: buffer}
	ws, _, err := dialer.Dial(*url, nil)
	if err != nil {
		return err
	}
	session := newClient(ws, config())
	for start := time.Now(); time.Since(start) < *warm; {
		if _, err := upload(session, 8<<20); err != nil {
			return err
		}
	}
	took, err := upload(session, *size)
	if err != nil {
		return err
	}
	rate := float64(*size) / took.Seconds() / 1e6
	tell(map[string]any{"event": "sample", "sample": map[string]float64{"MB/s": rate}})
	return nil
}

// upload sends so many bytes to the sink, and compares its answer, which is
// not in the time that it returns.
func upload(session *muxSession, size int64) (time.Duration, error) {
	start := time.Now()
	stream, err := session.Open()
	if err != nil {
		return 0, err
	}
	for sent := int64(0); sent < size; {
		part := pool[sent%int64(len(pool)):]
		part = part[:min(int64(len(part)), size-sent, int64(*chunk))]
		if _, err := stream.Write(part); err != nil {
			return 0, err
		}
		sent += int64(len(part))
	}
	if err := stream.Close(); err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(stream)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	var want tally
	for want.bytes < size {
		_, _ = want.Write(pool[:min(int64(len(pool)), size-want.bytes)])
	}
	if string(answer) != string(want.encode()) {
		return 0, fmt.Errorf("arrived as %x (bytes, checksum), expected %x", answer, want.encode())
	}
	return took, nil
}

// pool is the noise of which all content consists.
var pool = func() []byte {
	b, x := make([]byte, 0, 1<<20), uint32(1)
	for len(b) < cap(b) {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}()
