"""The same measurement on grpcio and torch, as the Python client works: torch.save, chunks, and torch.load."""

import io
import json
import resource
import sys
import time
import uuid

import grpc
import torch
from kpu.torch import service_pb2, service_pb2_grpc

mode, host, port, size, count, chunk_size, warm_up = sys.argv[1:8]
size, count, chunk_size = int(size), int(count), int(chunk_size)
torch.set_num_threads(1)
tensor = torch.randn(size // 4)

channel = grpc.insecure_channel(
    f"{host}:{port}",
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
stub = service_pb2_grpc.ServiceStub(channel)


def chunks(number):
    for _ in range(number):
        buffer = io.BytesIO()
        torch.save(tensor, buffer)
        payload = buffer.getvalue()
        total = max(1, -(-len(payload) // chunk_size))
        tensor_id = str(uuid.uuid4())
        metadata = {
            "shape": str(list(tensor.shape)),
            "dtype": str(tensor.dtype),
            "device": "cpu",
            "size_bytes": str(len(payload)),
        }
        for index in range(total):
            yield service_pb2.TensorChunk(
                tensor_id=tensor_id,
                chunk_number=index,
                data=payload[index * chunk_size : (index + 1) * chunk_size],
                total_chunks=total,
                is_last=index == total - 1,
                metadata=metadata if index == 0 else None,
            )


def read(responses, number):
    received = 0
    open_tensors = {}
    for chunk in responses:
        parts = open_tensors.setdefault(chunk.tensor_id, {})
        parts[chunk.chunk_number] = chunk.data
        if len(parts) == chunk.total_chunks:
            payload = b"".join(parts[index] for index in range(chunk.total_chunks))
            loaded = torch.load(io.BytesIO(payload), weights_only=True)
            assert loaded.numel() * 4 == size
            del open_tensors[chunk.tensor_id]
            received += 1
    assert received == number, (received, number)


def run(number):
    if mode == "send":
        response = stub.ReceiveTensors(chunks(number))
        assert len(response.received_tensor_ids) == number
    elif mode == "receive":
        read(stub.SendTensors(service_pb2.TensorRequest(count=number, parameters={"shape": str(size // 4)})), number)
    else:
        read(stub.StreamTensors(chunks(number)), number)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


run(int(warm_up))
before, started, used = resident(), time.perf_counter(), cpu()
run(count)
seconds, used = time.perf_counter() - started, cpu() - used
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"seconds": seconds, "cpuSeconds": used, "mebibytesAbove": (peak - before) / 2**20}))
