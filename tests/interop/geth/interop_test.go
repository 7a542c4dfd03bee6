package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"
)

// driver runs one mode in this process, as a test program outside would.
type driver struct {
	t      *testing.T
	in     *io.PipeWriter
	events chan map[string]any
	ready  map[string]any
	kept   []map[string]any
}

func start(t *testing.T, run func([]byte, io.Reader, *output) error, config string) *driver {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	d := &driver{t: t, in: inW, events: make(chan map[string]any, 4096)}
	ended := make(chan error, 1)
	go func() {
		ended <- run([]byte(config), inR, newOutput(outW))
		outW.Close()
	}()
	go func() {
		lines := bufio.NewScanner(outR)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var event map[string]any
			decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			decoder.UseNumber()
			if err := decoder.Decode(&event); err != nil {
				event = map[string]any{"event": "unreadable", "line": lines.Text()}
			}
			d.events <- event
		}
		close(d.events)
	}()
	t.Cleanup(func() {
		inW.Close()
		for range d.events {
		}
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	d.ready = d.await("ready")
	return d
}

// await takes the next event of a kind and keeps those before it for later.
func (d *driver) await(kind string) map[string]any {
	d.t.Helper()
	for i, event := range d.kept {
		if event["event"] == kind {
			d.kept = append(d.kept[:i], d.kept[i+1:]...)
			return event
		}
	}
	timeout := time.After(20 * time.Second)
	for {
		select {
		case event, ok := <-d.events:
			if !ok {
				d.t.Fatalf("ended before %s", kind)
			}
			if event["event"] == kind {
				return event
			}
			d.kept = append(d.kept, event)
		case <-timeout:
			d.t.Fatalf("no %s, only %v", kind, d.kept)
		}
	}
}

// try runs a command to its end.
func (d *driver) try(format string, args ...any) map[string]any {
	d.t.Helper()
	d.begin(format, args...)
	return d.await("done")
}

func (d *driver) begin(format string, args ...any) {
	fmt.Fprintf(d.in, format+"\n", args...)
}

// do runs a command that must succeed.
func (d *driver) do(format string, args ...any) map[string]any {
	d.t.Helper()
	done := d.try(format, args...)
	if done["ok"] != true {
		d.t.Fatalf("%s: %v", fmt.Sprintf(format, args...), done)
	}
	return done
}

func want(t *testing.T, event map[string]any, fields map[string]any) {
	t.Helper()
	for key, value := range fields {
		if fmt.Sprint(event[key]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, not %v, in %v", key, event[key], value, event)
		}
	}
}

func TestPayloads(t *testing.T) {
	random := make([]byte, 20)
	fillRandom(random, 1)
	if got := fmt.Sprintf("%x", random); got != "1ddd6c894bcee4471d6579e0a8a6cfab571f73eb" {
		t.Errorf("random is %s", got)
	}
	if got := checksum([]byte("foobar")); got != "85944171f73967e8" {
		t.Errorf("FNV-1a of foobar is %s", got)
	}
	numbered := make([]byte, 12)
	if err := fill(numbered, "numbered", 0, 258); err != nil || fmt.Sprintf("%x", numbered[:8]) != "0000000000000102" {
		t.Errorf("numbered is %x, %v", numbered, err)
	}
}

const four = `{"protocols":[{"name":"d","version":1,"length":3,"behaviour":"sink","quiet":true},
{"name":"a","version":1,"length":2,"behaviour":"echo"},{"name":"a","version":2,"length":5,"behaviour":"echo"},
{"name":"bench","version":1,"length":8},{"name":"c","version":1,"length":1,"behaviour":"chat"}]}`

func TestPeerWithPeer(t *testing.T) {
	a, b := start(t, runPeer, four), start(t, runPeer, four)
	a.do(`{"cmd":"dial","enode":%q}`, b.ready["enode"])
	offsets := map[any]any{}
	for range 4 {
		event := b.await("protocol_started")
		offsets[event["protocol"]] = event["offset"]
	}
	want(t, map[string]any{"offsets": offsets},
		map[string]any{"offsets": map[string]int{"a/2": 16, "bench/1": 21, "c/1": 29, "d/1": 30}})

	done := a.do(`{"cmd":"send","protocol":"a","size":16777214,"tag":7}`)
	want(t, done, map[string]any{"tag": 7, "size": 16777214})
	want(t, a.await("message"), map[string]any{"code": 1, "size": 16777214, "fnv": done["fnv"], "seq": 0})

	done = a.do(`{"cmd":"flood","streams":[{"protocol":"d","code":2,"count":500,"max_size":3000,"seed":9},{"protocol":"c","count":3,"size":9}]}`)
	sent := done["streams"].([]any)[0].(map[string]any)
	got := b.do(`{"cmd":"wait","protocol":"d","count":500}`)["received"].(map[string]any)
	want(t, got, map[string]any{"count": 500, "misordered": 0, "digest": sent["digest"], "bytes": sent["bytes"]})

	done = a.do(`{"cmd":"bench","size":100,"count":200,"rtt_count":20}`)
	want(t, done, map[string]any{"count": 200, "rtt_count": 20})
	want(t, b.do(`{"cmd":"stats"}`), map[string]any{"ok": true})
	want(t, a.do(`{"cmd":"peers"}`)["peers"].([]any)[0].(map[string]any), map[string]any{"name": "geth-interop"})
	want(t, a.do(`{"cmd":"node"}`)["node"].(map[string]any), map[string]any{"enode": a.ready["enode"]})
	a.do(`{"cmd":"bench_handshakes","count":5}`)

	a.do(`{"cmd":"disconnect","reason":4}`)
	want(t, b.await("peer_dropped"), map[string]any{"reason": 4, "requested": true})
	want(t, a.await("peer_dropped"), map[string]any{"reason": 4, "requested": false})
}

func TestEndings(t *testing.T) {
	for how, reason := range map[string]int{
		`"return"`: 8, `"error","text":"x"`: 16, `"reason","reason":11`: 11, `"invalid_code"`: 2, `"invalid_message"`: 2,
	} {
		a, b := start(t, runPeer, `{}`), start(t, runPeer, `{}`)
		a.do(`{"cmd":"dial","enode":%q}`, b.ready["enode"])
		for range 3 {
			a.await("protocol_started")
		}
		// A subprotocol that does not read holds nothing up when the session ends.
		a.do(`{"cmd":"pause","protocol":"chat"}`)
		a.do(`{"cmd":"finish","protocol":"echo","how":%s}`, how)
		want(t, b.await("peer_dropped"), map[string]any{"reason": reason, "requested": true})
	}
}

func TestRefusals(t *testing.T) {
	b := start(t, runPeer, `{"max_peers":1}`)
	first, second := start(t, runPeer, `{}`), start(t, runPeer, `{}`)
	useless := start(t, runPeer, `{"protocols":[{"name":"zz","version":1,"length":1}]}`)
	want(t, useless.try(`{"cmd":"dial","enode":%q}`, b.ready["enode"]), map[string]any{"ok": false, "reason": 3})
	want(t, b.await("setup_failed"), map[string]any{"stage": "rejected", "reason": 3})
	first.do(`{"cmd":"dial","enode":%q}`, b.ready["enode"])
	b.await("peer_added")
	want(t, second.try(`{"cmd":"dial","enode":%q}`, b.ready["enode"]), map[string]any{"ok": false, "reason": 4})
	want(t, b.await("setup_failed"), map[string]any{"stage": "rejected", "reason": 4, "peer": second.ready["id"]})
	b.do(`{"cmd":"add_trusted","enode":%q}`, second.ready["enode"])
	second.do(`{"cmd":"dial","enode":%q}`, b.ready["enode"])
}

func TestRawSession(t *testing.T) {
	b, r := start(t, runPeer, `{}`), start(t, runRaw, `{}`)
	connect := func() { r.do(`{"cmd":"connect","enode":%q}`, b.ready["enode"]) }
	closed := func(fields map[string]any) {
		t.Helper()
		want(t, r.do(`{"cmd":"read_until_close","quiet":true}`), fields)
		b.await("peer_dropped")
	}

	connect()
	want(t, r.do(`{"cmd":"session"}`), map[string]any{"snappy": true})
	// Only echo/1 is shared, so it has the codes 16 and 17, and there are no others.
	r.do(`{"cmd":"send","code":18,"text":"hello"}`)
	closed(map[string]any{"ending": "eof"})

	connect()
	r.do(`{"cmd":"session"}`)
	r.do(`{"cmd":"send","code":16,"text":"hello"}`)
	want(t, r.do(`{"cmd":"read"}`), map[string]any{"code": 17, "hex": "68656c6c6f", "compressed": true})
	want(t, r.try(`{"cmd":"read","timeout_ms":20}`), map[string]any{"ok": false, "ending": "timeout"})
	// A frame of our own making keeps the cipher and the MAC in step.
	r.do(`{"cmd":"frame","body":{"hex":"1005106f6f6f6f6f"}}`)
	want(t, r.do(`{"cmd":"read"}`), map[string]any{"code": 17, "hex": "6f6f6f6f6f"})
	r.do(`{"cmd":"send","code":2,"hex":"c0"}`)
	want(t, r.do(`{"cmd":"read"}`), map[string]any{"code": 3, "hex": "c0"})
	r.do(`{"cmd":"send","code":1,"hex":"c108"}`)
	closed(map[string]any{"ending": "eof", "reason": 8})

	connect()
	want(t, r.do(`{"cmd":"session","version":4}`), map[string]any{"snappy": false})
	r.do(`{"cmd":"send","code":16,"text":"hello"}`)
	want(t, r.do(`{"cmd":"read"}`), map[string]any{"code": 17, "hex": "68656c6c6f", "compressed": false})
	r.do(`{"cmd":"send","code":16,"text":"hello","alter":{"flip":[-1]}}`)
	closed(map[string]any{"ending": "eof"})

	for _, bad := range []string{`"id":"zero"`, `"id":"short"`, `"trailing":"00"`, `"pad_name":3000`, `"extra":["80","c0"]`} {
		connect()
		r.do(`{"cmd":"handshake"}`)
		r.do(`{"cmd":"hello",%s}`, bad)
		r.do(`{"cmd":"read_until_close","timeout_ms":100}`)
	}
	for _, bad := range []string{"offcurve", "range", "zero", "prefix", "mac", "body_offcurve", "signature", "list_short", "short", "oversize"} {
		connect()
		r.do(`{"cmd":"auth","bad":%q}`, bad)
		want(t, r.do(`{"cmd":"tcp_read"}`), map[string]any{"size": 0})
	}
	for size := range 17 {
		connect()
		r.do(`{"cmd":"auth","bad":"short_sealed","size":%d}`, size)
		want(t, r.do(`{"cmd":"tcp_read"}`), map[string]any{"size": 0})
	}
	connect()
	r.do(`{"cmd":"auth","extra":2,"version":9}`)
	want(t, r.do(`{"cmd":"tcp_read","max":300}`), map[string]any{"size": 300})
	connect()
	r.do(`{"cmd":"tcp","hex":"0100","alter":{"drip_ms":1}}`)
	r.do(`{"cmd":"close","how":"rst"}`)
	b.do(`{"cmd":"stats"}`)
}

func TestRawAccepts(t *testing.T) {
	a, r := start(t, runPeer, `{}`), start(t, runRaw, `{}`)
	a.begin(`{"cmd":"dial","enode":%q}`, r.ready["enode"])
	r.do(`{"cmd":"accept"}`)
	want(t, r.do(`{"cmd":"session","caps":[["chat",1]]}`), map[string]any{"pubkey": a.ready["pubkey"], "snappy": true})
	want(t, a.await("done"), map[string]any{"ok": true})
	r.do(`{"cmd":"flood","code":2,"hex":"c0","count":100}`)
	r.do(`{"cmd":"send","code":16,"text":"hi"}`)
	want(t, a.await("message"), map[string]any{"text": "hi", "protocol": "chat/1"})
	a.begin(`{"cmd":"disconnect","reason":9}`)
	want(t, r.do(`{"cmd":"read_until_close","quiet":true}`), map[string]any{"reason": 9, "ending": "eof"})

	for _, bad := range []string{"body_offcurve", "offcurve", "mac", "garbage", "oversize"} {
		a.begin(`{"cmd":"dial","enode":%q}`, r.ready["enode"])
		r.do(`{"cmd":"accept"}`)
		want(t, r.do(`{"cmd":"ack","bad":%q}`, bad), map[string]any{"pubkey": a.ready["pubkey"]})
	}
}
