"""What the Python kubernetes client does in the same place: applies one by one, and waits with one watch a Compute.

Reads a JSON line of settings, answers each command on standard input with a JSON line.
"""

import asyncio
import json
import sys
import time

from kubernetes import client, config, watch

GROUP, VERSION, PLURAL = "compute.kpu.dev", "v1alpha1", "computes"


def reply(value):
    print(json.dumps(value), flush=True)


settings = json.loads(sys.stdin.readline())
config.load_kube_config(settings["kubeconfig"])
api = client.CustomObjectsApi()


def apply(namespace, name):
    api.patch_namespaced_custom_object(
        GROUP,
        VERSION,
        namespace,
        PLURAL,
        name,
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Compute",
            "metadata": {"name": name},
            "spec": {"image": "example/server", "suspend": False},
        },
        field_manager="kpu-python-client",
        force=True,
        _content_type="application/apply-patch+yaml",
    )


def is_ready(resource):
    conditions = resource.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def wait(namespace, name):
    """As the reference client waits: one watch of one name."""
    selector = f"metadata.name={name}"
    stream = watch.Watch().stream(
        api.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL, field_selector=selector, timeout_seconds=300
    )
    for event in stream:
        if is_ready(event["object"]):
            return time.time() * 1000
    return None


async def wait_all(namespace, names):
    return await asyncio.gather(*(asyncio.to_thread(wait, namespace, name) for name in names))


for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "apply":
        started, cpu = time.perf_counter(), time.process_time()
        for name in command["names"]:
            apply(command["namespace"], name)
        reply({"seconds": time.perf_counter() - started, "cpuSeconds": time.process_time() - cpu})
    elif command["do"] == "wait":
        reply({"waiting": len(command["names"])})
        reply({"verdicts": asyncio.run(wait_all(command["namespace"], command["names"]))})
