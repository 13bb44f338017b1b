package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"time"
)

// A push is what one request held.
type push struct {
	kind      string
	wireBytes int64
	body      []byte // decompressed
	entries   int64
	lineBytes int64
	labels    map[string]int64
	keepLines bool
	lines     [][]byte
}

// line counts one log line.
func (p *push) line(line []byte) {
	p.lineBytes += int64(len(line))
	if p.keepLines {
		p.lines = append(p.lines, line)
	}
}

// Counts over all pushes since the start.
type counts struct {
	mutex  sync.Mutex
	dump   *os.File
	mark   []byte  // stands before the time, in Unix ns, at which a line was written
	delays []int64 // from that time to the arrival of the line, in ns

	Requests  int64            `json:"requests"`
	WireBytes int64            `json:"wire_bytes"` // request bodies as sent
	BodyBytes int64            `json:"body_bytes"` // request bodies, decompressed
	Entries   int64            `json:"entries"`
	LineBytes int64            `json:"line_bytes"` // of the log lines (JSON: as escaped)
	Errors    int64            `json:"errors"`
	FirstNS   int64            `json:"first_ns"` // arrival of the first push that held an entry, Unix ns
	LastNS    int64            `json:"last_ns"`  // arrival of the last one
	Leaks     map[string]int64 `json:"leaks"`
	Labels    map[string]int64 `json:"labels"` // label set: streams seen
	Kinds     map[string]int64 `json:"kinds"`
}

const maxLabelSets = 64

// What the corpora plant; a shipper that redacts leaves none of these.
var secrets = []struct {
	name string
	mark []byte
}{
	{"aws", []byte("AKIA")}, {"bearer", []byte("Bearer eyJ")}, {"email", []byte(".leak@")},
	{"card", []byte(" 45391488")}, {"card", []byte("\"45391488")}, {"card", []byte("n45391488")}, {"card", []byte("4539-1488")},
}

func newCounts() *counts {
	return &counts{delays: []int64{}, Leaks: map[string]int64{}, Labels: map[string]int64{}, Kinds: map[string]int64{}}
}

func (c *counts) add(push push, err error) {
	leaks := make([]int64, len(secrets))
	for i, secret := range secrets {
		leaks[i] = int64(bytes.Count(push.body, secret.mark))
	}
	now := time.Now().UnixNano()
	delays := delaysIn(push.body, c.mark, now)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.Requests++
	c.WireBytes += push.wireBytes
	c.Kinds[push.kind]++
	if err != nil {
		c.Errors++
		return
	}
	c.BodyBytes += int64(len(push.body))
	c.Entries += push.entries
	c.LineBytes += push.lineBytes
	if push.entries > 0 {
		if c.FirstNS == 0 {
			c.FirstNS = now
		}
		c.LastNS = now
	}
	c.delays = append(c.delays, delays...)
	for labels, streams := range push.labels {
		if _, known := c.Labels[labels]; known || len(c.Labels) < maxLabelSets {
			c.Labels[labels] += streams
		}
	}
	for i, secret := range secrets {
		c.Leaks[secret.name] += leaks[i]
	}
	if c.dump != nil && len(push.lines) > 0 {
		c.dump.Write(append(bytes.Join(push.lines, []byte("\n")), '\n'))
	}
}

const timeDigits = 19

// delaysIn finds the marked times in a body and says how long ago each was.
func delaysIn(body, mark []byte, now int64) (delays []int64) {
	if len(mark) == 0 {
		return nil
	}
	for {
		at := bytes.Index(body, mark)
		if at < 0 || len(body) < at+len(mark)+timeDigits {
			return delays
		}
		body = body[at+len(mark):]
		if written, err := strconv.ParseInt(string(body[:timeDigits]), 10, 64); err == nil {
			delays = append(delays, now-written)
		}
	}
}

func (c *counts) json() []byte { return c.encode(c) }

func (c *counts) delaysJSON() []byte { return c.encode(&c.delays) }

func (c *counts) encode(what any) []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	encoded, err := json.Marshal(what)
	if err != nil {
		panic(err) // only numbers and strings
	}
	return encoded
}
