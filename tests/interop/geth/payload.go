package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// payloadSpec describes a payload: literal bytes (hex or text), or a size and a pattern.
type payloadSpec struct {
	Hex  string `json:"hex"`
	Text string `json:"text"`
	// Size in bytes, at most 1 GiB.
	Size int `json:"size"`
	// Pattern is zero (default), random or numbered.
	Pattern string `json:"pattern"`
	Seed    uint64 `json:"seed"`
}

const maxPayload = 1 << 30

func (p payloadSpec) bytes() ([]byte, error) {
	switch {
	case p.Hex != "" && (p.Text != "" || p.Size != 0), p.Text != "" && p.Size != 0:
		return nil, errors.New("give one of hex, text and size")
	case p.Hex != "":
		return hex.DecodeString(p.Hex)
	case p.Text != "":
		return []byte(p.Text), nil
	case p.Size < 0 || p.Size > maxPayload:
		return nil, fmt.Errorf("size %d", p.Size)
	}
	out := make([]byte, p.Size)
	return out, fill(out, p.Pattern, p.Seed, 0)
}

// fill writes message number n of a pattern.
func fill(out []byte, pattern string, seed, n uint64) error {
	switch pattern {
	case "", "zero":
		clear(out)
	case "random":
		fillRandom(out, seed+n)
	case "numbered":
		fillRandom(out, seed+n)
		var number [8]byte
		binary.BigEndian.PutUint64(number[:], n)
		copy(out, number[:])
	default:
		return fmt.Errorf("pattern %q is none of zero, random, numbered", pattern)
	}
	return nil
}

// xorshift is the generator xorshift64* (Vigna 2014).
type xorshift uint64

func newXorshift(seed uint64) xorshift {
	if seed == 0 {
		seed = 0x9e3779b97f4a7c15
	}
	return xorshift(seed)
}

func (x *xorshift) next() uint64 {
	s := uint64(*x)
	s ^= s >> 12
	s ^= s << 25
	s ^= s >> 27
	*x = xorshift(s)
	return s * 0x2545f4914f6cdd1d
}

func fillRandom(out []byte, seed uint64) {
	x := newXorshift(seed)
	for ; len(out) >= 8; out = out[8:] {
		binary.LittleEndian.PutUint64(out, x.next())
	}
	var last [8]byte
	binary.LittleEndian.PutUint64(last[:], x.next())
	copy(out, last[:])
}

// fnv is the running state of FNV-1a with 64 bits.
type fnv uint64

const fnvStart fnv = 0xcbf29ce484222325

func (f fnv) add(data []byte) fnv {
	for _, b := range data {
		f = (f ^ fnv(b)) * 0x100000001b3
	}
	return f
}

func (f fnv) String() string { return fmt.Sprintf("%016x", uint64(f)) }

func checksum(data []byte) string { return fnvStart.add(data).String() }

// tally sums up a sequence of messages in one direction.
type tally struct {
	Count, Bytes uint64
	digest       fnv
	misordered   uint64
}

func newTally() tally { return tally{digest: fnvStart} }

// add takes the next message. The digest covers code and length (each 8 bytes,
// little endian) and payload, so that it stands for content and order.
func (t *tally) add(code uint64, payload []byte) {
	var head [16]byte
	binary.LittleEndian.PutUint64(head[:8], code)
	binary.LittleEndian.PutUint64(head[8:], uint64(len(payload)))
	t.digest = t.digest.add(head[:]).add(payload)
	if len(payload) >= 8 && binary.BigEndian.Uint64(payload) != t.Count {
		t.misordered++
	}
	t.count(len(payload))
}

// count takes the next message without looking at it.
func (t *tally) count(size int) {
	t.Count++
	t.Bytes += uint64(size)
}

func (t *tally) fields() object {
	return object{"count": t.Count, "bytes": t.Bytes, "digest": t.digest.String(), "misordered": t.misordered}
}
