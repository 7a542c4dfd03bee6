package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// object is one JSON object of output.
type object map[string]any

// output writes events, one JSON object a line, each in a single write.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

func newOutput(w io.Writer) *output { return &output{w: w, start: time.Now()} }

// emit writes one event. `event` is always the first field, `ms` the time since the start.
func (o *output) emit(event string, fields object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	head := fmt.Sprintf(`{"event":%q,"ms":%.3f`, event, float64(time.Since(o.start).Microseconds())/1000)
	rest, err := json.Marshal(fields)
	if err != nil {
		rest, _ = json.Marshal(object{"marshal_error": err.Error()})
	}
	line := append([]byte(head), ',')
	if len(rest) <= 2 || rest[0] != '{' { // {} or null
		line, rest = []byte(head), []byte("}")
	} else {
		rest = rest[1:]
	}
	line = append(append(line, rest...), '\n')
	o.w.Write(line)
}

// base holds the fields that every command has.
type base struct {
	Cmd string `json:"cmd"`
	// Tag is echoed in the command's done event.
	Tag any `json:"tag"`
	// Background lets the next command start before this one is done.
	Background bool `json:"bg"`
}

// action runs one command; what it returns is added to the done event, also with an error.
type action func(line []byte) (object, error)

// strict decodes one command and refuses unknown fields, so that a misspelt one is noticed.
func strict(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	return dec.Decode(into)
}

// command makes an action from a function over decoded arguments.
func command[T any](run func(T) (object, error)) action {
	return func(line []byte) (object, error) {
		var args T
		if err := strict(line, &args); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		return run(args)
	}
}

// console runs commands until the end of the input or quit: in order, each to its end,
// except those that ask for the background.
func console(in io.Reader, out *output, actions map[string]action) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var b base
		if err := json.Unmarshal(line, &b); err != nil {
			out.emit("done", object{"ok": false, "error": "not a command: " + err.Error()})
			continue
		}
		if b.Cmd == "quit" {
			done(out, b, nil, nil)
			return nil
		}
		run, ok := actions[b.Cmd]
		if !ok {
			done(out, b, nil, errors.New("unknown command"))
			continue
		}
		if b.Background {
			own := bytes.Clone(line)
			go func() {
				fields, err := run(own)
				done(out, b, fields, err)
			}()
			continue
		}
		fields, err := run(line)
		done(out, b, fields, err)
	}
	return lines.Err()
}

func done(out *output, b base, fields object, err error) {
	all := object{"cmd": b.Cmd, "ok": err == nil}
	for k, v := range fields {
		all[k] = v
	}
	if b.Tag != nil {
		all["tag"] = b.Tag
	}
	if err != nil {
		all["error"] = err.Error()
		if reason, ok := discReason(err); ok {
			all["reason"] = reason
		}
	}
	out.emit("done", all)
}
