package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
)

// parseShape reads "20,20".
func parseShape(text string) ([]int, error) {
	var shape []int
	for _, part := range strings.Split(text, ",") {
		size, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || size < 0 {
			return nil, fmt.Errorf("%q is no shape", text)
		}
		shape = append(shape, size)
	}
	return shape, nil
}

// formatShape writes "[20, 20]", as Python does.
func formatShape(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ")
}

// noise gives finite float32 elements for this shape, the same at every call.
func noise(shape []int) []byte {
	count := 1
	for _, size := range shape {
		count *= size
	}
	elements := make([]byte, 4*count)
	_, _ = mathrand.NewChaCha8([32]byte{}).Read(elements) // never fails
	for i := 3; i < len(elements); i += 4 {
		elements[i] = elements[i]&0x80 | 0x3f // a sign, and an exponent around 1
	}
	return elements
}

const (
	elementsRecord = "archive/data/0"
	utf8Names      = 0x800
)

// torchParts writes float32 elements as torch.save does: an archive of stored records whose data starts on multiples of
// 64 bytes, the pickle of a contiguous tensor, and the elements, which stand between head and tail.
func torchParts(shape []int, elements []byte) (head, tail []byte) {
	records := []struct {
		name string
		data []byte
	}{
		{"archive/data.pkl", tensorPickle(shape, len(elements)/4)},
		{"archive/.format_version", []byte("1")},
		{"archive/.storage_alignment", []byte("64")},
		{"archive/byteorder", []byte("little")},
		{elementsRecord, elements},
		{"archive/version", []byte("3\n")},
	}
	little := func(to *bytes.Buffer, values ...any) {
		for _, value := range values {
			_ = binary.Write(to, binary.LittleEndian, value) // a Buffer takes everything
		}
	}
	var file, directory bytes.Buffer
	position := 0 // in the whole, of where file goes on
	for _, record := range records {
		offset, size, crc := position+file.Len(), uint32(len(record.data)), crc32.ChecksumIEEE(record.data)
		name := []byte(record.name)
		// The extra field "FB" is as long as the alignment needs: 4 bytes of header, then padding.
		padding := (64 - (offset+30+len(name)+4)%64) % 64
		little(&file, uint32(0x04034b50), uint16(20), uint16(utf8Names), uint16(0), uint32(0), crc, size, size)
		little(&file, uint16(len(name)), uint16(4+padding), name, []byte("FB"), uint16(padding), bytes.Repeat([]byte("Z"), padding))
		if record.name == elementsRecord {
			head = bytes.Clone(file.Bytes())
			position = len(head) + len(elements)
			file.Reset()
		} else {
			file.Write(record.data)
		}
		little(&directory, uint32(0x02014b50), uint16(20), uint16(20), uint16(utf8Names), uint16(0), uint32(0), crc, size, size)
		little(&directory, uint16(len(name)), uint16(0), uint16(0), uint16(0), uint16(0), uint32(0), uint32(offset), name)
	}
	start := uint32(position + file.Len())
	size := uint32(directory.Len())
	count := uint16(len(records))
	file.Write(directory.Bytes())
	little(&file, uint32(0x06054b50), uint16(0), uint16(0), count, count, size, start, uint16(0))
	return head, file.Bytes()
}

// torchFile is the archive in one piece.
func torchFile(shape []int, elements []byte) []byte {
	head, tail := torchParts(shape, elements)
	return bytes.Join([][]byte{head, elements, tail}, nil)
}

// torchElements finds the elements of an archive through its central directory, and the CRC-32 that stands there.
func torchElements(file []byte) ([]byte, uint32, error) {
	broken := errors.New("not an archive of a tensor")
	end := len(file) - 22
	if end < 0 || binary.LittleEndian.Uint32(file[end:]) != 0x06054b50 {
		return nil, 0, broken
	}
	at := int(binary.LittleEndian.Uint32(file[end+16:]))
	for at+46 <= end {
		entry := file[at:]
		crc, size := binary.LittleEndian.Uint32(entry[16:]), int(binary.LittleEndian.Uint32(entry[20:]))
		name, extra := int(binary.LittleEndian.Uint16(entry[28:])), int(binary.LittleEndian.Uint16(entry[30:]))
		offset := int(binary.LittleEndian.Uint32(entry[42:]))
		if at+46+name > end {
			return nil, 0, broken
		}
		if strings.HasSuffix(string(entry[46:46+name]), "/data/0") {
			if offset+30 > len(file) {
				return nil, 0, broken
			}
			start := offset + 30 + int(binary.LittleEndian.Uint16(file[offset+26:])) + int(binary.LittleEndian.Uint16(file[offset+28:]))
			if start+size > len(file) {
				return nil, 0, broken
			}
			return file[start : start+size], crc, nil
		}
		at += 46 + name + extra + int(binary.LittleEndian.Uint16(entry[32:]))
	}
	return nil, 0, broken
}

// tensorPickle is the protocol 2 pickle of torch._utils._rebuild_tensor_v2 on a float32 storage of count elements.
func tensorPickle(shape []int, count int) []byte {
	var pickle bytes.Buffer
	text := func(value string) {
		pickle.WriteByte('X')
		_ = binary.Write(&pickle, binary.LittleEndian, uint32(len(value)))
		pickle.WriteString(value)
	}
	number := func(value int) {
		if value < 1<<31 {
			pickle.WriteByte('J')
			_ = binary.Write(&pickle, binary.LittleEndian, int32(value))
			return
		}
		pickle.WriteString("\x8a\x08") // LONG1
		_ = binary.Write(&pickle, binary.LittleEndian, int64(value))
	}
	tuple := func(values []int) {
		pickle.WriteByte('(')
		for _, value := range values {
			number(value)
		}
		pickle.WriteByte('t')
	}
	strides := make([]int, len(shape))
	for axis, stride := len(shape)-1, 1; axis >= 0; axis-- {
		strides[axis] = stride
		stride *= max(1, shape[axis])
	}
	pickle.WriteString("\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((")
	text("storage")
	pickle.WriteString("ctorch\nFloatStorage\n")
	text("0")
	text("cpu")
	number(count)
	pickle.WriteString("tQK\x00")
	tuple(shape)
	tuple(strides)
	pickle.WriteString("\x89ccollections\nOrderedDict\n)RtR.")
	return pickle.Bytes()
}
