package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// torchFile writes float32 elements as torch.save does: an archive of stored records whose data starts on multiples of
// 64 bytes, the pickle of a contiguous tensor, and the elements.
func torchFile(shape []int, elements []byte) []byte {
	records := []struct {
		name string
		data []byte
	}{
		{"archive/data.pkl", tensorPickle(shape, len(elements)/4)},
		{"archive/.format_version", []byte("1")},
		{"archive/.storage_alignment", []byte("64")},
		{"archive/byteorder", []byte("little")},
		{"archive/data/0", elements},
		{"archive/version", []byte("3\n")},
	}
	const utf8Names = 0x800
	file := bytes.NewBuffer(make([]byte, 0, len(elements)+4096))
	var directory bytes.Buffer
	little := func(to *bytes.Buffer, values ...any) {
		for _, value := range values {
			_ = binary.Write(to, binary.LittleEndian, value) // a Buffer takes everything
		}
	}
	for _, record := range records {
		offset, size, crc := uint32(file.Len()), uint32(len(record.data)), crc32.ChecksumIEEE(record.data)
		name := []byte(record.name)
		// The extra field "FB" is as long as the alignment needs: 4 bytes of header, then padding.
		padding := (64 - (file.Len()+30+len(name)+4)%64) % 64
		little(file, uint32(0x04034b50), uint16(20), uint16(utf8Names), uint16(0), uint32(0), crc, size, size)
		little(file, uint16(len(name)), uint16(4+padding), name, []byte("FB"), uint16(padding), bytes.Repeat([]byte("Z"), padding))
		file.Write(record.data)
		little(&directory, uint32(0x02014b50), uint16(20), uint16(20), uint16(utf8Names), uint16(0), uint32(0), crc, size, size)
		little(&directory, uint16(len(name)), uint16(0), uint16(0), uint16(0), uint16(0), uint32(0), offset, name)
	}
	start := uint32(file.Len())
	file.Write(directory.Bytes())
	count := uint16(len(records))
	little(file, uint32(0x06054b50), uint16(0), uint16(0), count, count, uint32(directory.Len()), start, uint16(0))
	return file.Bytes()
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
