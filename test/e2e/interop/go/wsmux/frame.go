package wsmux

import "encoding/binary"

// A frame is one binary message: a type, the stream's id as little-endian
// uint32, and a payload.
const (
	frameDAT = byte(0) // bytes of the stream
	frameSYN = byte(1) // opens it
	frameACK = byte(2) // little-endian uint32: credit in bytes
	frameFIN = byte(3) // the sender will write no more

	headerSize = 5
)

// appendFrame appends a frame to a buffer.
func appendFrame(b []byte, kind byte, id uint32, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, kind), id)
	return append(b, payload...)
}

func credit(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
