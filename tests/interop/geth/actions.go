package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// Arguments of the commands of the peer mode.
type (
	enodeArgs struct {
		base
		Enode string `json:"enode"`
	}
	peerArgs struct {
		base
		Peer string `json:"peer"`
	}
	laneArgs struct {
		base
		Peer     string `json:"peer"`
		Protocol string `json:"protocol"`
	}
	disconnectArgs struct {
		base
		Peer   string `json:"peer"`
		Reason uint8  `json:"reason"`
	}
	sendArgs struct {
		base
		payloadSpec
		Peer     string `json:"peer"`
		Protocol string `json:"protocol"`
		Code     uint64 `json:"code"`
	}
	floodArgs struct {
		base
		Peer    string       `json:"peer"`
		Streams []streamSpec `json:"streams"`
	}
	waitArgs struct {
		base
		Peer      string `json:"peer"`
		Protocol  string `json:"protocol"`
		Count     uint64 `json:"count"`
		TimeoutMS int    `json:"timeout_ms"`
	}
	finishArgs struct {
		base
		Peer     string `json:"peer"`
		Protocol string `json:"protocol"`
		How      string `json:"how"`
		Reason   uint8  `json:"reason"`
		Text     string `json:"text"`
	}
	chatArgs struct {
		base
		Text string `json:"text"`
	}
)

func (n *node) actions() map[string]action {
	onNode := func(do func(*enode.Node)) action {
		return command(func(a enodeArgs) (object, error) {
			dest, err := enode.ParseV4(a.Enode)
			if err != nil {
				return nil, err
			}
			do(dest)
			return object{"peer": dest.ID().String()}, nil
		})
	}
	onLane := func(do func(*lane)) action {
		return command(func(a laneArgs) (object, error) {
			l, err := n.lane(a.Peer, a.Protocol)
			if err != nil {
				return nil, err
			}
			do(l)
			return l.stats(), nil
		})
	}
	return map[string]action{
		"dial":           command(func(a enodeArgs) (object, error) { return n.dial(a.Enode) }),
		"add_peer":       onNode(func(dest *enode.Node) { n.server.AddPeer(dest) }),
		"remove_peer":    onNode(func(dest *enode.Node) { n.server.RemovePeer(dest) }),
		"add_trusted":    onNode(func(dest *enode.Node) { n.server.AddTrustedPeer(dest) }),
		"remove_trusted": onNode(func(dest *enode.Node) { n.server.RemoveTrustedPeer(dest) }),
		"disconnect":     command(n.disconnect),
		"peers": command(func(base) (object, error) {
			return object{"peers": n.server.PeersInfo()}, nil
		}),
		"node":  command(func(base) (object, error) { return object{"node": n.server.NodeInfo()}, nil }),
		"send":  command(n.send),
		"flood": command(func(a floodArgs) (object, error) { return n.flood(a.Peer, a.Streams) }),
		"stop": command(func(base) (object, error) {
			n.stopStreams()
			return nil, nil
		}),
		"pause":  onLane(func(l *lane) { l.gate.set(false) }),
		"resume": onLane(func(l *lane) { l.gate.set(true) }),
		"stats":  command(n.stats),
		"wait":   command(n.wait),
		"finish": command(func(a finishArgs) (object, error) {
			l, err := n.lane(a.Peer, a.Protocol)
			if err != nil {
				return nil, err
			}
			return nil, l.finishWith(a.How, a.Reason, a.Text)
		}),
		"chat":             command(n.chat),
		"bench":            command(n.bench),
		"bench_handshakes": command(benchHandshakes),
	}
}

func (n *node) disconnect(a disconnectArgs) (object, error) {
	peer, err := n.peer(a.Peer)
	if err != nil {
		return nil, err
	}
	peer.Disconnect(p2p.DiscReason(a.Reason))
	return object{"peer": peer.ID().String()}, nil
}

func (n *node) send(a sendArgs) (object, error) {
	l, err := n.lane(a.Peer, a.Protocol)
	if err != nil {
		return nil, err
	}
	payload, err := a.payloadSpec.bytes()
	if err != nil {
		return nil, err
	}
	fields := object{"size": len(payload), "fnv": checksum(payload), "code": a.Code, "protocol": l.capability()}
	return fields, l.send(a.Code, payload)
}

// wait waits until a subprotocol has received a number of messages in all.
func (n *node) wait(a waitArgs) (object, error) {
	l, err := n.lane(a.Peer, a.Protocol)
	if err != nil {
		return nil, err
	}
	timeout := time.After(timeoutOf(a.TimeoutMS))
	for l.receivedCount() < a.Count {
		select {
		case <-l.closed:
			if l.receivedCount() < a.Count {
				return l.stats(), errors.New("the session closed")
			}
		case <-timeout:
			return l.stats(), errors.New("timeout")
		case <-time.After(time.Millisecond):
		}
	}
	return l.stats(), nil
}

// timeoutOf is a command's timeout; default 30 s.
func timeoutOf(ms int) time.Duration {
	if ms == 0 {
		return 30 * time.Second
	}
	return time.Duration(ms) * time.Millisecond
}

func (n *node) chat(a chatArgs) (object, error) {
	n.mu.Lock()
	var lanes []*lane
	for _, l := range n.lanes {
		if l.config.Behaviour == "chat" {
			lanes = append(lanes, l)
		}
	}
	n.mu.Unlock()
	var errs []error
	for _, l := range lanes {
		errs = append(errs, l.send(0, []byte(a.Text)))
	}
	return object{"peers": len(lanes)}, errors.Join(errs...)
}

// stats tells what the running subprotocols of the peers that fit have moved, and what
// this process uses.
func (n *node) stats(a peerArgs) (object, error) {
	n.mu.Lock()
	lanes := append([]*lane(nil), n.lanes...)
	n.mu.Unlock()
	list := []object{}
	for _, l := range lanes {
		if fits(l.peer, a.Peer) {
			fields := l.stats()
			fields["peer"] = l.peer.ID().String()
			fields["protocol"] = l.capability()
			list = append(list, fields)
		}
	}
	fields := processStats()
	fields["protocols"] = list
	return fields, nil
}

// processStats reports resident memory, goroutines and processor time of this process.
func processStats() object {
	fields := object{"goroutines": runtime.NumGoroutine()}
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		fields["user_seconds"] = time.Duration(usage.Utime.Nano()).Seconds()
		fields["system_seconds"] = time.Duration(usage.Stime.Nano()).Seconds()
	}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if columns := strings.Fields(string(text)); len(columns) > 1 {
			if pages, err := strconv.Atoi(columns[1]); err == nil {
				fields["rss_bytes"] = pages * os.Getpagesize()
			}
		}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fields["heap_bytes"] = mem.HeapAlloc
	return fields
}

var errNoAnswer = errors.New("no answer: the session closed")
