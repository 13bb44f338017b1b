package main

import (
	"encoding/binary"
	"errors"
)

var errProtobuf = errors.New("corrupt protobuf")

// eachField calls visit for each length-delimited field of a protobuf message; others are passed over.
func eachField(message []byte, visit func(number uint64, value []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errProtobuf
		}
		message = message[n:]
		size := 0
		switch tag & 7 {
		case 0:
			if _, size = binary.Uvarint(message); size <= 0 {
				return errProtobuf
			}
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return errProtobuf
			}
			size = n + int(length)
			if err := visit(tag>>3, message[n:size]); err != nil {
				return err
			}
		default:
			return errProtobuf
		}
		if size > len(message) {
			return errProtobuf
		}
		message = message[size:]
	}
	return nil
}
