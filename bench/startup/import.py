"""What the Python client's imports cost."""

import json
import resource
import time


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


before, begun, cpu = rss(), time.perf_counter(), time.process_time()
import grpc  # noqa: E402, F401
import kubernetes  # noqa: E402, F401
import torch  # noqa: E402, F401
from kpu.torch import service_pb2_grpc  # noqa: E402, F401

print(
    json.dumps(
        {
            "millis": 1000 * (time.perf_counter() - begun),
            "cpuMillis": 1000 * (time.process_time() - cpu),
            "rssBytes": rss() - before,
            "heldBytes": rss() - before,
        }
    )
)
