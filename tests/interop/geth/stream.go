package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
)

// streamSpec describes a run of messages on one subprotocol.
type streamSpec struct {
	Protocol string `json:"protocol"`
	Code     uint64 `json:"code"`
	// Count is the number of messages; 0 with Seconds 0 goes on until stop or the end of the session.
	Count uint64 `json:"count"`
	// Seconds ends the run after that time.
	Seconds float64 `json:"seconds"`
	// Size, or sizes drawn from MinSize..=MaxSize when MaxSize > 0.
	Size    int `json:"size"`
	MinSize int `json:"min_size"`
	MaxSize int `json:"max_size"`
	// Pattern of the payloads, message n with seed + n. Default: numbered.
	Pattern string `json:"pattern"`
	Seed    uint64 `json:"seed"`
}

// sizeOf is the size of message n.
func (s streamSpec) sizeOf(n uint64) int {
	if s.MaxSize == 0 {
		return s.Size
	}
	x := newXorshift(^(s.Seed + n))
	return s.MinSize + int(x.next()%uint64(s.MaxSize-s.MinSize+1))
}

func (s streamSpec) check() error {
	if s.Size < 0 || s.Size > maxPayload || s.MinSize < 0 || s.MaxSize > maxPayload ||
		(s.MaxSize != 0 && s.MaxSize < s.MinSize) {
		return errors.New("sizes out of range")
	}
	return fill(nil, s.Pattern, 0, 0)
}

// send writes one message and counts it.
func (l *lane) send(code uint64, payload []byte) error {
	err := l.rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
	if err == nil {
		l.count(&l.sent, len(payload))
	}
	return err
}

// stream writes a run of messages, and returns what was written before it ended.
func (l *lane) stream(spec streamSpec, stop <-chan struct{}) (tally, error) {
	sent := newTally()
	if err := spec.check(); err != nil {
		return sent, err
	}
	if spec.Pattern == "" {
		spec.Pattern = "numbered"
	}
	var until <-chan time.Time
	if spec.Seconds > 0 {
		until = time.After(time.Duration(spec.Seconds * float64(time.Second)))
	}
	var buffer []byte
	for n := uint64(0); spec.Count == 0 || n < spec.Count; n++ {
		select {
		case <-stop:
			return sent, nil
		case <-until:
			return sent, nil
		default:
		}
		size := spec.sizeOf(n)
		if size > cap(buffer) {
			buffer = make([]byte, size)
		}
		payload := buffer[:size]
		if err := fill(payload, spec.Pattern, spec.Seed, n); err != nil {
			return sent, err
		}
		if err := l.send(spec.Code, payload); err != nil {
			return sent, err
		}
		sent.add(spec.Code, payload)
	}
	return sent, nil
}

// flood writes several streams at once and waits for all of them.
func (n *node) flood(peer string, specs []streamSpec) (object, error) {
	lanes := make([]*lane, len(specs))
	for i, spec := range specs {
		l, err := n.lane(peer, spec.Protocol)
		if err != nil {
			return nil, err
		}
		lanes[i] = l
	}
	stop := n.stopSignal()
	results := make([]object, len(specs))
	errs := make([]error, len(specs))
	started := time.Now()
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sent, err := lanes[i].stream(spec, stop)
			results[i] = sent.fields()
			results[i]["protocol"] = lanes[i].capability()
			if err != nil {
				results[i]["error"] = err.Error()
				errs[i] = fmt.Errorf("%s: %w", lanes[i].capability(), err)
			}
		}()
	}
	wg.Wait()
	return object{"streams": results, "seconds": time.Since(started).Seconds()}, errors.Join(errs...)
}
