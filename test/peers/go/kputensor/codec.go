package main

import (
	"fmt"
	"io"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// A frame is a message as it stands on the wire. The server looks at its few small fields and never touches the
// tensor's bytes: decoding them into structures would copy each of them.
type frame struct{ buffers mem.BufferSlice }

// rawCodec hands frames through, in place of the protobuf codec.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) { return v.(*frame).buffers, nil }

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	v.(*frame).buffers = data
	return nil
}

// The fields of TensorChunk, TensorResponse and TensorRequest (proto/kpu/torch/service.proto).
const (
	chunkID       = 1
	chunkNumber   = 2
	chunkData     = 3
	chunkTotal    = 4
	chunkLast     = 5
	chunkMetadata = 6

	responseSuccess = 1
	responseMessage = 2
	responseIDs     = 3

	requestCount      = 1
	requestParameters = 2

	entryKey   = 1
	entryValue = 2
)

func readVarint(reader *mem.Reader) (uint64, error) {
	var value uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := reader.ReadByte()
		if err != nil {
			return 0, err
		}
		value |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return value, nil
		}
	}
	return 0, fmt.Errorf("a varint of more than 64 bits")
}

// fields calls visit with each field of a message; visit reads the content of a length-delimited one (size bytes) or
// gives false, and then it is passed over.
func fields(reader *mem.Reader, visit func(number int, value uint64, size int) (bool, error)) error {
	for reader.Remaining() > 0 {
		tag, err := readVarint(reader)
		if err != nil {
			return err
		}
		value, err := readVarint(reader)
		if err != nil {
			return err
		}
		switch protowire.Type(tag & 7) {
		case protowire.VarintType:
			if _, err := visit(int(tag>>3), value, -1); err != nil {
				return err
			}
		case protowire.BytesType:
			taken, err := visit(int(tag>>3), 0, int(value))
			if err != nil {
				return err
			}
			if !taken {
				if _, err := reader.Discard(int(value)); err != nil {
					return err
				}
			}
		default:
			return fmt.Errorf("field %d has wire type %d", tag>>3, tag&7)
		}
	}
	return nil
}

func readString(reader *mem.Reader, size int) (string, error) {
	text := make([]byte, size)
	_, err := io.ReadFull(reader, text)
	return string(text), err
}

func appendString(message []byte, number protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(message, number, protowire.BytesType), text)
}

func appendUint(message []byte, number protowire.Number, value uint64) []byte {
	if value == 0 {
		return message
	}
	return protowire.AppendVarint(protowire.AppendTag(message, number, protowire.VarintType), value)
}

func appendEntry(message []byte, number protowire.Number, key, value string) []byte {
	entry := appendString(appendString(nil, entryKey, key), entryValue, value)
	return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), entry)
}

// messages cuts a payload into the frames of its chunks, around the payload's own memory.
func messages(id string, payload []byte, metadata [][2]string, size int, send func(*frame) error) error {
	total := max(1, (len(payload)+size-1)/size)
	for number := range total {
		data := payload[number*size : min(len(payload), (number+1)*size)]
		head := appendString(make([]byte, 0, 64), chunkID, id)
		head = appendUint(head, chunkNumber, uint64(number))
		head = protowire.AppendVarint(protowire.AppendTag(head, chunkData, protowire.BytesType), uint64(len(data)))
		tail := appendUint(make([]byte, 0, 16), chunkTotal, uint64(total))
		if number == total-1 {
			tail = appendUint(tail, chunkLast, 1)
		}
		if number == 0 {
			for _, pair := range metadata {
				tail = appendEntry(tail, chunkMetadata, pair[0], pair[1])
			}
		}
		buffers := mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(data), mem.SliceBuffer(tail)}
		if err := send(&frame{buffers}); err != nil {
			return err
		}
	}
	return nil
}
