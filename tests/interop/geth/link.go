package main

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/p2p/rlpx"
)

// link is one TCP connection of the raw mode.
type link struct {
	conn   *faultyConn
	rlpx   *rlpx.Conn
	remote *ecdsa.PublicKey

	// wmu is held by the command that writes, which may drip in the background.
	wmu    sync.Mutex
	sealer *sealer

	// rmu is held by the command that reads. A read that timed out goes on as pending,
	// so that the next command gets its message whole.
	rmu     sync.Mutex
	pending chan received

	mu     sync.Mutex
	snappy bool
}

// received is one message as rlpx delivers it, compressed or not.
type received struct {
	code uint64
	data []byte
	err  error
}

// newLink wraps a connection; remote is the identity that an initiator expects.
func newLink(fd net.Conn, remote *ecdsa.PublicKey) *link {
	conn := &faultyConn{Conn: fd}
	// Compression is done here and not by rlpx, so that it can be done wrong.
	return &link{conn: conn, rlpx: rlpx.NewConn(conn, remote), remote: remote}
}

func (l *link) setSnappy(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snappy = on
}

func (l *link) compressed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snappy
}

// write runs one writer, whose first write is altered, and reports the bytes that went out.
func (l *link) write(a *alteration, do func() error) (object, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	before := l.conn.total()
	l.conn.alter(a)
	err := do()
	l.conn.alter(nil)
	return object{"wire_bytes": l.conn.total() - before}, err
}

var errNoHandshake = errors.New("no handshake yet")

func (l *link) handshake(key *ecdsa.PrivateKey, a *alteration, timeout time.Duration) (object, error) {
	if l.sealer != nil {
		return nil, errors.New("the handshake is done already")
	}
	l.conn.SetReadDeadline(time.Now().Add(timeout))
	defer l.conn.SetReadDeadline(time.Time{})
	var remote *ecdsa.PublicKey
	fields, err := l.write(a, func() (err error) {
		remote, err = l.rlpx.Handshake(key)
		return err
	})
	if err != nil {
		return fields, timeoutError(err)
	}
	l.sealer = newSealer(l.rlpx)
	l.remote = remote
	fields["pubkey"] = publicKeyHex(remote)
	return fields, nil
}

// timeoutError makes a deadline that passed look the same everywhere.
func timeoutError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return err
}

// auth sends an auth packet of our own making.
func (l *link) auth(key *ecdsa.PrivateKey, a packetArgs) (object, error) {
	if l.remote == nil {
		return nil, errors.New("auth is for a connection that we dialled")
	}
	body, err := authBody(key, l.remote)
	if err != nil {
		return nil, err
	}
	return l.packet(a, body, 1, l.remote)
}

// ack reads the remote's auth and sends an ack of our own making.
func (l *link) ack(key *ecdsa.PrivateKey, a packetArgs) (object, error) {
	l.conn.SetReadDeadline(time.Now().Add(timeoutOf(a.TimeoutMS)))
	defer l.conn.SetReadDeadline(time.Time{})
	remote, size, err := readAuth(l.conn, key)
	if err != nil {
		return nil, timeoutError(err)
	}
	body, err := ackBody()
	if err != nil {
		return nil, err
	}
	fields, err := l.packet(a, body, 0, remote)
	if fields != nil {
		fields["auth_bytes"] = size
		fields["pubkey"] = publicKeyHex(remote)
	}
	return fields, err
}

func (l *link) packet(a packetArgs, body []any, point int, remote *ecdsa.PublicKey) (object, error) {
	packet, err := a.packetSpec.build(body, point, remote)
	if err != nil {
		return nil, err
	}
	return l.write(a.Alter, func() error {
		_, err := l.conn.Write(packet)
		return err
	})
}

func (l *link) hello(own []byte, a helloArgs) (object, error) {
	payload, err := a.helloSpec.payload(own)
	if err != nil {
		return nil, err
	}
	return l.put(a.Code, payload, a.Alter)
}

// put writes one message, its payload as it is.
func (l *link) put(code uint64, payload []byte, a *alteration) (object, error) {
	if l.sealer == nil {
		return nil, errNoHandshake
	}
	fields, err := l.write(a, func() error {
		_, err := l.rlpx.Write(code, payload)
		return err
	})
	fields["size"] = len(payload)
	return fields, err
}

func (a messageArgs) payload(l *link) ([]byte, error) {
	payload, err := a.payloadSpec.bytes()
	if err != nil {
		return nil, err
	}
	return compress(payload, a.Snappy, l.compressed(), a.Stated)
}

func (l *link) send(a messageArgs) (object, error) {
	payload, err := a.payload(l)
	if err != nil {
		return nil, err
	}
	return l.put(a.Code, payload, a.Alter)
}

// flood writes the same message many times. When the remote takes no more, it gives up
// after the timeout, which may leave a part of a frame on the wire.
func (l *link) flood(a messageArgs) (object, error) {
	if l.sealer == nil {
		return nil, errNoHandshake
	}
	payload, err := a.payload(l)
	if err != nil {
		return nil, err
	}
	l.conn.SetWriteDeadline(time.Now().Add(timeoutOf(a.TimeoutMS)))
	defer l.conn.SetWriteDeadline(time.Time{})
	sent := 0
	fields, err := l.write(a.Alter, func() error {
		for ; sent < a.Count; sent++ {
			if _, err := l.rlpx.Write(a.Code, payload); err != nil {
				return timeoutError(err)
			}
		}
		return nil
	})
	fields["sent"] = sent
	return fields, err
}

// frame writes a frame of our own making.
func (l *link) frame(a frameArgs) (object, error) {
	if l.sealer == nil {
		return nil, errNoHandshake
	}
	body, err := a.Body.bytes()
	if err != nil {
		return nil, err
	}
	stated := len(body)
	if a.Stated != nil {
		stated = *a.Stated
	}
	data, err := headerData(a.HeaderData)
	if err != nil {
		return nil, fmt.Errorf("header_data: %w", err)
	}
	header, err := frameHeader(stated, data)
	if err != nil {
		return nil, err
	}
	return l.write(a.Alter, func() error {
		_, err := l.conn.Write(l.sealer.frame(header, body))
		return err
	})
}

// tcpRead reads bytes as they come, without looking into them.
func (l *link) tcpRead(a tcpReadArgs) (object, error) {
	l.conn.SetReadDeadline(time.Now().Add(timeoutOf(a.TimeoutMS)))
	defer l.conn.SetReadDeadline(time.Time{})
	limit := a.Max
	if limit == 0 {
		limit = maxPayload
	}
	data, err := io.ReadAll(io.LimitReader(l.conn, int64(limit)))
	if err == nil && (a.Max == 0 || len(data) < a.Max) {
		err = io.EOF
	}
	fields := payloadFields(data)
	fields["ending"] = ending(timeoutError(err))
	return fields, nil
}

// next waits for a message.
func (l *link) next(timeout time.Duration) (received, error) {
	if l.sealer == nil {
		return received{}, errNoHandshake
	}
	if l.pending == nil {
		pending := make(chan received, 1)
		l.pending = pending
		go func() {
			code, data, _, err := l.rlpx.Read()
			pending <- received{code, data, err}
		}()
	}
	select {
	case r := <-l.pending:
		l.pending = nil
		return r, r.err
	case <-time.After(timeout):
		return received{}, errTimeout
	}
}

func (l *link) readMessage(timeout time.Duration) (object, error) {
	l.rmu.Lock()
	defer l.rmu.Unlock()
	got, err := l.next(timeout)
	if err != nil {
		return nil, err
	}
	return l.describe(got), nil
}

// describe tells what a message holds, and undoes its compression where there is any.
func (l *link) describe(got received) object {
	payload, plain := got.data, true
	var snappyError error
	if l.compressed() {
		if decoded, err := decompress(got.data); err == nil {
			payload, plain = decoded, false
		} else {
			snappyError = err
		}
	}
	fields := payloadFields(payload)
	fields["code"] = got.code
	fields["wire_size"] = len(got.data)
	fields["compressed"] = !plain
	if snappyError != nil {
		fields["snappy_error"] = snappyError.Error()
	}
	switch got.code {
	case 0:
		if hello, _, err := describeHello(payload); err == nil {
			fields["hello"] = hello
		} else {
			fields["hello_error"] = err.Error()
		}
	case 1:
		fields["reason"] = decodeDisconnect(payload)
		fields["wire_hex"] = hex.EncodeToString(got.data[:min(len(got.data), hexLimit)])
	}
	return fields
}

// drain reads until the connection ends or the timeout passes.
func (l *link) drain(out *output, a drainArgs) (object, error) {
	l.rmu.Lock()
	defer l.rmu.Unlock()
	until := time.Now().Add(timeoutOf(a.TimeoutMS))
	codes := make(map[string]int)
	fields := object{"codes": codes, "messages": 0}
	for count := 1; ; count++ {
		got, err := l.next(time.Until(until))
		if errors.Is(err, errNoHandshake) {
			return nil, err
		}
		if err != nil {
			fields["ending"] = ending(err)
			fields["detail"] = err.Error()
			return fields, nil
		}
		fields["messages"] = count
		codes[strconv.FormatUint(got.code, 10)]++
		message := l.describe(got)
		if got.code == 1 {
			fields["reason"] = message["reason"]
		}
		if !a.Quiet {
			message["link"] = a.Link
			out.emit("message", message)
		}
		if a.Pong && got.code == 2 {
			payload, err := compress([]byte{0xc0}, "", l.compressed(), 0)
			if err != nil {
				return fields, err
			}
			if _, err := l.put(3, payload, nil); err != nil {
				fields["pong_error"] = err.Error()
			}
		}
	}
}
