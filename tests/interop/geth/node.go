package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
)

// peerConfig is the configuration of the peer mode. Every field has a default.
type peerConfig struct {
	// Key is the private key in hex. Default: a fresh one.
	Key string `json:"key"`
	// Listen is an address, or "none". Default: 127.0.0.1:0.
	Listen string `json:"listen"`
	Name   string `json:"name"`
	// MaxPeers is the limit of sessions. Default: 50.
	MaxPeers int `json:"max_peers"`
	// Dialer runs go-ethereum's dial scheduler, which keeps a third of max_peers for itself;
	// add_peer needs it, dial does not.
	Dialer    bool             `json:"dialer"`
	Trusted   []string         `json:"trusted"`
	Protocols []protocolConfig `json:"protocols"`
}

// node is a p2p.Server and what its sessions do.
type node struct {
	config peerConfig
	out    *output
	server *p2p.Server
	drops  *dropLog

	mu    sync.Mutex
	lanes []*lane
	stop  chan struct{}
	// live counts sessions that were reported added and not yet dropped.
	live atomic.Int64
}

var behaviours = []string{"echo", "bench", "chat", "sink", "count", "return", "fail", "failreason"}

// builtin is what a peer offers when no protocols are configured.
var builtin = []protocolConfig{
	{Name: "bench", Version: 1, Length: 8},
	{Name: "chat", Version: 1, Length: 1},
	{Name: "echo", Version: 1, Length: 2},
}

func (c *peerConfig) defaults() error {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Name == "" {
		c.Name = "geth-interop"
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = 50
	}
	if c.Protocols == nil {
		c.Protocols = append(c.Protocols, builtin...)
	}
	for i := range c.Protocols {
		p := &c.Protocols[i]
		if p.Behaviour == "" {
			p.Behaviour = "sink"
			for _, b := range behaviours {
				if p.Name == b {
					p.Behaviour = b
				}
			}
		}
		known := false
		for _, b := range behaviours {
			known = known || p.Behaviour == b
		}
		if !known {
			return fmt.Errorf("behaviour %q is none of %s", p.Behaviour, strings.Join(behaviours, ", "))
		}
		if p.Start != nil {
			if err := p.Start.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// startNode starts the server and reports it ready.
func startNode(config peerConfig, out *output) (*node, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	key, err := parseKey(config.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	n := &node{config: config, out: out, drops: newDropLog(), stop: make(chan struct{})}
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey:  key,
		MaxPeers:    config.MaxPeers,
		Name:        config.Name,
		NoDiscovery: true,
		NoDial:      !config.Dialer,
		Logger:      newLogger(n),
	}}
	if config.Listen != "none" {
		server.ListenAddr = config.Listen
	}
	for _, text := range config.Trusted {
		trusted, err := enode.ParseV4(text)
		if err != nil {
			return nil, fmt.Errorf("trusted: %w", err)
		}
		server.TrustedNodes = append(server.TrustedNodes, trusted)
	}
	for _, protocol := range config.Protocols {
		server.Protocols = append(server.Protocols, n.protocol(protocol))
	}
	n.server = server
	// Unbuffered, so that an event is handled before the next one of the same session is sent.
	events := make(chan *p2p.PeerEvent)
	sub := server.SubscribeEvents(events)
	if err := server.Start(); err != nil {
		return nil, err
	}
	go func() {
		for {
			select {
			case ev := <-events:
				n.onPeerEvent(ev)
			case <-sub.Err():
				return
			}
		}
	}()
	info := server.NodeInfo()
	ready := object{
		"mode": "peer", "enode": info.Enode, "id": info.ID, "pubkey": publicKeyHex(&key.PublicKey),
		"name": config.Name, "listen": nil,
	}
	if config.Listen != "none" {
		ready["listen"] = server.ListenAddr
	}
	out.emit("ready", ready)
	return n, nil
}

// protocol is one configured subprotocol as p2p wants it.
func (n *node) protocol(config protocolConfig) p2p.Protocol {
	return p2p.Protocol{
		Name:    config.Name,
		Version: config.Version,
		Length:  config.Length,
		Run: func(peer *p2p.Peer, rw p2p.MsgReadWriter) error {
			l := &lane{
				node: n, config: config, peer: peer, rw: rw,
				finish:   make(chan error),
				answers:  make(chan uint64, 4),
				received: newTally(), sent: newTally(),
			}
			l.offset, l.closed = internals(rw)
			l.gate.set(!config.Paused)
			return l.run()
		},
		NodeInfo: func() any { return object{"behaviour": config.Behaviour, "length": config.Length} },
		PeerInfo: func(id enode.ID) any {
			if l, err := n.findLane(id.String(), config.Name); err == nil {
				return object{"version": l.config.Version, "received": l.receivedCount()}
			}
			return nil
		},
		Attributes: []enr.Entry{},
	}
}

func (n *node) onPeerEvent(ev *p2p.PeerEvent) {
	switch ev.Type {
	case p2p.PeerEventTypeAdd:
		n.live.Add(1)
		fields := object{"peer": ev.Peer.String(), "remote": ev.RemoteAddress, "local": ev.LocalAddress}
		// A session that ended at once is no longer listed, and then has no details.
		for _, peer := range n.server.Peers() {
			if peer.ID() == ev.Peer {
				info := peer.Info()
				fields["pubkey"] = publicKeyHex(peer.Node().Pubkey())
				fields["enode"] = info.Enode
				fields["name"] = info.Name
				fields["caps"] = info.Caps
				fields["inbound"] = info.Network.Inbound
				fields["trusted"] = info.Network.Trusted
			}
		}
		n.out.emit("peer_added", fields)
	case p2p.PeerEventTypeDrop:
		// One turn of the server's main loop: then it has logged why.
		n.server.PeerCount()
		fields := object{"peer": ev.Peer.String(), "error": ev.Error}
		if err, requested, ok := n.drops.take(ev.Peer.String()); ok {
			fields["requested"] = requested
			if reason, ok := discReason(err); ok {
				fields["reason"] = reason
			}
		} else if reason, ok := reasonNamed(ev.Error); ok {
			// A server that stops does not log it.
			fields["reason"] = reason
		}
		n.out.emit("peer_dropped", fields)
		n.live.Add(-1)
	}
}

func (n *node) addLane(l *lane) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lanes = append(n.lanes, l)
}

func (n *node) removeLane(l *lane) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.lanes {
		if n.lanes[i] == l {
			n.lanes = append(n.lanes[:i], n.lanes[i+1:]...)
			return
		}
	}
}

// patience is how long a command waits for a session that is being set up.
const patience = 5 * time.Second

// waitFor repeats a search until it finds something, is told why it never will, or patience ends.
func waitFor[T any](find func() (*T, error)) (*T, error) {
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		found, err := find()
		if err == nil || !errors.Is(err, errNone) || time.Now().After(until) {
			return found, err
		}
	}
}

var errNone = errors.New("nothing fits")

// lane finds the one running subprotocol that the selectors fit, and waits for it. A peer is
// given by the beginning of its id or public key, a protocol by name or name/version; empty fits all.
func (n *node) lane(peer, protocol string) (*lane, error) {
	return waitFor(func() (*lane, error) { return n.findLane(peer, protocol) })
}

func (n *node) findLane(peer, protocol string) (*lane, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found *lane
	for _, l := range n.lanes {
		if !fits(l.peer, peer) || (protocol != "" && protocol != l.config.Name && protocol != l.capability()) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one subprotocol fits peer %q protocol %q", peer, protocol)
		}
		found = l
	}
	if found == nil {
		return nil, fmt.Errorf("%w: peer %q protocol %q", errNone, peer, protocol)
	}
	return found, nil
}

// peer finds the one connected peer that the selector fits, and waits for it.
func (n *node) peer(selector string) (*p2p.Peer, error) {
	return waitFor(func() (*p2p.Peer, error) { return n.findPeer(selector) })
}

func (n *node) findPeer(selector string) (*p2p.Peer, error) {
	var found *p2p.Peer
	for _, peer := range n.server.Peers() {
		if fits(peer, selector) {
			if found != nil {
				return nil, fmt.Errorf("more than one peer fits %q", selector)
			}
			found = peer
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: peer %q", errNone, selector)
	}
	return found, nil
}

func fits(peer *p2p.Peer, selector string) bool {
	return strings.HasPrefix(peer.ID().String(), selector) ||
		strings.HasPrefix(publicKeyHex(peer.Node().Pubkey()), selector)
}

func (n *node) stopSignal() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stop
}

// dial connects to a node once and returns how the set-up ended. It goes past the dial
// scheduler, which would not dial the same node again within 35 s.
func (n *node) dial(url string) (object, error) {
	dest, fd, err := connect(url)
	if err != nil {
		return nil, err
	}
	return object{"peer": dest.ID().String(), "local": fd.LocalAddr().String()}, setUp(n.server, fd, dest)
}

// connect opens a connection to the node of an enode URL.
func connect(url string) (*enode.Node, net.Conn, error) {
	dest, err := enode.ParseV4(url)
	if err != nil {
		return nil, nil, err
	}
	addr, ok := dest.TCPEndpoint()
	if !ok {
		return nil, nil, errors.New("the enode has no TCP port")
	}
	fd, err := net.Dial("tcp", addr.String())
	return dest, fd, err
}

// setUp makes a session of a connection that was dialled.
func setUp(server *p2p.Server, fd net.Conn, dest *enode.Node) error {
	const staticDialed = 2
	return server.SetupConn(fd, staticDialed, dest)
}

// runPeer is the peer mode.
func runPeer(config []byte, in io.Reader, out *output) error {
	var c peerConfig
	if err := strict(config, &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	n, err := startNode(c, out)
	if err != nil {
		return err
	}
	err = console(in, out, n.actions())
	n.close()
	out.emit("exit", nil)
	return err
}

// close stops all streams, then the server, which tells its peers ClientQuitting, and
// waits until each drop is reported.
func (n *node) close() {
	n.stopStreams()
	n.server.Stop()
	for until := time.Now().Add(patience); n.live.Load() > 0 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
}

func (n *node) stopStreams() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.stop)
	n.stop = make(chan struct{})
}
