package main

import (
	"bytes"
	"errors"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
)

// discReason is the disconnect reason that an error is or wraps.
func discReason(err error) (int, bool) {
	var reason p2p.DiscReason
	if errors.As(err, &reason) {
		return int(reason), true
	}
	return 0, false
}

// reasonNamed is the disconnect reason that go-ethereum writes so.
func reasonNamed(text string) (int, bool) {
	for reason := range 256 {
		if p2p.DiscReason(reason).Error() == text {
			return reason, true
		}
	}
	return 0, false
}

func errorText(err error) any {
	if err == nil {
		return nil
	}
	return err.Error()
}

// decodeDisconnect reads a Disconnect payload as go-ethereum does: a list or a bare
// integer, 0xff for anything else.
func decodeDisconnect(payload []byte) int {
	s := rlp.NewStream(bytes.NewReader(payload), 100)
	kind, _, err := s.Kind()
	if err != nil {
		return p2p.DiscInvalid
	}
	if kind == rlp.List {
		s.List()
	}
	var reason p2p.DiscReason
	if s.Decode(&reason) != nil {
		return p2p.DiscInvalid
	}
	return int(reason)
}
