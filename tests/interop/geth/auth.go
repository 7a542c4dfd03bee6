package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/ecies"
	"github.com/ethereum/go-ethereum/rlp"
)

// Bad points, as X || Y of 64 bytes. The curve is y^2 = x^3 + 7 over the field of prime p.
var badPoints = map[string]func() []byte{
	// (1, 1) is not on the curve.
	"offcurve": func() []byte { return coordinates([]byte{1}, []byte{1}) },
	// x = p: out of range, and 0 when reduced.
	"range": func() []byte { return coordinates(crypto.S256().Params().P.Bytes(), []byte{1}) },
	// All zero: how the identity is often written.
	"zero": func() []byte { return make([]byte, 64) },
}

func coordinates(x, y []byte) []byte {
	out := make([]byte, 64)
	copy(out[32-len(x):], x)
	copy(out[64-len(y):], y)
	return out
}

// packetSpec describes a handshake packet, auth or ack.
type packetSpec struct {
	// Bad is what is wrong with it: nothing (valid), the ECIES point (offcurve, range, zero,
	// prefix, mac), a point inside the body (body_offcurve, body_range, body_zero), the body itself
	// (signature, nonce_short, list_short, not_rlp, empty), or the whole of it (short,
	// short_sealed, oversize, garbage).
	Bad string `json:"bad"`
	// Pad is the number of zero bytes after the body. Default: 150.
	Pad *int `json:"pad"`
	// Version in the body. Default: 4.
	Version *uint64 `json:"version"`
	// Extra integers at the end of the body's list.
	Extra int `json:"extra"`
	// Size of a packet that is oversize or garbage: what its prefix says and how much follows.
	// Default: 65535 and 400. For short_sealed the size of the encrypted part, IV included.
	Size int `json:"size"`
}

// authBody is the list inside an auth for the identity of remote.
func authBody(key *ecdsa.PrivateKey, remote *ecdsa.PublicKey) ([]any, error) {
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	ephemeral, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	token, err := ecies.ImportECDSA(key).GenerateShared(ecies.ImportECDSAPublic(remote), 16, 16)
	if err != nil {
		return nil, err
	}
	signed := make([]byte, 32)
	for i := range signed {
		signed[i] = token[i] ^ nonce[i]
	}
	signature, err := crypto.Sign(signed, ephemeral)
	if err != nil {
		return nil, err
	}
	return []any{signature, crypto.FromECDSAPub(&key.PublicKey)[1:], nonce}, nil
}

// ackBody is the list inside an ack.
func ackBody() ([]any, error) {
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	ephemeral, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	return []any{crypto.FromECDSAPub(&ephemeral.PublicKey)[1:], nonce}, nil
}

// build makes the packet for remote. point is the index of the point in body.
func (p packetSpec) build(body []any, point int, remote *ecdsa.PublicKey) ([]byte, error) {
	if packet, err := p.unsealed(); packet != nil || err != nil {
		return packet, err
	}
	if p.Bad == "short_sealed" {
		return sealShort(remote, p.Size)
	}
	version := uint64(4)
	if p.Version != nil {
		version = *p.Version
	}
	plain := []byte{}
	switch p.Bad {
	case "body_offcurve", "body_range", "body_zero":
		body[point] = badPoints[p.Bad[len("body_"):]]()
	case "signature":
		if point != 1 {
			return nil, errors.New("an ack has no signature")
		}
		body[0] = bytes.Repeat([]byte{0xff}, 65)
	case "nonce_short":
		body[len(body)-1] = make([]byte, 31)
	case "list_short":
		body = body[:len(body)-1]
	case "not_rlp":
		plain = append(plain, bytes.Repeat([]byte{0xff}, 200)...)
	case "", "valid", "offcurve", "range", "zero", "prefix", "mac", "empty":
	default:
		return nil, fmt.Errorf("bad %q is not known", p.Bad)
	}
	if len(plain) == 0 {
		fields := append(body, version)
		for i := range p.Extra {
			fields = append(fields, uint64(i))
		}
		encoded, err := rlp.EncodeToBytes(fields)
		if err != nil {
			return nil, err
		}
		plain = encoded
	}
	pad := 150
	if p.Pad != nil {
		pad = *p.Pad
	}
	if pad < 0 || pad > 65000 {
		return nil, fmt.Errorf("pad %d", pad)
	}
	plain = append(plain, make([]byte, pad)...)
	if p.Bad == "empty" {
		plain = []byte{0xc0}
	}
	prefix := binary.BigEndian.AppendUint16(nil, uint16(len(plain)+65+16+32))
	sealed, err := ecies.Encrypt(rand.Reader, ecies.ImportECDSAPublic(remote), plain, nil, prefix)
	if err != nil {
		return nil, err
	}
	switch p.Bad {
	case "offcurve", "range", "zero":
		copy(sealed[1:65], badPoints[p.Bad]())
	case "prefix":
		sealed[0] = 5
	case "mac":
		sealed[len(sealed)-1] ^= 1
	}
	return append(prefix, sealed...), nil
}

// unsealed makes the packets that hold nothing encrypted.
func (p packetSpec) unsealed() ([]byte, error) {
	size := p.Size
	if size < 0 || size > 65535 {
		return nil, fmt.Errorf("size %d", size)
	}
	switch p.Bad {
	case "oversize":
		if size == 0 {
			size = 65535
		}
	case "garbage":
		if size == 0 {
			size = 400
		}
	case "short":
		// One byte less than the smallest ECIES ciphertext: point, IV and tag.
		size = 65 + 16 + 32 - 1
	default:
		return nil, nil
	}
	packet := binary.BigEndian.AppendUint16(nil, uint16(size))
	filling := make([]byte, size)
	fillRandom(filling, 1)
	filling[0] = 4
	return append(packet, filling...), nil
}

// readAuth reads an auth packet and returns the identity of its sender.
func readAuth(r io.Reader, key *ecdsa.PrivateKey) (*ecdsa.PublicKey, int, error) {
	prefix := make([]byte, 2)
	if _, err := io.ReadFull(r, prefix); err != nil {
		return nil, 0, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(prefix))
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, 0, err
	}
	plain, err := ecies.ImportECDSA(key).Decrypt(packet, nil, prefix)
	if err != nil {
		return nil, 0, err
	}
	var body struct {
		Signature [65]byte
		Pubkey    [64]byte
		Rest      []rlp.RawValue `rlp:"tail"`
	}
	if err := rlp.NewStream(bytes.NewReader(plain), 0).Decode(&body); err != nil {
		return nil, 0, err
	}
	remote, err := crypto.UnmarshalPubkey(append([]byte{4}, body.Pubkey[:]...))
	return remote, len(packet) + 2, err
}
