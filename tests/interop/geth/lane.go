package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ethereum/go-ethereum/p2p"
)

// hexLimit is the largest payload that an event carries in full.
const hexLimit = 1024

// protocolConfig is one subprotocol that a peer offers.
type protocolConfig struct {
	Name    string `json:"name"`
	Version uint   `json:"version"`
	Length  uint64 `json:"length"`
	// Behaviour is echo, bench, chat, sink, count, return, fail or failreason. Default: the name
	// when that is a behaviour, else sink.
	Behaviour string `json:"behaviour"`
	// Quiet leaves out the event of each message.
	Quiet bool `json:"quiet"`
	// Reason is the disconnect reason of failreason.
	Reason uint8 `json:"reason"`
	// Paused starts without reading.
	Paused bool `json:"paused"`
	// Start is sent as soon as the subprotocol runs.
	Start *streamSpec `json:"start"`
}

// lane is one subprotocol in one session.
type lane struct {
	node   *node
	config protocolConfig
	peer   *p2p.Peer
	rw     p2p.MsgReadWriter
	offset uint64
	closed <-chan struct{}
	gate   gate

	// finish makes the run closure return.
	finish chan error
	// answers gets the codes of bench messages that the bench command waits for, while wanted > 0.
	answers chan uint64
	wanted  atomic.Int64

	mu             sync.Mutex
	received, sent tally
}

// internals reads what p2p keeps to itself: the subprotocol's code offset, and the
// channel that closes with the session, without which a lane that does not read could not end.
func internals(rw p2p.MsgReadWriter) (offset uint64, closed <-chan struct{}) {
	v := reflect.ValueOf(rw).Elem()
	offset = v.FieldByName("offset").Uint()
	closed = *(*<-chan struct{})(unsafe.Pointer(v.FieldByName("closed").UnsafeAddr()))
	return offset, closed
}

func (l *lane) capability() string { return fmt.Sprintf("%s/%d", l.config.Name, l.config.Version) }

func (l *lane) emit(event string, fields object) {
	fields["peer"] = l.peer.ID().String()
	fields["protocol"] = l.capability()
	l.node.out.emit(event, fields)
}

// run is the Run function of the protocol.
func (l *lane) run() error {
	l.node.addLane(l)
	l.emit("protocol_started", object{"offset": l.offset, "length": l.config.Length})
	err := l.serve()
	l.node.removeLane(l)
	fields := l.stats()
	fields["error"] = errorText(err)
	if reason, ok := discReason(err); ok {
		fields["reason"] = reason
	}
	l.emit("protocol_ended", fields)
	return err
}

func (l *lane) serve() error {
	switch l.config.Behaviour {
	case "return":
		return nil
	case "fail":
		return errors.New("failed as told")
	case "failreason":
		return p2p.DiscReason(l.config.Reason)
	}
	reader := make(chan error, 1)
	go func() { reader <- l.read() }()
	if l.config.Start != nil {
		go func() {
			sent, err := l.stream(*l.config.Start, nil)
			fields := sent.fields()
			fields["error"] = errorText(err)
			l.emit("start_sent", fields)
		}()
	}
	select {
	case err := <-l.finish:
		return err
	case err := <-reader:
		return err
	}
}

func (l *lane) read() error {
	for {
		msg, err := l.rw.ReadMsg()
		if err != nil {
			return err
		}
		if !l.gate.wait(l.closed) {
			return io.EOF
		}
		if err := l.handle(msg); err != nil {
			return err
		}
	}
}

func (l *lane) handle(msg p2p.Msg) error {
	switch {
	case l.config.Behaviour == "echo" && msg.Code == 0:
		l.count(&l.received, int(msg.Size))
		size := msg.Size
		if err := l.rw.WriteMsg(p2p.Msg{Code: 1, Size: size, Payload: msg.Payload}); err != nil {
			return err
		}
		l.count(&l.sent, int(size))
		return nil
	case l.config.Behaviour == "count", l.config.Behaviour == "bench" && msg.Code == 0:
		l.count(&l.received, int(msg.Size))
		return msg.Discard()
	case l.config.Behaviour == "bench" && (msg.Code == 1 || msg.Code == 2):
		l.count(&l.received, int(msg.Size))
		if l.wanted.Load() > 0 {
			if err := msg.Discard(); err != nil {
				return err
			}
			l.wanted.Add(-1)
			l.answers <- msg.Code
			return nil
		}
		size := msg.Size
		if err := l.rw.WriteMsg(p2p.Msg{Code: msg.Code, Size: size, Payload: msg.Payload}); err != nil {
			return err
		}
		l.count(&l.sent, int(size))
		return nil
	}
	return l.record(msg)
}

// record takes a message in full, sums it up and reports it.
func (l *lane) record(msg p2p.Msg) error {
	payload := make([]byte, msg.Size)
	if _, err := io.ReadFull(msg.Payload, payload); err != nil {
		return err
	}
	l.mu.Lock()
	seq := l.received.Count
	l.received.add(msg.Code, payload)
	l.mu.Unlock()
	if l.config.Quiet {
		return nil
	}
	fields := payloadFields(payload)
	fields["code"] = msg.Code
	fields["seq"] = seq
	if l.config.Behaviour == "chat" {
		fields["text"] = string(payload)
	}
	l.emit("message", fields)
	return nil
}

// payloadFields describes a payload: size, checksum, and the bytes when they are few.
func payloadFields(payload []byte) object {
	fields := object{"size": len(payload), "fnv": checksum(payload)}
	if len(payload) <= hexLimit {
		fields["hex"] = hex.EncodeToString(payload)
	}
	return fields
}

func (l *lane) count(t *tally, size int) {
	l.mu.Lock()
	t.count(size)
	l.mu.Unlock()
}

func (l *lane) stats() object {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := object{"count": l.sent.Count, "bytes": l.sent.Bytes}
	return object{"received": l.received.fields(), "sent": sent, "offset": l.offset}
}

func (l *lane) receivedCount() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received.Count
}

// gate holds the reader while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // not nil while shut; closed when opened
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if open && g.shut != nil {
		close(g.shut)
		g.shut = nil
	} else if !open && g.shut == nil {
		g.shut = make(chan struct{})
	}
}

// wait returns once the gate is open, or false when the session closed first.
func (g *gate) wait(closed <-chan struct{}) bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return true
	case <-closed:
		return false
	}
}

// finishWith makes the run closure return in one of the ways that it can end.
func (l *lane) finishWith(how string, reason uint8, text string) error {
	var err error
	switch how {
	case "return":
	case "error":
		err = errors.New(text)
	case "reason":
		err = p2p.DiscReason(reason)
	case "invalid_code":
		err = l.rw.WriteMsg(p2p.Msg{Code: l.config.Length})
	case "invalid_message":
		err = p2p.Msg{Payload: failingReader{}}.Decode(new(uint64))
	default:
		return fmt.Errorf("how %q is none of return, error, reason, invalid_code, invalid_message", how)
	}
	select {
	case l.finish <- err:
		return nil
	case <-l.closed:
		return io.EOF
	case <-time.After(10 * time.Second):
		return errors.New("the run closure did not return")
	}
}

// failingReader is a payload that cannot be decoded.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
