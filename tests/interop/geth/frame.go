package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash"
	"reflect"
	"unsafe"

	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/golang/snappy"
)

// sealer writes frames that rlpx.Conn.Write cannot: with any header and any body. It
// works on the cipher and MAC of the connection itself, so both can be used in turn.
type sealer struct {
	stream cipher.Stream
	block  cipher.Block
	mac    hash.Hash
}

// newSealer takes the transmit state out of a connection after its handshake.
func newSealer(conn *rlpx.Conn) *sealer {
	session := reflect.ValueOf(conn).Elem().FieldByName("session").Elem()
	egress := session.FieldByName("egressMAC")
	return &sealer{
		stream: *(*cipher.Stream)(unsafe.Pointer(session.FieldByName("enc").UnsafeAddr())),
		block:  *(*cipher.Block)(unsafe.Pointer(egress.FieldByName("cipher").UnsafeAddr())),
		mac:    *(*hash.Hash)(unsafe.Pointer(egress.FieldByName("hash").UnsafeAddr())),
	}
}

// tag advances the MAC by one seed and returns it.
func (s *sealer) tag(seed []byte) []byte {
	block := make([]byte, aes.BlockSize)
	s.block.Encrypt(block, s.mac.Sum(nil)[:aes.BlockSize])
	for i := range block {
		block[i] ^= seed[i]
	}
	s.mac.Write(block)
	return s.mac.Sum(nil)[:16]
}

// frame seals header (16 bytes) and body, which is padded to whole blocks.
func (s *sealer) frame(header [16]byte, body []byte) []byte {
	out := make([]byte, 16, 32+len(body)+32)
	s.stream.XORKeyStream(out, header[:])
	out = append(out, s.tag(out)...)
	start := len(out)
	out = append(out, body...)
	for len(out)%16 != 0 {
		out = append(out, 0)
	}
	sealed := out[start:]
	s.stream.XORKeyStream(sealed, sealed)
	s.mac.Write(sealed)
	sum := s.mac.Sum(nil)
	return append(out, s.tag(sum[:16])...)
}

// frameHeader is a header for a body of that size.
func frameHeader(size int, data []byte) (header [16]byte, err error) {
	if size < 0 || size > 0xffffff || len(data) > 13 {
		return header, fmt.Errorf("no header for size %d with %d bytes of data", size, len(data))
	}
	header[0], header[1], header[2] = byte(size>>16), byte(size>>8), byte(size)
	copy(header[3:], data)
	return header, nil
}

// compress applies a command's choice of compression to a payload:
// "" compresses when the session does, raw leaves it alone, on always compresses, and lie
// compresses and then states another length.
func compress(payload []byte, how string, session bool, stated uint64) ([]byte, error) {
	switch how {
	case "":
		if session {
			return snappy.Encode(nil, payload), nil
		}
		return payload, nil
	case "raw":
		return payload, nil
	case "on":
		return snappy.Encode(nil, payload), nil
	case "lie":
		encoded := snappy.Encode(nil, payload)
		_, n := binary.Uvarint(encoded)
		return append(binary.AppendUvarint(nil, stated), encoded[n:]...), nil
	}
	return nil, fmt.Errorf("snappy %q is none of raw, on, lie", how)
}

// decompress undoes it, with go-ethereum's limit of 2^24 - 1 bytes.
func decompress(data []byte) ([]byte, error) {
	size, err := snappy.DecodedLen(data)
	if err != nil {
		return nil, err
	}
	if size > 0xffffff {
		return nil, fmt.Errorf("stated length %d is over the limit", size)
	}
	return snappy.Decode(nil, data)
}
