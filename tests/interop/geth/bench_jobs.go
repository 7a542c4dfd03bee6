package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
)

// Codes of bench/1.
const (
	codeDrop   = 0 // taken and counted
	codeEcho   = 1 // sent back
	codeSync   = 2 // answered by messages and bytes dropped since the last one
	codeDuplex = 3 // size, count, pattern: the receiver sends as many messages itself
)

type jobArgs struct {
	Lane int `json:"lane"`
	// Do is send, duplex, echo, or bulk, which sends until the other jobs are done.
	Do    string `json:"do"`
	Size  int    `json:"size"`
	Count int    `json:"count"`
	// Seconds after which an echo job ends early. Default: never.
	Seconds float64 `json:"seconds"`
	// Pattern is random, zero or half.
	Pattern string `json:"pattern"`
}

type jobResult struct {
	fields object
	err    error
}

type job struct {
	jobArgs
	payload []byte
	done    chan jobResult
}

func newJob(a jobArgs) (job, error) {
	if a.Size < 0 || a.Size > maxPayload || a.Count < 0 {
		return job{}, errors.New("size or count out of range")
	}
	payload, err := benchPayload(a.Size, a.Pattern)
	return job{a, payload, make(chan jobResult, 1)}, err
}

// benchPayload is random, zeros, or half of each in turns of 32 bytes.
func benchPayload(size int, pattern string) ([]byte, error) {
	payload := make([]byte, size)
	switch pattern {
	case "zero":
	case "random", "half":
		fillRandom(payload, 1)
	default:
		return nil, fmt.Errorf("pattern %q is none of random, zero, half", pattern)
	}
	if pattern == "half" {
		for i := range payload {
			if i/32%2 == 1 {
				payload[i] = 0
			}
		}
	}
	return payload, nil
}

func (j job) endless() bool { return j.Do == "bulk" }

func (j job) run(rw p2p.MsgReadWriter, stop *atomic.Bool) (object, error) {
	switch j.Do {
	case "send":
		return j.send(rw, func(n int) bool { return n < j.Count })
	case "bulk":
		return j.send(rw, func(n int) bool { return n == 0 || !stop.Load() })
	case "duplex":
		return j.duplex(rw)
	case "echo":
		return j.echo(rw)
	}
	return nil, fmt.Errorf("there is no job %q", j.Do)
}

func write(rw p2p.MsgReadWriter, code uint64, payload []byte) error {
	return rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
}

// send sends while more says so, until the other end has taken everything.
func (j job) send(rw p2p.MsgReadWriter, more func(int) bool) (object, error) {
	started := time.Now()
	sent := 0
	for ; more(sent); sent++ {
		if err := write(rw, codeDrop, j.payload); err != nil {
			return nil, err
		}
	}
	if err := write(rw, codeSync, nil); err != nil {
		return nil, err
	}
	msg, err := rw.ReadMsg()
	if err != nil {
		return nil, err
	}
	seconds := time.Since(started).Seconds()
	return object{"seconds": seconds, "messages": sent}, j.taken(msg, sent)
}

// taken checks that the other end took what was sent.
func (j job) taken(msg p2p.Msg, sent int) error {
	var answer [16]byte
	if msg.Code != codeSync || msg.Size != 16 {
		return fmt.Errorf("code %d of %d bytes in place of the answer", msg.Code, msg.Size)
	}
	if _, err := io.ReadFull(msg.Payload, answer[:]); err != nil {
		return err
	}
	messages, size := binary.BigEndian.Uint64(answer[:8]), binary.BigEndian.Uint64(answer[8:])
	if messages != uint64(sent) || size != uint64(sent*j.Size) {
		return fmt.Errorf("%d messages of %d bytes in all were taken, %d of %d each were sent", messages, size, sent, j.Size)
	}
	return nil
}

// duplex sends and receives as many messages at once.
func (j job) duplex(rw p2p.MsgReadWriter) (object, error) {
	started := time.Now()
	var order [17]byte
	binary.BigEndian.PutUint64(order[:], uint64(j.Size))
	binary.BigEndian.PutUint64(order[8:], uint64(j.Count))
	order[16] = byte(slices.Index(patterns, j.Pattern))
	if err := write(rw, codeDuplex, order[:]); err != nil {
		return nil, err
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < j.Count && err == nil; n++ {
			err = write(rw, codeDrop, j.payload)
		}
		if err == nil {
			err = write(rw, codeSync, nil)
		}
		written <- err
	}()
	received, synced := 0, false
	for received < j.Count || !synced {
		msg, err := rw.ReadMsg()
		if err != nil {
			return nil, err
		}
		if msg.Code == codeSync {
			if err := j.taken(msg, j.Count); err != nil {
				return nil, err
			}
			synced = true
			continue
		}
		received++
		if err := msg.Discard(); err != nil {
			return nil, err
		}
	}
	seconds := time.Since(started).Seconds()
	return object{"seconds": seconds, "messages": 2 * j.Count}, <-written
}

var patterns = []string{"random", "zero", "half"}

// echo measures round trips, one at a time.
func (j job) echo(rw p2p.MsgReadWriter) (object, error) {
	times := make([]time.Duration, 0, j.Count)
	began := time.Now()
	for range j.Count {
		started := time.Now()
		if j.Seconds > 0 && started.Sub(began).Seconds() > j.Seconds {
			break
		}
		if err := write(rw, codeEcho, j.payload); err != nil {
			return nil, err
		}
		msg, err := rw.ReadMsg()
		if err != nil {
			return nil, err
		}
		if msg.Code != codeEcho || int(msg.Size) != j.Size {
			return nil, errors.New("another message in place of the echo")
		}
		if err := msg.Discard(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(started))
	}
	if len(times) == 0 {
		return nil, errors.New("not one echo was asked for")
	}
	slices.Sort(times)
	at := func(part float64) float64 {
		return float64(times[int(part*float64(len(times)-1))].Nanoseconds()) / 1000
	}
	return object{"echoes": len(times), "p50_us": at(0.50), "p99_us": at(0.99)}, nil
}

// serve is the end that others send to.
func serve(rw p2p.MsgReadWriter) error {
	var messages, size uint64
	for {
		msg, err := rw.ReadMsg()
		if err != nil {
			return err
		}
		switch msg.Code {
		case codeDrop:
			messages++
			size += uint64(msg.Size)
			err = msg.Discard()
		case codeEcho:
			err = rw.WriteMsg(p2p.Msg{Code: codeEcho, Size: msg.Size, Payload: msg.Payload})
		case codeSync:
			answer := binary.BigEndian.AppendUint64(nil, messages)
			answer = binary.BigEndian.AppendUint64(answer, size)
			messages, size = 0, 0
			if err = msg.Discard(); err == nil {
				err = write(rw, codeSync, answer)
			}
		case codeDuplex:
			err = answerDuplex(rw, msg)
		default:
			err = fmt.Errorf("bench/1 has no code %d", msg.Code)
		}
		if err != nil {
			return err
		}
	}
}

func answerDuplex(rw p2p.MsgReadWriter, msg p2p.Msg) error {
	var order [17]byte
	if _, err := io.ReadFull(msg.Payload, order[:]); err != nil || int(order[16]) >= len(patterns) {
		return errors.New("an order to send that makes no sense")
	}
	if err := msg.Discard(); err != nil {
		return err
	}
	size, count := binary.BigEndian.Uint64(order[:8]), binary.BigEndian.Uint64(order[8:])
	if size > 1<<24 {
		return errors.New("an order to send that is too large")
	}
	payload, err := benchPayload(int(size), patterns[order[16]])
	if err != nil {
		return err
	}
	go func() {
		for range count {
			if write(rw, codeDrop, payload) != nil {
				return
			}
		}
	}()
	return nil
}
