package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"effect-kpu/test/peers/kputensor/wire"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A round is one measurement, written as one JSON object a line.
type round struct {
	Operation  string  `json:"operation"`
	Tensors    int     `json:"tensors"`
	Bytes      int64   `json:"bytes"` // of elements, one way
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpuSeconds"` // of this process, user and system
}

func cpu() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails for bad arguments only
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// sendAll writes count tensors as chunks: the archive's header and trailer are made for each, its CRC-32 is computed for
// each, and the elements are copied once, by the protobuf encoding.
func sendAll(send func(*wire.TensorChunk) error, shape []int, elements []byte, count, size int) error {
	for range count {
		head, tail := torchParts(shape, elements)
		payload := len(head) + len(elements) + len(tail)
		total := max(1, (payload+size-1)/size)
		id := uuid()
		for number := range total {
			from, to := number*size, min(payload, (number+1)*size)
			chunk := &wire.TensorChunk{
				TensorId:    id,
				ChunkNumber: uint32(number),
				TotalChunks: uint32(total),
				IsLast:      number == total-1,
				Data:        cut(from, to, head, elements, tail),
			}
			if number == 0 {
				chunk.Metadata = map[string]string{
					"shape":      formatShape(shape),
					"dtype":      "torch.float32",
					"device":     "cpu",
					"size_bytes": strconv.Itoa(payload),
				}
			}
			if err := send(chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut gives the bytes from..to of the parts put one after another; within one part it gives that part's own memory.
func cut(from, to int, parts ...[]byte) []byte {
	var joined []byte
	for _, part := range parts {
		low, high := max(0, from), min(len(part), to)
		if low < high {
			if joined == nil && high-low == to-from {
				return part[low:high]
			}
			joined = append(joined, part[low:high]...)
		}
		from, to = from-len(part), to-len(part)
		if from < 0 {
			from = 0
		}
		if to <= 0 {
			break
		}
	}
	return joined
}

// receiveAll puts tensors together, each in memory allocated once, and hands out their elements, CRC-32 verified.
func receiveAll(receive func() (*wire.TensorChunk, error), size int) (tensors int, elements int64, err error) {
	type assembly struct {
		payload []byte
		missing uint32
	}
	open := map[string]*assembly{}
	for {
		chunk, err := receive()
		if errors.Is(err, io.EOF) {
			if len(open) > 0 {
				return tensors, elements, fmt.Errorf("%d tensors are incomplete", len(open))
			}
			return tensors, elements, nil
		}
		if err != nil {
			return tensors, elements, err
		}
		tensor := open[chunk.TensorId]
		if tensor == nil {
			bytes, err := strconv.Atoi(chunk.Metadata["size_bytes"])
			if err != nil {
				return tensors, elements, fmt.Errorf("size_bytes: %w", err)
			}
			tensor = &assembly{make([]byte, bytes), chunk.TotalChunks}
			open[chunk.TensorId] = tensor
		}
		copy(tensor.payload[int(chunk.ChunkNumber)*size:], chunk.Data)
		tensor.missing--
		if tensor.missing > 0 {
			continue
		}
		delete(open, chunk.TensorId)
		data, checksum, err := torchElements(tensor.payload)
		if err != nil {
			return tensors, elements, err
		}
		if crc32.ChecksumIEEE(data) != checksum {
			return tensors, elements, errors.New("the elements do not have the archive's CRC-32")
		}
		tensors++
		elements += int64(len(data))
	}
}

func client(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	address := flags.String("address", "127.0.0.1:50051", "the server")
	operation := flags.String("operation", "send", "send, receive or stream")
	tensors := flags.Int("tensors", 8, "tensors of a round")
	shapeText := flags.String("shape", "4096,4096", "the tensors' shape; float32")
	rounds := flags.Int("rounds", 1, "measured rounds")
	warmup := flags.Int("warmup", 1, "rounds before those")
	chunkSize := flags.Int("chunk-size", 1<<20, "bytes of a chunk; the server's, when receiving")
	window := flags.Int("window", 16<<20, "bytes of the receive window")
	if err := flags.Parse(args); err != nil {
		return err
	}
	shape, err := parseShape(*shapeText)
	if err != nil {
		return err
	}
	elements := noise(shape)

	connection, err := grpc.NewClient(*address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(int32(*window)),
		grpc.WithInitialConnWindowSize(int32(*window)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	service := wire.NewServiceClient(connection)

	operate := map[string]func() (int, error){
		"send": func() (int, error) {
			stream, err := service.ReceiveTensors(context.Background())
			if err != nil {
				return 0, err
			}
			if err := sendAll(stream.Send, shape, elements, *tensors, *chunkSize); err != nil {
				return 0, err
			}
			response, err := stream.CloseAndRecv()
			if err != nil {
				return 0, err
			}
			if !response.Success {
				return 0, errors.New(response.Message)
			}
			return len(response.ReceivedTensorIds), nil
		},
		"receive": func() (int, error) {
			stream, err := service.SendTensors(context.Background(), &wire.TensorRequest{
				Count:      uint32(*tensors),
				Parameters: map[string]string{"shape": *shapeText},
			})
			if err != nil {
				return 0, err
			}
			received, _, err := receiveAll(stream.Recv, *chunkSize)
			return received, err
		},
		"stream": func() (int, error) {
			// A failed receiver cancels the call: a sender blocked on the window would wait for ever.
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stream, err := service.StreamTensors(ctx)
			if err != nil {
				return 0, err
			}
			sent := make(chan error, 1)
			go func() {
				err := sendAll(stream.Send, shape, elements, *tensors, *chunkSize)
				if err == nil {
					err = stream.CloseSend()
				}
				sent <- err
			}()
			received, _, err := receiveAll(stream.Recv, *chunkSize)
			if err != nil {
				return received, err
			}
			return received, <-sent
		},
	}[*operation]
	if operate == nil {
		return fmt.Errorf("kputensor: unknown operation %q", *operation)
	}

	output := json.NewEncoder(os.Stdout)
	for number := range *warmup + *rounds {
		began, used := time.Now(), cpu()
		done, err := operate()
		if err != nil {
			return err
		}
		if done != *tensors {
			return fmt.Errorf("%d of %d tensors came through", done, *tensors)
		}
		if number < *warmup {
			continue
		}
		result := round{
			Operation:  *operation,
			Tensors:    *tensors,
			Bytes:      int64(*tensors) * int64(len(elements)),
			Seconds:    time.Since(began).Seconds(),
			CPUSeconds: cpu() - used,
		}
		if err := output.Encode(result); err != nil {
			return err
		}
	}
	return nil
}
