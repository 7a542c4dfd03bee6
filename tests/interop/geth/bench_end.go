package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
)

// endConfig is the configuration of the bench mode.
type endConfig struct {
	// Lanes is the number of subprotocols: bench/1, bench2/1, ... Default: 1.
	Lanes int `json:"lanes"`
	// Active subprotocols do the jobs of `run`; others serve.
	Active bool `json:"active"`
}

// endpoint is a p2p.Server whose subprotocols do nothing but what is measured.
type endpoint struct {
	server *p2p.Server
	lanes  []chan job
	ready  chan struct{}
	live   atomic.Int64
	stop   atomic.Bool
}

func laneName(i int) string {
	if i == 0 {
		return "bench"
	}
	return fmt.Sprintf("bench%d", i+1)
}

func startEndpoint(c endConfig) (*endpoint, error) {
	if c.Lanes == 0 {
		c.Lanes = 1
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	e := &endpoint{lanes: make([]chan job, c.Lanes), ready: make(chan struct{}, c.Lanes)}
	e.server = &p2p.Server{Config: p2p.Config{
		PrivateKey:  key,
		MaxPeers:    100_000,
		Name:        "geth-bench",
		NoDiscovery: true,
		NoDial:      true,
		ListenAddr:  "127.0.0.1:0",
		Logger:      log.NewLogger(log.DiscardHandler()),
	}}
	for i := range e.lanes {
		e.lanes[i] = make(chan job)
		e.server.Protocols = append(e.server.Protocols, p2p.Protocol{
			Name: laneName(i), Version: 1, Length: 8,
			Run: func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
				e.live.Add(1)
				defer e.live.Add(-1)
				if !c.Active {
					return serve(rw)
				}
				e.ready <- struct{}{}
				for j := range e.lanes[i] {
					fields, err := j.run(rw, &e.stop)
					j.done <- jobResult{fields, err}
					if err != nil {
						return err
					}
				}
				return nil
			},
		})
	}
	return e, e.server.Start()
}

type endDialArgs struct {
	base
	Enode string `json:"enode"`
}

// dial sets up the session and waits until all its subprotocols run.
func (e *endpoint) dial(a endDialArgs) (object, error) {
	dest, fd, err := connect(a.Enode)
	if err != nil {
		return nil, err
	}
	if err := setUp(e.server, fd, dest); err != nil {
		return nil, err
	}
	for range e.lanes {
		select {
		case <-e.ready:
		case <-time.After(10 * time.Second):
			return nil, errors.New("a subprotocol does not start")
		}
	}
	return nil, nil
}

type runArgs struct {
	base
	// Jobs all begin at once. Those that have no end of their own end with the last of the others.
	Jobs []jobArgs `json:"jobs"`
}

func (e *endpoint) run(a runArgs) (object, error) {
	jobs := make([]job, len(a.Jobs))
	for i, args := range a.Jobs {
		if args.Lane < 0 || args.Lane >= len(e.lanes) {
			return nil, fmt.Errorf("there is no lane %d", args.Lane)
		}
		j, err := newJob(args)
		if err != nil {
			return nil, err
		}
		jobs[i] = j
	}
	e.stop.Store(false)
	started := time.Now()
	for i, j := range jobs {
		select {
		case e.lanes[a.Jobs[i].Lane] <- j:
		case <-time.After(10 * time.Second):
			return nil, errors.New("the session has ended")
		}
	}
	results := make([]object, len(jobs))
	for _, last := range []bool{false, true} {
		for i, j := range jobs {
			if j.endless() != last {
				continue
			}
			result := <-j.done
			if result.err != nil {
				return nil, result.err
			}
			results[i] = result.fields
		}
		e.stop.Store(true)
	}
	return object{"seconds": time.Since(started).Seconds(), "results": results}, nil
}

// settle gives memory that is not in use back to the system.
func settle(base) (object, error) {
	runtime.GC()
	debug.FreeOSMemory()
	return nil, nil
}

// runEndpoint is the bench mode.
func runEndpoint(config []byte, in io.Reader, out *output) error {
	var c endConfig
	if err := strict(config, &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	e, err := startEndpoint(c)
	if err != nil {
		return err
	}
	out.emit("ready", object{
		"mode": "bench", "enode": e.server.NodeInfo().Enode, "pid": os.Getpid(),
		"go": runtime.Version(), "version": moduleVersion("github.com/ethereum/go-ethereum"),
	})
	err = console(in, out, map[string]action{
		"dial":       command(e.dial),
		"run":        command(e.run),
		"settle":     command(settle),
		"handshakes": command(benchHandshakes),
		"limits":     command(limits),
		"sessions": command(func(base) (object, error) {
			return object{"live": e.live.Load() / int64(len(e.lanes))}, nil
		}),
	})
	e.server.Stop()
	out.emit("exit", nil)
	return err
}

// moduleVersion is that of a module in this program.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return module.Version
			}
		}
	}
	return ""
}

// limits measures what bounds any implementation on this machine, as go-ethereum has it.
func limits(base) (object, error) {
	block := make([]byte, 1<<20)
	hasher := crypto.NewKeccakState()
	perBlock := fastest(func() { hasher.Write(block) })
	one, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	scalar := one.D.Bytes()
	multiply := fastest(func() { crypto.S256().ScalarMult(one.X, one.Y, scalar) })
	digest := crypto.Keccak256([]byte("a message"))
	signature, err := crypto.Sign(digest, one)
	if err != nil {
		return nil, err
	}
	recover := fastest(func() { crypto.Ecrecover(digest, signature) })
	return object{
		"keccak_bytes_per_second": float64(len(block)) / perBlock.Seconds(),
		"multiply_us":             float64(multiply.Nanoseconds()) / 1000,
		"recover_us":              float64(recover.Nanoseconds()) / 1000,
	}, nil
}

// fastest is the least time that one call takes, of some hundred.
func fastest(call func()) time.Duration {
	least := time.Hour
	for range 200 {
		started := time.Now()
		call()
		least = min(least, time.Since(started))
	}
	return least
}
