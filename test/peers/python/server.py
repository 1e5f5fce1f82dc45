"""The tensor service on grpcio and torch: the counterpart that the interop tests and the benchmarks talk to.

It does what the KPU tensor server does on the wire: errors while receiving are in-band, a tensor is complete when as many
distinct chunks have come as the current chunk's total_chunks says, StreamTensors writes while it reads.

For tests it also takes flags of its own: it can keep what it receives as files, send tensors from files, hand bytes
through without torch, and it writes what happens as one JSON object a line on standard output. A request's parameter
`chunk_size`, or that entry in the metadata of a tensor to echo, cuts the answer: bytes, or `payload`, `payload-1` or
`payload+1` for chunks of the payload's own size and one byte beside it.
"""

import argparse
import hashlib
import io
import json
import os
import signal
import sys
import threading
import uuid
from concurrent import futures

import grpc

try:
    from kpu.torch import service_pb2, service_pb2_grpc
except ImportError:
    sys.exit("The generated code of proto/kpu/torch/service.proto is missing: run `npm run peers`")

torch = None  # imported in main, unless bytes are only handed through

_output = threading.Lock()


def event(name, **fields):
    with _output:
        sys.stdout.write(json.dumps({"event": name, **fields}) + "\n")
        sys.stdout.flush()


class Assembler:
    """Puts chunks together again, in any order, several tensors at a time."""

    def __init__(self):
        self._open = {}

    def add(self, chunk):
        """Gives (metadata, payload) when `chunk` was the last one missing, else None."""
        chunks, metadata = self._open.setdefault(chunk.tensor_id, ({}, {}))
        chunks[chunk.chunk_number] = chunk.data
        if chunk.chunk_number == 0:
            metadata.update(chunk.metadata)
        if len(chunks) < chunk.total_chunks:
            return None
        del self._open[chunk.tensor_id]
        return metadata, b"".join(chunks[number] for number in sorted(chunks))


def chunks_of(tensor_id, payload, metadata, size):
    total = max(1, -(-len(payload) // size))
    view = memoryview(payload)
    for number in range(total):
        yield service_pb2.TensorChunk(
            tensor_id=tensor_id,
            chunk_number=number,
            data=bytes(view[number * size : (number + 1) * size]),
            total_chunks=total,
            is_last=number == total - 1,
            metadata=metadata if number == 0 else None,
        )


def chunk_size(asked, payload, default):
    if not asked:
        return default
    if asked.startswith("payload"):
        return len(payload) + int(asked[len("payload") :] or 0)
    return int(asked)


def digest(tensor):
    """The SHA-256 of the elements, row-major."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return hashlib.sha256(plain.view(torch.uint8).numpy()).hexdigest()


def save(tensor):
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


def describe(tensor, payload):
    return {
        "shape": str(list(tensor.shape)),
        "dtype": str(tensor.dtype),
        "device": str(tensor.device),
        "size_bytes": str(len(payload)),
    }


class Service(service_pb2_grpc.ServiceServicer):
    def __init__(self, options):
        self._options = options
        self._calls = 0
        self._saved = 0
        self._lock = threading.Lock()

    def _begin(self, method, context):
        with self._lock:
            self._calls += 1
            call = self._calls
        state = {"call": call, "method": method, "finished": False, "over": threading.Event()}
        metadata = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)
        }
        event("call", call=call, method=method, metadata=metadata, peer=context.peer())

        def ended():
            event("ended" if state["finished"] else "cancelled", call=call, method=method)
            state["over"].set()

        # A call that was cancelled before its handler came here has no callbacks any more.
        if not context.add_callback(ended):
            ended()
        return state

    def _sent_all(self, state):
        """After the last request: a cancelled call can look to its handler like one whose client has sent all. The
        word of the cancellation is then right behind, and the events should tell the two apart."""
        if not self._options.quiet:
            state["over"].wait(0.05)

    def _received(self, state, tensor_id, metadata, payload):
        """Reads the tensor, and keeps it where the tests want to see it."""
        options = self._options
        fields = {"call": state["call"], "id": tensor_id, "bytes": len(payload), "metadata": dict(metadata)}
        tensor = None
        if not options.pass_through:
            tensor = torch.load(io.BytesIO(payload), weights_only=not options.unsafe_load)
            fields.update(shape=list(tensor.shape), dtype=str(tensor.dtype))
            if options.digest:
                fields["sha256"] = digest(tensor)
        if options.save:
            with self._lock:
                number = self._saved
                self._saved += 1
            base = os.path.join(options.save, f"{number:06d}")
            with open(base + ".payload.pt", "wb") as file:
                file.write(payload)
            fields["payload"] = base + ".payload.pt"
            if tensor is not None:
                torch.save(tensor, base + ".pt")
                fields["file"] = base + ".pt"
        if not options.quiet:
            event("received", **fields)
        return tensor

    def ReceiveTensors(self, request_iterator, context):
        state = self._begin("ReceiveTensors", context)
        ids = []
        assembler = Assembler()
        try:
            for chunk in request_iterator:
                done = assembler.add(chunk)
                if done is not None:
                    self._received(state, chunk.tensor_id, *done)
                    ids.append(chunk.tensor_id)
            self._sent_all(state)
            response = service_pb2.TensorResponse(
                success=True, message=f"Received {len(ids)} tensor(s)", received_tensor_ids=ids
            )
        except Exception as error:
            if not context.is_active():
                raise
            response = service_pb2.TensorResponse(success=False, message=f"Error: {error}", received_tensor_ids=ids)
        state["finished"] = True
        return response

    def _tensors(self, request):
        count = request.count or 1
        options = self._options
        if options.serve:
            names = sorted(name for name in os.listdir(options.serve) if name.endswith(".pt"))
            for number in range(count):
                path = os.path.join(options.serve, names[number % len(names)])
                if options.pass_through:
                    with open(path, "rb") as file:
                        payload = file.read()
                    yield payload, {"size_bytes": str(len(payload))}
                else:
                    tensor = torch.load(path, weights_only=not options.unsafe_load)
                    payload = save(tensor)
                    yield payload, describe(tensor, payload)
            return
        try:
            shape = [int(part) for part in request.parameters["shape"].split(",")]
        except ValueError:
            shape = [10, 10]
        for _ in range(count):
            tensor = torch.randn(*shape)
            if options.digest:
                event("made", sha256=digest(tensor))
            payload = save(tensor)
            yield payload, describe(tensor, payload)

    def SendTensors(self, request, context):
        state = self._begin("SendTensors", context)
        try:
            for payload, metadata in self._tensors(request):
                size = chunk_size(request.parameters["chunk_size"], payload, self._options.chunk_size)
                for chunk in chunks_of(str(uuid.uuid4()), payload, metadata, size):
                    yield chunk
        except Exception as error:
            state["finished"] = True
            context.abort(grpc.StatusCode.INTERNAL, f"Error sending tensors: {error}")
        state["finished"] = True

    def StreamTensors(self, request_iterator, context):
        state = self._begin("StreamTensors", context)
        assembler = Assembler()
        try:
            for chunk in request_iterator:
                done = assembler.add(chunk)
                if done is None:
                    continue
                metadata, payload = done
                asked = metadata.get("chunk_size")
                tensor = self._received(state, chunk.tensor_id, metadata, payload)
                if tensor is not None:
                    payload = save(tensor)
                    metadata = describe(tensor, payload)
                size = chunk_size(asked, payload, self._options.chunk_size)
                for answer in chunks_of("processed_" + chunk.tensor_id, payload, metadata, size):
                    yield answer
            self._sent_all(state)
        except Exception as error:
            if not context.is_active():
                raise
            state["finished"] = True
            context.abort(grpc.StatusCode.INTERNAL, f"Error streaming tensors: {error}")
        state["finished"] = True


def main():
    global torch
    env = os.environ
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default=env.get("KPU_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=int(env.get("KPU_PORT", "50051")), help="0: any free one")
    parser.add_argument("--chunk-size", type=int, default=int(env.get("KPU_CHUNK_SIZE", str(1024 * 1024))))
    parser.add_argument("--log-level", default=env.get("KPU_LOG_LEVEL", "INFO"), help="DEBUG writes errors' traces")
    tests = parser.add_argument_group("for tests")
    tests.add_argument("--save", metavar="FOLDER", help="keep each tensor received, as N.pt (saved by torch) and N.payload.pt")
    tests.add_argument("--serve", metavar="FOLDER", help="SendTensors sends the .pt files of this folder, in their names' order")
    tests.add_argument("--pass-through", action="store_true", help="hand the bytes on without torch")
    tests.add_argument("--unsafe-load", action="store_true", help="torch.load with weights_only=False")
    tests.add_argument("--digest", action="store_true", help="the SHA-256 of each tensor's elements in its event")
    tests.add_argument("--quiet", action="store_true", help="no event for each tensor received")
    tests.add_argument("--workers", type=int, default=64, help="calls at the same time")
    options = parser.parse_args()

    if not options.pass_through:
        import torch as imported

        torch = imported
        torch.set_num_threads(1)

    # Message sizes stay at gRPC's defaults on purpose: 4 MiB for what is received.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=options.workers))
    service_pb2_grpc.add_ServiceServicer_to_server(Service(options), server)
    port = server.add_insecure_port(f"{options.host}:{options.port}")
    server.start()

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    event("listening", port=port, torch=None if torch is None else torch.__version__, grpc=grpc.__version__)
    stopping.wait()
    server.stop(grace=1).wait()


if __name__ == "__main__":
    main()
