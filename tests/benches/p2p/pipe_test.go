// Benchmarks of go-ethereum's peer over its message pipe in memory, without cryptography. They stand in its package by an
// overlay, since a peer without a transport is made nowhere else.
package p2p

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
	"net"
	"testing"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// pipeTransport is a transport of which only the messages are used.
type pipeTransport struct{ *MsgPipeRW }

func (pipeTransport) doEncHandshake(*ecdsa.PrivateKey) (*ecdsa.PublicKey, error) { return nil, nil }

func (pipeTransport) doProtoHandshake(*protoHandshake) (*protoHandshake, error) { return nil, nil }

func (t pipeTransport) close(error) { t.MsgPipeRW.Close() }

const lanes = 4

// withPeer runs a peer with four subprotocols, of which the last does the work, and gives it the other end of the pipe.
func withPeer(b *testing.B, work func(MsgReadWriter) error, other func(*MsgPipeRW)) {
	ours, theirs := MsgPipe()
	var protocols []Protocol
	var caps []Cap
	done := make(chan error, 1)
	for i := range lanes {
		name := fmt.Sprintf("bench%d", i)
		caps = append(caps, Cap{name, 1})
		protocols = append(protocols, Protocol{Name: name, Version: 1, Length: 8, Run: func(p *Peer, rw MsgReadWriter) error {
			if i == lanes-1 {
				done <- work(rw)
			}
			<-p.closed
			return nil
		}})
	}
	fd, otherFd := net.Pipe()
	defer fd.Close()
	defer otherFd.Close()
	node := enode.SignNull(new(enr.Record), enode.ID{1})
	c := &conn{fd: fd, transport: pipeTransport{ours}, node: node, caps: caps, name: "bench"}
	peer := newPeer(log.NewLogger(log.DiscardHandler()), c, protocols)
	ended := make(chan struct{})
	go func() {
		peer.run()
		close(ended)
	}()
	other(theirs)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	theirs.Close()
	<-ended
}

const firstCode = baseProtocolLength + 8*(lanes-1)

func message(code uint64, payload []byte) Msg {
	return Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}
}

// A message is read from the pipe, routed, and read by its subprotocol.
func BenchmarkRoute(b *testing.B) {
	each(b, func(b *testing.B, payload []byte) {
		withPeer(b, func(rw MsgReadWriter) error {
			for range b.N {
				msg, err := rw.ReadMsg()
				if err != nil {
					return err
				}
				if err := msg.Discard(); err != nil {
					return err
				}
			}
			return nil
		}, func(other *MsgPipeRW) {
			b.ResetTimer()
			for range b.N {
				if err := other.WriteMsg(message(firstCode, payload)); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// A message is written by its subprotocol through the token, and taken from the pipe.
func BenchmarkToken(b *testing.B) {
	each(b, func(b *testing.B, payload []byte) {
		withPeer(b, func(rw MsgReadWriter) error {
			for range b.N {
				if err := rw.WriteMsg(message(0, payload)); err != nil {
					return err
				}
			}
			return nil
		}, func(other *MsgPipeRW) {
			b.ResetTimer()
			for range b.N {
				msg, err := other.ReadMsg()
				if err == nil {
					err = msg.Discard()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// An empty message need not be waited for until it is consumed.
func each(b *testing.B, run func(*testing.B, []byte)) {
	for _, size := range []int{0, 100} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { run(b, make([]byte, size)) })
	}
}
