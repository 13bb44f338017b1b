package main

import (
	"bytes"
	"testing"
)

func TestSnappyBlocksAreDecoded(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 100)
	cases := map[string]struct{ block, text []byte }{
		"nothing":                  {[]byte{0}, []byte{}},
		"a literal":                {[]byte{3, 2 << 2, 'a', 'b', 'c'}, []byte("abc")},
		"a long literal":           {append([]byte{100, 60 << 2, 99}, long...), long},
		"a copy that overlaps":     {[]byte{8, 1 << 2, 'a', 'b', 2<<2 | 1, 2}, []byte("abababab")},
		"a copy with a far offset": {[]byte{6, 2 << 2, 'a', 'b', 'c', 2<<2 | 2, 3, 0}, []byte("abcabc")},
	}
	for name, c := range cases {
		text, err := snappyDecode(c.block)
		if err != nil || !bytes.Equal(text, c.text) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestCorruptSnappyIsAnError(t *testing.T) {
	for _, block := range [][]byte{{}, {5, 0}, {3, 2 << 2, 'a'}, {4, 1<<2 | 1, 9}, {2, 60 << 2}, {9, 0, 'a'}} {
		if _, err := snappyDecode(block); err == nil {
			t.Errorf("%v was taken", block)
		}
	}
}

func TestLokiProtobufIsCounted(t *testing.T) {
	entry := field(2, append(field(1, []byte{8, 1}), field(2, []byte("line"))...))
	body := field(1, append(field(1, []byte(`{job="bench"}`)), append(entry, entry...)...))
	expect(t, lokiProtobuf, body, 2, 8, `{job="bench"}`)
}

func TestLokiJSONIsCounted(t *testing.T) {
	body := `{"streams": [{"stream": {"job": "bench"}, "values": [["1", "a \"b\\"], ["2", "[c]", {"id": "7"}]]}]}`
	expect(t, lokiJSON, []byte(body), 2, 10, `{"job": "bench"}`)
}

func TestOTLPIsCounted(t *testing.T) {
	resource := field(1, field(1, append(field(1, []byte("job")), field(2, field(1, []byte("bench")))...)))
	record := field(2, field(5, field(1, []byte("line"))))
	expect(t, otlpProtobuf, field(1, append(resource, field(2, append(record, record...))...)), 2, 8, "{job=bench}")
}

func TestCutOffBodiesAreErrors(t *testing.T) {
	if lokiProtobuf([]byte{10, 9, 1}, &push{}) == nil || lokiJSON([]byte(`{"streams": [`), &push{}) == nil {
		t.Error("taken")
	}
}

func TestTheTimesInLinesBecomeDelays(t *testing.T) {
	body := []byte("x sent=1700000000000000001 y\nsent=1700000000000000003\nsent=17")
	delays := delaysIn(body, []byte("sent="), 1700000000000000010)
	if len(delays) != 2 || delays[0] != 9 || delays[1] != 7 {
		t.Error(delays)
	}
}

func expect(t *testing.T, count func([]byte, *push) error, body []byte, entries, bytes int64, labels string) {
	t.Helper()
	got := push{labels: map[string]int64{}}
	if err := count(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.entries != entries || got.lineBytes != bytes || got.labels[labels] != 1 {
		t.Errorf("%+v", got)
	}
}

func field(number byte, value []byte) []byte {
	return append([]byte{number<<3 | 2, byte(len(value))}, value...)
}
