package main

import (
	"bytes"
	"encoding/json"
	"os"
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
	mutex sync.Mutex
	dump  *os.File

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
	return &counts{Leaks: map[string]int64{}, Labels: map[string]int64{}, Kinds: map[string]int64{}}
}

func (c *counts) add(push push, err error) {
	leaks := make([]int64, len(secrets))
	for i, secret := range secrets {
		leaks[i] = int64(bytes.Count(push.body, secret.mark))
	}
	now := time.Now().UnixNano()
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

func (c *counts) json() []byte {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(err) // only numbers and strings
	}
	return encoded
}
