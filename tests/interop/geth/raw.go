package main

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// rawConfig is the configuration of the raw mode.
type rawConfig struct {
	// Key is the private key in hex. Default: a fresh one.
	Key string `json:"key"`
	// Listen is an address, or "none". Default: 127.0.0.1:0.
	Listen string `json:"listen"`
}

// raw does on its links what each command says, and nothing else.
type raw struct {
	key      *ecdsa.PrivateKey
	listener *net.TCPListener
	out      *output

	mu    sync.Mutex
	links map[string]*link
}

// Arguments of the commands of the raw mode. All name a link; the default name is empty.
type (
	linkArgs struct {
		base
		Link string `json:"link"`
		// TimeoutMS bounds what the command waits for. Default: 30 s.
		TimeoutMS int `json:"timeout_ms"`
	}
	connectArgs struct {
		linkArgs
		Enode  string `json:"enode"`
		Addr   string `json:"addr"`
		Pubkey string `json:"pubkey"`
	}
	handshakeStepArgs struct {
		linkArgs
		Alter *alteration `json:"alter"`
	}
	packetArgs struct {
		linkArgs
		packetSpec
		Alter *alteration `json:"alter"`
	}
	helloArgs struct {
		linkArgs
		helloSpec
		// Code of the message. Default 0.
		Code  uint64      `json:"code"`
		Alter *alteration `json:"alter"`
	}
	snappyArgs struct {
		linkArgs
		On bool `json:"on"`
	}
	messageArgs struct {
		linkArgs
		payloadSpec
		Code uint64 `json:"code"`
		// Snappy: see compress.
		Snappy string `json:"snappy"`
		// Stated is the length that lie states.
		Stated uint64      `json:"stated"`
		Alter  *alteration `json:"alter"`
		// Count repeats the message; used by flood only.
		Count int `json:"count"`
	}
	frameArgs struct {
		linkArgs
		Body payloadSpec `json:"body"`
		// Stated is the size that the header states. Default: that of the body.
		Stated *int `json:"stated"`
		// HeaderData is the header after the size, in hex. Default: c28080.
		HeaderData *string     `json:"header_data"`
		Alter      *alteration `json:"alter"`
	}
	tcpArgs struct {
		linkArgs
		payloadSpec
		Alter *alteration `json:"alter"`
	}
	tcpReadArgs struct {
		linkArgs
		// Max is the number of bytes after which reading stops; 0 reads to the end.
		Max int `json:"max"`
	}
	drainArgs struct {
		linkArgs
		Quiet bool `json:"quiet"`
		// Pong answers each Ping.
		Pong bool `json:"pong"`
	}
	closeArgs struct {
		linkArgs
		How string `json:"how"`
	}
)

// runRaw is the raw mode.
func runRaw(config []byte, in io.Reader, out *output) error {
	var c rawConfig
	if err := strict(config, &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	r := &raw{key: key, out: out, links: make(map[string]*link)}
	ready := object{"mode": "raw", "pubkey": publicKeyHex(&key.PublicKey), "listen": nil, "enode": nil,
		"id": enode.PubkeyToIDV4(&key.PublicKey).String()}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Listen != "none" {
		listener, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return err
		}
		r.listener = listener.(*net.TCPListener)
		defer listener.Close()
		addr := listener.Addr().(*net.TCPAddr)
		ready["listen"] = addr.String()
		ready["enode"] = enode.NewV4(&key.PublicKey, addr.IP, addr.Port, 0).URLv4()
	}
	out.emit("ready", ready)
	err = console(in, out, r.actions())
	for _, l := range r.links {
		l.conn.Close()
	}
	out.emit("exit", nil)
	return err
}

func (r *raw) actions() map[string]action {
	return map[string]action{
		"connect": command(r.connect),
		"accept":  command(r.accept),
		"handshake": onLink(r, func(a handshakeStepArgs, l *link) (object, error) {
			return l.handshake(r.key, a.Alter, timeoutOf(a.TimeoutMS))
		}),
		"auth": onLink(r, func(a packetArgs, l *link) (object, error) { return l.auth(r.key, a) }),
		"ack":  onLink(r, func(a packetArgs, l *link) (object, error) { return l.ack(r.key, a) }),
		"hello": onLink(r, func(a helloArgs, l *link) (object, error) {
			return l.hello(r.identity(), a)
		}),
		"session": onLink(r, func(a helloArgs, l *link) (object, error) { return r.session(l, a) }),
		"snappy": onLink(r, func(a snappyArgs, l *link) (object, error) {
			l.setSnappy(a.On)
			return nil, nil
		}),
		"send":  onLink(r, func(a messageArgs, l *link) (object, error) { return l.send(a) }),
		"flood": onLink(r, func(a messageArgs, l *link) (object, error) { return l.flood(a) }),
		"frame": onLink(r, func(a frameArgs, l *link) (object, error) { return l.frame(a) }),
		"tcp": onLink(r, func(a tcpArgs, l *link) (object, error) {
			payload, err := a.payloadSpec.bytes()
			if err != nil {
				return nil, err
			}
			return l.write(a.Alter, func() error {
				_, err := l.conn.Write(payload)
				return err
			})
		}),
		"tcp_read": onLink(r, func(a tcpReadArgs, l *link) (object, error) { return l.tcpRead(a) }),
		"read": onLink(r, func(a linkArgs, l *link) (object, error) {
			return l.readMessage(timeoutOf(a.TimeoutMS))
		}),
		"read_until_close": onLink(r, func(a drainArgs, l *link) (object, error) { return l.drain(r.out, a) }),
		"close": onLink(r, func(a closeArgs, l *link) (object, error) {
			return nil, l.conn.shut(a.How)
		}),
		"stats": command(func(linkArgs) (object, error) { return processStats(), nil }),
	}
}

// named is any set of arguments that name a link.
type named interface{ linkName() string }

func (a linkArgs) linkName() string { return a.Link }

// onLink makes an action that needs a connected link.
func onLink[T named](r *raw, run func(T, *link) (object, error)) action {
	return command(func(args T) (object, error) {
		r.mu.Lock()
		l := r.links[args.linkName()]
		r.mu.Unlock()
		if l == nil {
			return nil, errors.New("no connection: connect or accept first")
		}
		fields, err := run(args, l)
		if err != nil {
			if fields == nil {
				fields = object{}
			}
			if _, ok := fields["ending"]; !ok {
				fields["ending"] = ending(err)
			}
		}
		return fields, err
	})
}

// identity is our public key as Hello carries it.
func (r *raw) identity() []byte { return crypto.FromECDSAPub(&r.key.PublicKey)[1:] }

// adopt makes fd the connection of a link, and closes the one before.
func (r *raw) adopt(name string, fd net.Conn, remote *ecdsa.PublicKey) object {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.links[name]; old != nil {
		old.conn.Close()
	}
	r.links[name] = newLink(fd, remote)
	return object{"local": fd.LocalAddr().String(), "remote": fd.RemoteAddr().String()}
}

func (r *raw) connect(a connectArgs) (object, error) {
	if a.Enode != "" {
		dest, err := enode.ParseV4(a.Enode)
		if err != nil {
			return nil, err
		}
		addr, ok := dest.TCPEndpoint()
		if !ok {
			return nil, errors.New("the enode has no TCP port")
		}
		a.Addr = addr.String()
		if a.Pubkey == "" {
			a.Pubkey = publicKeyHex(dest.Pubkey())
		}
	}
	remote, err := parsePublicKey(a.Pubkey)
	if err != nil {
		return nil, fmt.Errorf("pubkey: %w", err)
	}
	fd, err := net.DialTimeout("tcp", a.Addr, timeoutOf(a.TimeoutMS))
	if err != nil {
		return nil, err
	}
	return r.adopt(a.Link, fd, remote), nil
}

func (r *raw) accept(a linkArgs) (object, error) {
	if r.listener == nil {
		return nil, errors.New("not listening")
	}
	if err := r.listener.SetDeadline(time.Now().Add(timeoutOf(a.TimeoutMS))); err != nil {
		return nil, err
	}
	fd, err := r.listener.Accept()
	if err != nil {
		return nil, err
	}
	return r.adopt(a.Link, fd, nil), nil
}

// session goes all the way to a session as a polite peer would: handshake, Hello both
// ways, and Snappy when both versions have it.
func (r *raw) session(l *link, a helloArgs) (object, error) {
	timeout := timeoutOf(a.TimeoutMS)
	fields, err := l.handshake(r.key, nil, timeout)
	if err != nil {
		return fields, err
	}
	if _, err := l.hello(r.identity(), a); err != nil {
		return fields, err
	}
	got, err := l.readMessage(timeout)
	if err != nil {
		return got, err
	}
	hello, ok := got["hello"].(object)
	if !ok {
		return got, errors.New("the remote sent no Hello")
	}
	on := hello["version"].(uint64) >= 5 && (a.Version == nil || *a.Version >= 5)
	l.setSnappy(on)
	fields["hello"], fields["snappy"] = hello, on
	return fields, nil
}

func headerData(text *string) ([]byte, error) {
	if text == nil {
		return []byte{0xc2, 0x80, 0x80}, nil
	}
	return hex.DecodeString(*text)
}
