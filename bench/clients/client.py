"""The Python client on grpcio's asyncio API and torch: torch.save, chunks, and torch.load of what comes back. The file is
taken from its buffer and put together again the way the reference client does it: `seek(0)` and `read()`, whole parts
joined in the order of their numbers, `torch.load` with `weights_only=False`.

Reads one job a line from standard input and answers with one outcome a line (clients/protocol.ts)."""

import asyncio
import io
import json
import resource
import sys
import time
import uuid

import grpc
import torch
from kpu.torch import service_pb2, service_pb2_grpc

torch.set_num_threads(1)

stubs = {}
tensor = torch.zeros(0)


def stub(job):
    port = job["port"]
    if port not in stubs:
        stubs[port] = service_pb2_grpc.ServiceStub(grpc.aio.insecure_channel(f"{job['host']}:{port}"))
    return stubs[port]


async def chunks(count, size):
    for _ in range(count):
        buffer = io.BytesIO()
        torch.save(tensor, buffer)
        buffer.seek(0)
        payload = buffer.read()
        tensor_id = str(uuid.uuid4())
        total = max(1, -(-len(payload) // size))
        metadata = {
            "shape": str(list(tensor.shape)),
            "dtype": str(tensor.dtype),
            "device": "cpu",
            "size_bytes": str(len(payload)),
        }
        for number in range(total):
            yield service_pb2.TensorChunk(
                tensor_id=tensor_id,
                chunk_number=number,
                data=payload[number * size : (number + 1) * size],
                total_chunks=total,
                is_last=number == total - 1,
                metadata=metadata if number == 0 else None,
            )


async def take(answers):
    """The tensors of a stream of chunks; gives the bytes of their elements."""
    parts = {}
    moved = 0
    async for chunk in answers:
        data = parts.setdefault(chunk.tensor_id, {})
        data[chunk.chunk_number] = chunk.data
        if len(data) == chunk.total_chunks:
            del parts[chunk.tensor_id]
            payload = b"".join(data[number] for number in sorted(data))
            loaded = torch.load(io.BytesIO(payload), weights_only=False)
            moved += loaded.numel() * loaded.element_size()
    return moved


async def run(job):
    service = stub(job)
    direction, count, size = job["direction"], job["count"], job["chunkSize"]
    if direction == "send":
        response = await service.ReceiveTensors(chunks(count, size))
        if not response.success:
            raise RuntimeError(response.message)
        return len(response.received_tensor_ids) * tensor.numel() * 4, None
    if direction == "receive":
        request = service_pb2.TensorRequest(count=count, parameters={"shape": str(job["elements"])})
        return await take(service.SendTensors(request)), None
    if direction == "bidirectional":
        return await take(service.StreamTensors(chunks(count, size))), None
    moved, samples = 0, []
    for _ in range(count):
        begun = time.perf_counter()
        moved += await take(service.StreamTensors(chunks(1, size)))
        samples.append(1e6 * (time.perf_counter() - begun))
    return moved, samples


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def main():
    global tensor
    for line in sys.stdin:
        job = json.loads(line)
        if tensor.numel() != job["elements"]:
            tensor = torch.zeros(0)
            if job["direction"] != "receive":
                tensor = torch.randn(job["elements"])
        start_rss = rss()
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        moved, samples = await run(job)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
        if moved != 4 * job["elements"] * job["count"]:
            sys.exit(f"moved {moved} bytes")
        outcome = {
            "seconds": seconds,
            "cpuSeconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "bytes": moved,
            "startRssBytes": start_rss,
            "peakRssBytes": after.ru_maxrss * 1024,
        }
        if samples is not None:
            outcome["samples"] = samples
        print(json.dumps(outcome), flush=True)


asyncio.run(main())
