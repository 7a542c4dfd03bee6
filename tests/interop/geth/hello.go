package main

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
)

// helloSpec describes a Hello payload, well-formed unless told otherwise.
type helloSpec struct {
	// Version of the base protocol. Default: 5.
	Version *uint64 `json:"version"`
	Name    *string `json:"name"`
	// Caps are pairs of name and version. Default: echo/1.
	Caps [][2]any `json:"caps"`
	Port uint64   `json:"port"`
	// ID is own (default), zero, short, long, empty, or bytes in hex.
	ID string `json:"id"`
	// Extra list elements, each the RLP of one item in hex.
	Extra []string `json:"extra"`
	// Trailing bytes after the list, in hex.
	Trailing string `json:"trailing"`
	// PadName makes the name that many bytes longer.
	PadName int `json:"pad_name"`
}

// payload builds it for the identity own, 64 bytes.
func (h helloSpec) payload(own []byte) ([]byte, error) {
	version, name := uint64(5), "geth-interop-raw"
	if h.Version != nil {
		version = *h.Version
	}
	if h.Name != nil {
		name = *h.Name
	}
	if h.PadName < 0 || h.PadName > maxPayload {
		return nil, fmt.Errorf("pad_name %d", h.PadName)
	}
	name += string(bytes.Repeat([]byte{'x'}, h.PadName))
	id, err := h.identity(own)
	if err != nil {
		return nil, err
	}
	caps := [][]any{}
	for _, c := range h.Caps {
		cap := []any{}
		for _, field := range c {
			switch v := field.(type) {
			case string:
				cap = append(cap, v)
			case fmt.Stringer: // json.Number
				var number uint64
				if _, err := fmt.Sscan(v.String(), &number); err != nil {
					return nil, fmt.Errorf("capability: %w", err)
				}
				cap = append(cap, number)
			default:
				return nil, fmt.Errorf("capability field %v", field)
			}
		}
		caps = append(caps, cap)
	}
	if h.Caps == nil {
		caps = append(caps, []any{"echo", uint64(1)})
	}
	fields := []any{version, name, caps, h.Port, id}
	for _, text := range h.Extra {
		item, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("extra: %w", err)
		}
		fields = append(fields, rlp.RawValue(item))
	}
	out, err := rlp.EncodeToBytes(fields)
	if err != nil {
		return nil, err
	}
	trailing, err := hex.DecodeString(h.Trailing)
	return append(out, trailing...), err
}

func (h helloSpec) identity(own []byte) ([]byte, error) {
	switch h.ID {
	case "", "own":
		return own, nil
	case "zero":
		return make([]byte, 64), nil
	case "short":
		return own[:63], nil
	case "long":
		return append(bytes.Clone(own), 1), nil
	case "empty":
		return nil, nil
	}
	return hex.DecodeString(h.ID)
}

// receivedHello is what a Hello holds, with room for the fields of later versions.
type receivedHello struct {
	Version uint64
	Name    string
	Caps    []struct {
		Name    string
		Version uint64
	}
	Port uint64
	ID   []byte
	Rest []rlp.RawValue `rlp:"tail"`
}

// describeHello decodes a Hello payload.
func describeHello(payload []byte) (object, uint64, error) {
	var h receivedHello
	if err := rlp.NewStream(bytes.NewReader(payload), uint64(len(payload))).Decode(&h); err != nil {
		return nil, 0, err
	}
	caps := []string{}
	for _, c := range h.Caps {
		caps = append(caps, fmt.Sprintf("%s/%d", c.Name, c.Version))
	}
	return object{
		"version": h.Version, "name": h.Name, "caps": caps, "port": h.Port,
		"pubkey": hex.EncodeToString(h.ID), "extra": len(h.Rest), "size": len(payload),
	}, h.Version, nil
}
