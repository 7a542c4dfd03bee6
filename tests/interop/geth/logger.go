package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/log"
)

// dropLog keeps why sessions ended, as the server's main loop logs it, until the drop event asks.
type dropLog struct {
	mu   sync.Mutex
	byID map[string]drop
}

type drop struct {
	err       error
	requested bool
}

func newDropLog() *dropLog { return &dropLog{byID: make(map[string]drop)} }

func (d *dropLog) put(id string, err error, requested bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[id] = drop{err, requested}
}

func (d *dropLog) take(id string) (err error, requested, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	got, ok := d.byID[id]
	delete(d.byID, id)
	return got.err, got.requested, ok
}

// logHandler turns the records that p2p alone tells a log into events: failed handshakes,
// rejections, and the cause of a drop. All else from warnings up goes to standard error.
type logHandler struct {
	node  *node
	attrs []slog.Attr
}

func newLogger(n *node) log.Logger { return log.NewLogger(&logHandler{node: n}) }

// setupStage names the step of the set-up that a log record tells the end of.
var setupStage = map[string]string{
	"Failed RLPx handshake":           "rlpx",
	"Rejected peer":                   "rejected",
	"Failed p2p handshake":            "hello",
	"Wrong devp2p handshake identity": "identity",
	"Setting up connection failed":    "dial",
	"Rejected inbound connection":     "accept",
	"Dial error":                      "dial",
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) WithGroup(string) slog.Handler { return h }

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.node, append(slices.Clone(h.attrs), attrs...)}
}

func (h *logHandler) Handle(_ context.Context, record slog.Record) error {
	stage := setupStage[record.Message]
	if stage == "" && record.Message != "Removing p2p peer" && record.Level < slog.LevelWarn {
		return nil
	}
	values := make(map[string]any)
	for _, a := range h.attrs {
		values[a.Key] = a.Value.Any()
	}
	record.Attrs(func(a slog.Attr) bool {
		values[a.Key] = a.Value.Any()
		return true
	})
	err, _ := values["err"].(error)
	switch {
	case record.Message == "Removing p2p peer":
		requested, _ := values["req"].(bool)
		h.node.drops.put(fmt.Sprint(values["id"]), err, requested)
	case stage != "":
		fields := object{"stage": stage}
		for _, key := range []string{"id", "addr", "conn", "phsid", "err"} {
			if v, ok := values[key]; ok {
				fields[key] = fmt.Sprint(v)
			}
		}
		if err != nil {
			fields["error"] = err.Error()
			delete(fields, "err")
		}
		if id, ok := fields["id"]; ok {
			fields["peer"] = id
			delete(fields, "id")
		}
		if reason, ok := discReason(err); ok {
			fields["reason"] = reason
		}
		h.node.out.emit("setup_failed", fields)
	default:
		fmt.Fprintln(os.Stderr, record.Level, record.Message, values)
	}
	return nil
}
