package main

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
)

type benchArgs struct {
	base
	Peer string `json:"peer"`
	// Protocol that keeps the rules of bench/1. Default: bench.
	Protocol string `json:"protocol"`
	// Size of each message in bytes.
	Size int `json:"size"`
	// Count of messages one way.
	Count int `json:"count"`
	// Zero sends zeros; otherwise bytes that do not compress.
	Zero bool `json:"zero"`
	// RTTCount is the number of echoes. Default 1000; -1 for none.
	RTTCount int `json:"rtt_count"`
	// RTTSize is their size in bytes. Default: Size.
	RTTSize *int `json:"rtt_size"`
}

// bench measures the rate one way, from the first write to the answer that all were
// taken, then round trips one at a time.
func (n *node) bench(a benchArgs) (object, error) {
	if a.Protocol == "" {
		a.Protocol = "bench"
	}
	if a.RTTCount == 0 {
		a.RTTCount = 1000
	}
	if a.RTTSize == nil {
		a.RTTSize = &a.Size
	}
	if a.Size < 0 || *a.RTTSize < 0 || a.Count < 0 {
		return nil, errors.New("negative size or count")
	}
	l, err := n.lane(a.Peer, a.Protocol)
	if err != nil {
		return nil, err
	}
	pattern := "random"
	if a.Zero {
		pattern = "zero"
	}
	payload := make([]byte, a.Size)
	if err := fill(payload, pattern, 1, 0); err != nil {
		return nil, err
	}
	write := func(code uint64, payload []byte) error {
		return l.rw.WriteMsg(p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)})
	}
	started := time.Now()
	for range a.Count {
		if err := write(0, payload); err != nil {
			return nil, err
		}
	}
	l.wanted.Add(1)
	if err := write(2, nil); err != nil {
		return nil, err
	}
	if err := l.answer(); err != nil {
		return nil, err
	}
	seconds := time.Since(started).Seconds()
	fields := object{
		"size": a.Size, "count": a.Count, "zero": a.Zero, "seconds": seconds,
		"messages_per_second": float64(a.Count) / seconds,
		"bytes_per_second":    float64(a.Count) * float64(a.Size) / seconds,
	}
	if a.RTTCount < 0 {
		return fields, nil
	}
	echo := make([]byte, *a.RTTSize)
	if err := fill(echo, pattern, 2, 0); err != nil {
		return nil, err
	}
	times := make([]time.Duration, a.RTTCount)
	for i := range times {
		start := time.Now()
		l.wanted.Add(1)
		if err := write(1, echo); err != nil {
			return fields, err
		}
		if err := l.answer(); err != nil {
			return fields, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	at := func(part float64) float64 {
		return float64(times[int(part*float64(len(times)-1))].Nanoseconds()) / 1000
	}
	fields["rtt_size"], fields["rtt_count"] = *a.RTTSize, a.RTTCount
	fields["rtt_p50_us"], fields["rtt_p99_us"] = at(0.50), at(0.99)
	return fields, nil
}

func (l *lane) answer() error {
	select {
	case <-l.answers:
		return nil
	case <-l.closed:
		return errNoAnswer
	}
}

type handshakeArgs struct {
	base
	// Count of handshakes. Default 1000.
	Count int `json:"count"`
}

// benchHandshakes does RLPx handshakes with itself over loopback, one after the other:
// the work of both sides.
func benchHandshakes(a handshakeArgs) (object, error) {
	if a.Count <= 0 {
		a.Count = 1000
	}
	ours, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	theirs, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	accepted := make(chan error, 1)
	go func() {
		for {
			fd, err := listener.Accept()
			if err != nil {
				return
			}
			_, err = rlpx.NewConn(fd, nil).Handshake(theirs)
			fd.Close()
			accepted <- err
		}
	}()
	started := time.Now()
	for range a.Count {
		fd, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return nil, err
		}
		_, err = rlpx.NewConn(fd, &theirs.PublicKey).Handshake(ours)
		fd.Close()
		if err = errors.Join(err, <-accepted); err != nil {
			return nil, err
		}
	}
	seconds := time.Since(started).Seconds()
	return object{"count": a.Count, "seconds": seconds, "handshakes_per_second": float64(a.Count) / seconds}, nil
}
