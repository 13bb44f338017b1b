package main

import (
	"encoding/binary"
	"errors"
)

var errSnappy = errors.New("corrupt snappy block")

const maxDecoded = 1 << 28

// snappyDecode decompresses one block of snappy's block format: the length, then literals and copies.
func snappyDecode(from []byte) ([]byte, error) {
	length, n := binary.Uvarint(from)
	if n <= 0 || length > maxDecoded {
		return nil, errSnappy
	}
	from = from[n:]
	to := make([]byte, length)
	done := 0 // bytes of `to` that are written
	for len(from) > 0 {
		tag := from[0]
		size, offset := 0, 0
		switch tag & 3 {
		case 0: // literal; lengths over 60 stand in the next one to four bytes
			size, n = int(tag>>2)+1, 1
			if size > 60 {
				n = size - 60 + 1
				if len(from) < n {
					return nil, errSnappy
				}
				size = int(littleEndian(from[1:n])) + 1
			}
			if size > len(from)-n || size > len(to)-done {
				return nil, errSnappy
			}
			done += copy(to[done:], from[n:n+size])
			from = from[n+size:]
			continue
		case 1: // copy of 4 to 11 bytes, offset of 11 bits
			n = 2
			if len(from) < n {
				return nil, errSnappy
			}
			size, offset = 4+int(tag>>2&7), int(tag>>5)<<8|int(from[1])
		default: // copy of 1 to 64 bytes, offset of 16 or 32 bits
			n = 3
			if tag&3 == 3 {
				n = 5
			}
			if len(from) < n {
				return nil, errSnappy
			}
			size, offset = 1+int(tag>>2), int(littleEndian(from[1:n]))
		}
		from = from[n:]
		if offset == 0 || offset > done || size > len(to)-done {
			return nil, errSnappy
		}
		if offset >= size {
			done += copy(to[done:done+size], to[done-offset:])
			continue
		}
		for ; size > 0; size-- { // the copy reads what it writes
			to[done] = to[done-offset]
			done++
		}
	}
	if done != len(to) {
		return nil, errSnappy
	}
	return to, nil
}

func littleEndian(from []byte) (number uint32) {
	for i, b := range from {
		number |= uint32(b) << (8 * i)
	}
	return number
}
