package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// alteration changes how one write goes out on the wire.
type alteration struct {
	// Flip inverts the lowest bit of the bytes at these offsets; negative ones count from the end.
	Flip []int `json:"flip"`
	// Truncate sends only that many bytes, and keeps silent about the rest; negative counts from the end.
	Truncate *int `json:"truncate"`
	// DripMS sends DripBytes (default 1) at a time, with that pause after each.
	DripMS    int `json:"drip_ms"`
	DripBytes int `json:"drip_bytes"`
	// DripFrom sends that many bytes at once before the dripping starts.
	DripFrom int `json:"drip_from"`
}

// faultyConn is a TCP connection whose next write can be altered. It tells the writer
// that all was written, so that rlpx goes on as if it had been.
type faultyConn struct {
	net.Conn
	mu   sync.Mutex
	next *alteration
	// wireBytes counts what was really sent.
	wireBytes int
}

// alter sets what happens to the next write.
func (c *faultyConn) alter(a *alteration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = a
}

// Write sends the bytes, altered when that was asked for.
func (c *faultyConn) Write(data []byte) (int, error) {
	c.mu.Lock()
	a := c.next
	c.next = nil
	c.mu.Unlock()
	if a == nil {
		n, err := c.Conn.Write(data)
		c.sent(n)
		return n, err
	}
	wire := append([]byte(nil), data...)
	for _, at := range a.Flip {
		if at < 0 {
			at += len(wire)
		}
		if at < 0 || at >= len(wire) {
			return 0, fmt.Errorf("flip: the write has %d bytes", len(wire))
		}
		wire[at] ^= 1
	}
	if a.Truncate != nil {
		end := *a.Truncate
		if end < 0 {
			end += len(wire)
		}
		if end < 0 || end > len(wire) {
			return 0, fmt.Errorf("truncate: the write has %d bytes", len(wire))
		}
		wire = wire[:end]
	}
	first := len(wire)
	if a.DripMS > 0 {
		first = min(max(a.DripFrom, 0), len(wire))
	}
	n, err := c.Conn.Write(wire[:first])
	c.sent(n)
	if err != nil {
		return n, err
	}
	for wire = wire[first:]; len(wire) > 0; {
		time.Sleep(time.Duration(a.DripMS) * time.Millisecond)
		n, err := c.Conn.Write(wire[:min(max(a.DripBytes, 1), len(wire))])
		c.sent(n)
		if err != nil {
			return 0, err
		}
		wire = wire[n:]
	}
	return len(data), nil
}

func (c *faultyConn) sent(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wireBytes += n
}

func (c *faultyConn) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wireBytes
}

// shut ends the connection: fin closes it, half ends only our direction, rst resets it.
func (c *faultyConn) shut(how string) error {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return errors.New("not a TCP connection")
	}
	switch how {
	case "", "fin":
		return tcp.Close()
	case "half":
		return tcp.CloseWrite()
	case "rst":
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
		return tcp.Close()
	}
	return fmt.Errorf("how %q is none of fin, half, rst", how)
}

// ending names how reading ended.
func ending(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errTimeout):
		return "timeout"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "eof_inside"
	case errors.Is(err, io.EOF):
		return "eof"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, net.ErrClosed):
		return "closed_here"
	}
	return "error"
}

var errTimeout = errors.New("timeout")
