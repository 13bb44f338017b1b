// A counting log sink for benchmarks. It speaks Loki's push API (JSON, and protobuf in snappy) and OTLP/HTTP logs
// (protobuf, and JSON), answers at once, and counts requests, bytes, entries, label sets and secrets left over.
//
//	GET /stats    the counts as JSON
//	GET /delays   for each line with a -mark: ns from the time behind it to its arrival
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"strings"
)

func main() {
	address := flag.String("address", "127.0.0.1:13200", "listen address")
	dump := flag.String("dump", "", "write each line that arrives to this file (slow: for checking only)")
	mark := flag.String("mark", "", "stands in lines before the time they were written at, in Unix ns")
	flag.Parse()
	runtime.GOMAXPROCS(1) // the sink has one core, as the shipper has

	counts := newCounts()
	counts.mark = []byte(*mark)
	if *dump != "" {
		file, err := os.Create(*dump)
		if err != nil {
			log.Fatal(err)
		}
		counts.dump = file
	}
	http.HandleFunc("/loki/api/v1/push", receive(counts, "loki"))
	http.HandleFunc("/v1/logs", receive(counts, "otlp"))
	http.HandleFunc("/otlp/v1/logs", receive(counts, "otlp"))
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ready\n") })
	http.HandleFunc("/stats", show(counts.json))
	http.HandleFunc("/delays", show(counts.delaysJSON))
	log.Fatal(http.ListenAndServe(*address, nil))
}

func show(encoded func() []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(encoded())
	}
}

// receive answers the pushes of one protocol.
func receive(counts *counts, protocol string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var wire bytes.Buffer
		if r.ContentLength > 0 {
			wire.Grow(int(r.ContentLength) + bytes.MinRead)
		}
		if _, err := wire.ReadFrom(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		isJSON := strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
		encoding := r.Header.Get("Content-Encoding")
		push, err := decode(wire.Bytes(), protocol, isJSON, encoding, counts.dump != nil)
		push.kind = kindOf(protocol, isJSON, encoding)
		push.wireBytes = int64(wire.Len())
		counts.add(push, err)
		if err != nil {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		switch {
		case protocol == "loki":
			w.WriteHeader(http.StatusNoContent)
		case isJSON:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "{}")
		default:
			w.Header().Set("Content-Type", "application/x-protobuf")
		}
	}
}

// decode decompresses a request body and counts what is in it.
func decode(body []byte, protocol string, isJSON bool, encoding string, keepLines bool) (push push, err error) {
	push.labels = map[string]int64{}
	push.keepLines = keepLines
	switch {
	case encoding == "gzip":
		var unzipped *gzip.Reader
		if unzipped, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(unzipped)
		}
	case encoding != "":
		err = errors.New("no decoder for Content-Encoding " + encoding)
	case protocol == "loki" && !isJSON:
		body, err = snappyDecode(body)
	}
	if err != nil {
		return push, err
	}
	push.body = body
	switch {
	case protocol == "loki" && isJSON:
		err = lokiJSON(body, &push)
	case protocol == "loki":
		err = lokiProtobuf(body, &push)
	case isJSON:
		if !json.Valid(body) {
			err = errors.New("not JSON")
		}
		push.entries = int64(bytes.Count(body, []byte(`"body":`)))
	default:
		err = otlpProtobuf(body, &push)
	}
	return push, err
}

func kindOf(protocol string, isJSON bool, encoding string) string {
	kind := protocol + "/protobuf"
	if isJSON {
		kind = protocol + "/json"
	}
	if encoding != "" {
		kind += "/" + encoding
	}
	return kind
}
