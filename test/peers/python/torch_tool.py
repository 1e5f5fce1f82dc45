"""What tests ask of PyTorch itself: make files of tensors, compare files bit by bit, dump a file's elements.

It reads one JSON object a line from standard input and answers each with one line: {"ok": ...} or {"error": "..."}.
It runs on PyTorch 1.13 and 2.9 alike; what a version lacks (a dtype, a layout) is answered as skipped, with the reason.

{"op": "version"}
{"op": "make", "folder": F, "cases": [{"name", "dtype", "shape", "layout"?, "seed"?, "fill"?, "legacy"?}]}
    -> [{"name", "file", "dtype", "shape", "bytes"}] or {"name", "skipped"}; "bytes" is the file of the expected elements,
    row-major and little-endian. Layouts: contiguous, transposed, slice, step, expanded, channels_last, conj, neg,
    neg_view, conj_neg, parameter, requires_grad. Fill: "bits" (any bit pattern: NaN payloads, -0, infinities) or "values" (0, 1, 2, ...).
{"op": "make_special", "folder": F, "kinds": [...]}
    -> files that are no single plain tensor (the kinds are those of `special`), with the tensors inside ("tensors": [{"name", "dtype", "shape", "bytes"}]) where
    there are any to read
{"op": "dump", "folder": F, "files": [...], "weights_only"?: true, "mmap"?: false}
    -> [{"file", "tensors": [{"name", "dtype", "shape", "bytes", "requires_grad", "parameter", "contiguous", "storage"}]}]
{"op": "equal", "pairs": [[A, B]], "weights_only"?: true}
    -> [{"equal", "bits", "why"?}]: `bits` compares dtype, shape and every bit of the elements; `equal` is torch.equal
{"op": "resave", "files": [...], "weights_only"?: true}
    -> [{"file"}]: what torch.load makes of each file, saved again by torch.save; or {"skipped"} for what this version lacks
"""

import collections
import ctypes
import itertools
import json
import os
import random
import sys
import warnings

import torch

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


def name_of(dtype):
    return str(dtype).replace("torch.", "")


def elements(tensor):
    """The elements' bytes, row-major, conjugation and negation carried out."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    size = plain.numel() * plain.element_size()
    return ctypes.string_at(plain.data_ptr(), size) if size else b""


def from_bytes(data, dtype, shape):
    tensor = torch.empty(shape, dtype=dtype)
    if data:
        ctypes.memmove(tensor.data_ptr(), data, len(data))
    return tensor


def filled(dtype, shape, fill, seed):
    count = 1
    for size in shape:
        count *= size
    width = torch.empty(1, dtype=dtype).element_size()
    if fill == "values":
        values = torch.arange(count)
        if dtype == torch.bool:
            return (values % 2 == 1).reshape(shape)
        return (values % 100).to(torch.float32).to(dtype).reshape(shape)
    data = random.Random(seed).randbytes(count * width)
    if dtype == torch.bool:
        data = bytes(byte & 1 for byte in data)
    return from_bytes(data, dtype, shape)


def laid_out(dtype, shape, layout, fill, seed):
    """A tensor of `shape` whose storage is laid out as `layout` says."""
    if layout == "transposed":
        return filled(dtype, shape[::-1], fill, seed).permute(*reversed(range(len(shape))))
    if layout == "slice":
        base = filled(dtype, [shape[0] + 5] + shape[1:], fill, seed)
        return base[3 : 3 + shape[0]]
    if layout == "step":
        base = filled(dtype, shape[:-1] + [shape[-1] * 3 + 2], fill, seed)
        return base[..., 1 : 1 + shape[-1] * 3 : 3]
    if layout == "expanded":
        return filled(dtype, [1] + shape[1:], fill, seed).expand(*shape)
    if layout == "channels_last":
        return filled(dtype, shape, fill, seed).contiguous(memory_format=torch.channels_last)
    tensor = filled(dtype, shape, fill, seed)
    if layout == "contiguous":
        return tensor
    if layout == "conj":
        lazy = tensor.conj()
        assert lazy.is_conj()
        return lazy
    if layout == "neg":
        lazy = torch.complex(filled(dtype, shape, fill, seed), tensor).conj().imag
        assert lazy.is_neg()
        return lazy
    if layout == "neg_view":
        lazy = torch._neg_view(tensor)
        assert lazy.is_neg()
        return lazy
    if layout == "conj_neg":
        lazy = torch._neg_view(tensor.conj())
        assert lazy.is_neg() and lazy.is_conj()
        return lazy
    if layout == "parameter":
        return torch.nn.Parameter(tensor, requires_grad=tensor.is_floating_point() or tensor.is_complex())
    if layout == "requires_grad":
        return tensor.requires_grad_()
    raise ValueError(f"unknown layout {layout}")


def save_expected(folder, name, tensor):
    path = os.path.join(folder, name + ".bin")
    with open(path, "wb") as file:
        file.write(elements(tensor))
    return {"name": name, "dtype": name_of(tensor.dtype), "shape": list(tensor.shape), "bytes": path}


# What PyTorch raises for a dtype or a layout that it cannot make or save.
UNSUPPORTED = (RuntimeError, NotImplementedError, TypeError, AttributeError, KeyError)


def skipped(folder, name, error):
    try:
        os.remove(os.path.join(folder, name + ".pt"))  # half a file
    except FileNotFoundError:
        pass
    return {"name": name, "skipped": f"PyTorch {torch.__version__}: {error}".splitlines()[0]}


def make(request):
    folder = request["folder"]
    answers = []
    for case in request["cases"]:
        dtype = getattr(torch, case["dtype"], None)
        if dtype is None:
            answers.append({"name": case["name"], "skipped": f"PyTorch {torch.__version__} has no {case['dtype']}"})
            continue
        try:
            tensor = laid_out(
                dtype,
                list(case["shape"]),
                case.get("layout", "contiguous"),
                case.get("fill", "bits"),
                case.get("seed", 0),
            )
            path = os.path.join(folder, case["name"] + ".pt")
            torch.save(tensor, path, _use_new_zipfile_serialization=not case.get("legacy", False))
            if elements(torch.load(path)) != elements(tensor):
                # PyTorch 1.13 forgets a lazy conjugation or negation.
                raise RuntimeError(f"torch.save does not keep {case.get('layout')}")
            answers.append({**save_expected(folder, case["name"], tensor), "file": path})
        except UNSUPPORTED as error:
            answers.append(skipped(folder, case["name"], error))
    return answers


class Custom:
    def __init__(self):
        self.value = 1


def special(kind):
    """What to save, and the tensors in it by the names that a reader should give them."""
    first = filled(torch.float32, [3, 4], "bits", 1)
    second = filled(torch.int64, [5], "bits", 2)
    if kind == "list":
        return [first, second], {"0": first, "1": second}
    if kind == "dict":
        return {"first": first, "second": second}, {"first": first, "second": second}
    if kind == "nested":
        return {"a": {"b": [first]}, "n": 1, "s": "text", "t": second}, {"a.b.0": first, "t": second}
    if kind == "shared":
        base = filled(torch.float32, [4, 6], "bits", 3)
        views = {"base": base, "row": base[1], "column": base[:, 2], "again": base}
        return views, views
    if kind == "state_dict":
        torch.manual_seed(4)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3),
            torch.nn.BatchNorm2d(8),
            torch.nn.Linear(8, 5),
            torch.nn.LSTM(5, 7, num_layers=2),
        )
        state = model.state_dict()
        return state, dict(state)
    if kind == "transformer":
        torch.manual_seed(4)
        # The two embeddings are one: their weights are tied.
        model = torch.nn.ModuleDict(
            {
                "source": torch.nn.Embedding(11, 16),
                "transformer": torch.nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
                "norm": torch.nn.BatchNorm1d(16),
                "out": torch.nn.Linear(16, 11, bias=False),
            }
        )
        model["out"].weight = model["source"].weight
        state = model.state_dict()
        return state, dict(state)
    if kind == "checkpoint":
        torch.manual_seed(4)
        model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
        model(torch.ones(3, 4)).sum().backward()
        optimizer.step()
        scheduler.step()
        value = {
            "epoch": 3,
            "loss": 0.25,
            "best": None,
            "note": "größe",
            "seed": 2**70,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }
        return value, dict(tensors_in(value))
    if kind == "tuple":
        return (first, second), {"0": first, "1": second}
    if kind == "parameters":
        torch.manual_seed(4)
        parameters = list(torch.nn.Linear(3, 2).parameters())
        return parameters, {str(number): each for number, each in enumerate(parameters)}
    if kind == "legacy":
        return first, {}
    if kind == "sparse_csc":
        return torch.eye(4).to_sparse_csc(), {}
    if kind == "sparse_bsr":
        return torch.eye(4).to_sparse_bsr((2, 2)), {}
    if kind == "per_channel":
        scales, zeros = torch.tensor([0.1, 0.2]), torch.tensor([0, 0])
        return torch.quantize_per_channel(torch.ones(2, 3), scales, zeros, 0, torch.qint8), {}
    if kind == "quint4x2":
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint4x2), {}
    if kind == "bits":
        return torch.empty(4, dtype=torch.bits8), {}
    if kind == "nested_tensor":
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), {}
    if kind == "meta":
        return torch.empty(3, device="meta"), {}
    if kind == "subclass":
        from torch.masked import masked_tensor

        return masked_tensor(torch.ones(2), torch.tensor([True, False])), {}
    if kind == "module":
        return torch.nn.Linear(2, 2), {}
    if kind == "size":
        return torch.Size([1, 2]), {}
    if kind == "dtype":
        return {"weight": first, "dtype": torch.float32}, {}
    if kind == "storage":
        return {"weight": first.untyped_storage() if hasattr(first, "untyped_storage") else first.storage()}, {}
    if kind == "set":
        return {"a": {1, 2}}, {}
    if kind == "script":
        return torch.jit.script(torch.nn.Linear(2, 2)), {}
    if kind == "sparse":
        return first.to_sparse(), {}
    if kind == "sparse_csr":
        return torch.eye(4).to_sparse_csr(), {}
    if kind == "quantized":
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8), {}
    if kind == "ndarray":
        import numpy

        return numpy.arange(6), {}
    if kind == "object":
        return Custom(), {}
    if kind == "attributes":
        first.note = "has an attribute"
        return first, {}
    if kind == "float4":
        return torch.empty(4, dtype=torch.float4_e2m1fn_x2), {}
    raise ValueError(f"unknown kind {kind}")


def make_special(request):
    answers = []
    for kind in request["kinds"]:
        try:
            value, tensors = special(kind)
            path = os.path.join(request["folder"], kind + ".pt")
            if kind == "script":
                torch.jit.save(value, path)
            else:
                torch.save(value, path, _use_new_zipfile_serialization=kind != "legacy")
        except (*UNSUPPORTED, ImportError) as error:
            answers.append(skipped(request["folder"], kind, error))
            continue
        expected = [
            {**save_expected(request["folder"], f"{kind}.{name}", tensor), "name": name}
            for name, tensor in tensors.items()
        ]
        answers.append({"name": kind, "file": path, "tensors": expected})
    return answers


def tensors_in(value, prefix=""):
    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from tensors_in(item, f"{prefix}.{number}" if prefix else str(number))


def load(path, request):
    # PyTorch 1.13 takes weights_only too; False there is what its users have.
    more = {"mmap": True} if request.get("mmap") else {}
    return torch.load(path, map_location="cpu", weights_only=request.get("weights_only", True), **more)


dumps = itertools.count()


def dump(request):
    answers = []
    for path in request["files"]:
        try:
            value = load(path, request)
        except Exception as error:
            answers.append({"file": path, "error": f"{type(error).__name__}: {error}"})
            continue
        tensors = []
        for name, tensor in tensors_in(value):
            saved = save_expected(request["folder"], f"dump-{next(dumps)}", tensor)
            storage = tensor.storage()
            tensors.append(
                {
                    **saved,
                    "name": name,
                    "requires_grad": tensor.requires_grad,
                    "parameter": isinstance(tensor, torch.nn.Parameter),
                    "contiguous": tensor.is_contiguous(),
                    "storage": storage.size() * storage.element_size(),
                }
            )
        answers.append({"file": path, "tensors": tensors})
    return answers


def equal(request):
    answers = []
    for first_path, second_path in request["pairs"]:
        try:
            first, second = load(first_path, request), load(second_path, request)
        except Exception as error:
            answers.append({"equal": False, "bits": False, "why": f"{type(error).__name__}: {error}"})
            continue
        why = None
        if first.dtype != second.dtype:
            why = f"{first.dtype} and {second.dtype}"
        elif first.shape != second.shape:
            why = f"{list(first.shape)} and {list(second.shape)}"
        elif elements(first) != elements(second):
            why = "the elements differ"
        try:
            same = torch.equal(first, second)
        except (RuntimeError, NotImplementedError):
            same = None  # not implemented for this dtype
        answers.append({"equal": same, "bits": why is None, **({} if why is None else {"why": why})})
    return answers


def resave(request):
    answers = []
    for path in request["files"]:
        again = path[: -len(".pt")] + ".again.pt"
        try:
            torch.save(load(path, request), again)
            answers.append({"file": again})
        except Exception as error:
            answers.append({"skipped": f"PyTorch {torch.__version__}: {error}".splitlines()[0]})
    return answers


def version(request):
    return {"torch": torch.__version__, "python": sys.version.split()[0]}


OPERATIONS = {"version": version, "make": make, "make_special": make_special, "dump": dump, "equal": equal, "resave": resave}

for line in sys.stdin:
    try:
        request = json.loads(line)
        answer = {"ok": OPERATIONS[request["op"]](request)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
