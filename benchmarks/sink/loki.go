package main

import (
	"bytes"
	"errors"
)

// lokiProtobuf counts a logproto.PushRequest: streams=1 {labels=1, entries=2 {timestamp=1, line=2, metadata=3}}.
func lokiProtobuf(body []byte, push *push) error {
	return eachField(body, func(number uint64, stream []byte) error {
		if number != 1 {
			return nil
		}
		return eachField(stream, func(number uint64, value []byte) error {
			switch number {
			case 1:
				push.labels[string(value)]++
			case 2:
				push.entries++
				return eachField(value, func(number uint64, line []byte) error {
					if number == 2 {
						push.line(line)
					}
					return nil
				})
			}
			return nil
		})
	})
}

// lokiJSON counts {"streams": [{"stream": {…}, "values": [["time", "line", {…}?], …]}, …]} without decoding it:
// an array that opens inside two others is an entry, and its second string is the line.
func lokiJSON(body []byte, push *push) error {
	depth, strings := 0, 0
	for at := 0; at < len(body); {
		switch body[at] {
		case '[':
			depth++
			if depth == 3 {
				push.entries++
				strings = 0
			}
			at++
		case ']':
			depth--
			at++
		case '"':
			end := stringEnd(body, at)
			if end < 0 {
				return errors.New("unterminated JSON string")
			}
			text := body[at+1 : end]
			at = end + 1
			if depth == 3 {
				strings++
				if strings == 2 {
					push.line(text)
				}
			} else if depth == 1 && string(text) == "stream" {
				opens, closes := bytes.IndexByte(body[at:], '{'), bytes.IndexByte(body[at:], '}')
				if opens < 0 || closes < opens {
					return errors.New("bad stream object")
				}
				push.labels[string(body[at+opens:at+closes+1])]++
				at += closes + 1
			}
		default:
			at++
		}
	}
	if depth != 0 {
		return errors.New("unbalanced JSON")
	}
	return nil
}

// stringEnd finds the quote that ends the JSON string opening at start, or -1.
func stringEnd(body []byte, start int) int {
	for at := start + 1; ; at++ {
		next := bytes.IndexByte(body[at:], '"')
		if next < 0 {
			return -1
		}
		at += next
		backslashes := 0
		for before := at - 1; before > start && body[before] == '\\'; before-- {
			backslashes++
		}
		if backslashes%2 == 0 {
			return at
		}
	}
}
