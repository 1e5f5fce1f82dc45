"""Sends one tensor to the Compute `first` and ends, as the Python client does it. The argument is the gateway's address."""

import asyncio
import io
import json
import sys
import uuid

import grpc
import kubernetes
import torch
from kpu.torch import service_pb2, service_pb2_grpc


async def main():
    kubernetes.config.load_kube_config()
    api = kubernetes.client.CustomObjectsApi()
    while True:
        resource = api.get_namespaced_custom_object("compute.kpu.dev", "v1alpha1", "default", "computes", "first")
        conditions = resource.get("status", {}).get("conditions", [])
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            break
        await asyncio.sleep(0.1)
    buffer = io.BytesIO()
    torch.save(torch.randn(10, 10), buffer)
    payload = buffer.getvalue()

    async def chunks():
        yield service_pb2.TensorChunk(
            tensor_id=str(uuid.uuid4()),
            data=payload,
            total_chunks=1,
            is_last=True,
            metadata={"shape": "[10, 10]", "dtype": "torch.float32", "device": "cpu", "size_bytes": str(len(payload))},
        )

    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        stub = service_pb2_grpc.ServiceStub(channel)
        response = await stub.ReceiveTensors(chunks(), metadata=(("compute-id", "default/first"),))
        print(json.dumps({"sent": len(response.received_tensor_ids)}), flush=True)


asyncio.run(main())
