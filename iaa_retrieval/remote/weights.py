"""A backbone in a bundle: its weights rounded to fp16 on the way there, and fp32 numbers of those values there.

fp16 weights compress badly, but for the byte that holds sign and exponent, which is kept apart and compressed.
"""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.files import read_json, write_json

WEIGHTS = "model.safetensors"
OTHER, SHAPES, MANTISSAS, EXPONENTS = "other.safetensors", "weights.json", "weights.low", "weights.high.xz"
# What says how a network is built and how text becomes tokens; pages, examples and other forms of weights stay behind.
_SUFFIXES = (".json", ".txt", ".model")
_LARGEST = 4 << 20


def halve(source: Path, target: Path) -> None:
    """Write a backbone with its weights rounded to fp16.

    Args:
        source: a directory that ``from_pretrained`` takes, with its weights in one ``model.safetensors``.
        target: a directory to make.

    Raises:
        IaaRetrievalError: it holds no such file, or a weight that fp16 cannot hold.
    """
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file

    if not (source / WEIGHTS).is_file():
        raise IaaRetrievalError(
            f"{source} holds no {WEIGHTS}; only a backbone whose weights are in that file is bundled"
        )
    target.mkdir(parents=True)
    for file in sorted(source.rglob("*")):
        if file.suffix in _SUFFIXES and file.stat().st_size <= _LARGEST and file.name != SHAPES:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    weights = load_file(source / WEIGHTS)
    shapes, mantissas, exponents = {}, [], []
    for name in sorted(weights):
        tensor = weights[name]
        if tensor.is_floating_point():
            half = tensor.to(torch.float16).contiguous()
            if not torch.isfinite(half).all():
                raise IaaRetrievalError(f"{source / WEIGHTS}: {name} has weights that fp16 cannot hold")
            planes = half.reshape(-1).numpy().view(np.uint8).reshape(-1, 2)
            shapes[name] = list(tensor.shape)
            mantissas.append(planes[:, 0].tobytes())
            exponents.append(planes[:, 1].tobytes())
    write_json(target / SHAPES, shapes)
    (target / MANTISSAS).write_bytes(b"".join(mantissas))
    (target / EXPONENTS).write_bytes(lzma.compress(b"".join(exponents)))
    save_file({name: weights[name].contiguous() for name in weights if name not in shapes}, target / OTHER)


def restore(directory: Path) -> None:
    """Put the weights of a halved backbone together again, in place: ``model.safetensors`` with fp32 numbers."""
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file

    low = np.frombuffer((directory / MANTISSAS).read_bytes(), dtype=np.uint8)
    high = np.frombuffer(lzma.decompress((directory / EXPONENTS).read_bytes()), dtype=np.uint8)
    numbers = torch.from_numpy(np.stack([low, high], axis=1).reshape(-1).view(np.float16)).to(torch.float32)
    weights: dict[str, Any] = load_file(directory / OTHER)
    start = 0
    for name, shape in read_json(directory / SHAPES).items():
        size = int(np.prod(shape, dtype=np.int64))
        weights[name] = numbers[start : start + size].reshape(shape).clone()
        start += size
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    for name in (OTHER, SHAPES, MANTISSAS, EXPONENTS):
        (directory / name).unlink()
