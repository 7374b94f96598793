package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// maxPattern is the longest run of bytes a service agrees to make.
const maxPattern = 1 << 30

// pattern is an endless reader of xorshift32 bytes.
type pattern struct{ x uint32 }

func newPattern(seed uint32) *pattern { return &pattern{x: seed} }

func (p *pattern) next() byte {
	p.x ^= p.x << 13
	p.x ^= p.x >> 17
	p.x ^= p.x << 5
	return byte(p.x)
}

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = p.next()
	}
	return len(b), nil
}

// checker is a writer that accepts exactly the bytes of a pattern.
type checker struct {
	want *pattern
	n    int64
}

func newChecker(seed uint32) *checker { return &checker{want: newPattern(seed)} }

func (c *checker) Write(b []byte) (int, error) {
	for i, got := range b {
		if want := c.want.next(); got != want {
			return i, fmt.Errorf("byte %d is %#02x, expected %#02x", c.n, got, want)
		}
		c.n++
	}
	return len(b), nil
}

// patternSum is the hex sha-256 of the first n bytes of a pattern.
func patternSum(seed uint32, n int64) string {
	h := sha256.New()
	_, _ = io.CopyN(h, newPattern(seed), n)
	return hex.EncodeToString(h.Sum(nil))
}
