package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// service answers as the tensor service does, without reading a tensor: ReceiveTensors drops the bytes, SendTensors
// sends the same prepared tensor again and again, StreamTensors gives each chunk back as soon as it is there.
type service struct {
	chunkSize int
	mutex     sync.Mutex
	prepared  map[string][]byte
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *service) receiveTensors(stream grpc.ServerStream) error {
	missing := map[string]int{}
	var ids []string
	for {
		var message frame
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		id, total := "", 0
		reader := message.buffers.Reader()
		err := fields(reader, func(number int, value uint64, size int) (bool, error) {
			switch number {
			case chunkID:
				text, err := readString(reader, size)
				id = text
				return true, err
			case chunkTotal:
				total = int(value)
			}
			return false, nil
		})
		reader.Close()
		message.buffers.Free()
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "not a TensorChunk: %v", err)
		}
		if _, open := missing[id]; !open {
			missing[id] = total
		}
		missing[id]--
		if missing[id] <= 0 {
			delete(missing, id)
			ids = append(ids, id)
		}
	}
	response := appendUint(nil, responseSuccess, 1)
	response = appendString(response, responseMessage, fmt.Sprintf("Received %d tensor(s)", len(ids)))
	for _, id := range ids {
		response = appendString(response, responseIDs, id)
	}
	return stream.SendMsg(&frame{mem.BufferSlice{mem.SliceBuffer(response)}})
}

// file gives the torch file of float32 noise in this shape, made once.
func (s *service) file(shape []int) []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	key := fmt.Sprint(shape)
	if s.prepared[key] == nil {
		s.prepared[key] = torchFile(shape, noise(shape))
	}
	return s.prepared[key]
}

func (s *service) sendTensors(stream grpc.ServerStream) error {
	var message frame
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	count, parameters := 0, map[string]string{}
	reader := message.buffers.Reader()
	err := fields(reader, func(number int, value uint64, size int) (bool, error) {
		switch number {
		case requestCount:
			count = int(value)
		case requestParameters:
			entry, err := readString(reader, size)
			if err != nil {
				return true, err
			}
			key, text := "", ""
			inner := mem.BufferSlice{mem.SliceBuffer(entry)}.Reader()
			err = fields(inner, func(number int, _ uint64, size int) (bool, error) {
				part, err := readString(inner, size)
				if number == entryKey {
					key = part
				} else {
					text = part
				}
				return true, err
			})
			parameters[key] = text
			return true, err
		}
		return false, nil
	})
	reader.Close()
	message.buffers.Free()
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "not a TensorRequest: %v", err)
	}
	shape, err := parseShape(parameters["shape"])
	if err != nil {
		shape = []int{10, 10}
	}
	payload := s.file(shape)
	metadata := [][2]string{
		{"shape", formatShape(shape)},
		{"dtype", "torch.float32"},
		{"device", "cpu"},
		{"size_bytes", strconv.Itoa(len(payload))},
	}
	for range max(1, count) {
		err := messages(uuid(), payload, metadata, s.chunkSize, func(message *frame) error { return stream.SendMsg(message) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *service) streamTensors(stream grpc.ServerStream) error {
	for {
		var message frame
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := renamed(message.buffers)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "not a TensorChunk: %v", err)
		}
		if err := stream.SendMsg(&frame{answer}); err != nil {
			return err
		}
	}
}

// renamed puts "processed_" before the chunk's id. The id stands first in what every encoder writes, so all after it
// stays where it is.
func renamed(message mem.BufferSlice) (mem.BufferSlice, error) {
	reader := message.Reader()
	defer reader.Close()
	tag, err := readVarint(reader)
	if err != nil {
		return nil, err
	}
	if tag != protowire.EncodeTag(chunkID, protowire.BytesType) {
		return nil, fmt.Errorf("the first field is not tensor_id")
	}
	size, err := readVarint(reader)
	if err != nil {
		return nil, err
	}
	id, err := readString(reader, int(size))
	if err != nil {
		return nil, err
	}
	skip := message.Len() - reader.Remaining()
	answer := mem.BufferSlice{mem.SliceBuffer(appendString(nil, chunkID, "processed_"+id))}
	for _, buffer := range message {
		if skip >= buffer.Len() {
			skip -= buffer.Len()
			buffer.Free()
			continue
		}
		if skip > 0 {
			head, rest := mem.SplitUnsafe(buffer, skip)
			head.Free()
			buffer, skip = rest, 0
		}
		answer = append(answer, buffer)
	}
	return answer, nil
}

func server(args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	host := flags.String("host", "127.0.0.1", "the address to listen on")
	port := flags.Int("port", 50051, "the port; 0: any free one")
	chunkSize := flags.Int("chunk-size", 1<<20, "bytes of a chunk")
	window := flags.Int("window", 16<<20, "bytes of a stream's receive window")
	if err := flags.Parse(args); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", net.JoinHostPort(*host, strconv.Itoa(*port)))
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.InitialWindowSize(int32(*window)),
		grpc.InitialConnWindowSize(int32(*window)),
		grpc.MaxRecvMsgSize(64<<20),
		grpc.ReadBufferSize(256<<10),
		grpc.WriteBufferSize(256<<10),
	)
	tensors := &service{chunkSize: *chunkSize, prepared: map[string][]byte{}}
	method := func(name string, client, server bool, handle func(grpc.ServerStream) error) grpc.StreamDesc {
		return grpc.StreamDesc{
			StreamName:    name,
			ClientStreams: client,
			ServerStreams: server,
			Handler:       func(_ any, stream grpc.ServerStream) error { return handle(stream) },
		}
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "kpu.torch.Service",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			method("ReceiveTensors", true, false, tensors.receiveTensors),
			method("SendTensors", false, true, tensors.sendTensors),
			method("StreamTensors", true, true, tensors.streamTensors),
		},
	}, tensors)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.Stop()
	}()
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"event": "listening",
		"port":  listener.Addr().(*net.TCPAddr).Port,
		"grpc":  grpc.Version,
	})
	if err != nil {
		return err
	}
	return server.Serve(listener)
}
