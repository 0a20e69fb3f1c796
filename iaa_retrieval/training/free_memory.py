"""How much memory is free for this process, on a GPU or beside the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
# Of a container: its limit and what it uses, by the second and the first version of cgroups.
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.stat")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.stat"),
    ),
)


def free_bytes(devices: Iterable[torch.device]) -> int | None:
    """The free memory of all of these devices; None where the system does not say."""
    total = 0
    for device in set(devices):
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_beside_cpu()
        if free is None:
            return None
        total += free
    return total


def _free_beside_cpu() -> int | None:
    """What the machine has available, or a container if that is less."""
    if not _MEMINFO.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="utf-8").splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    for limit, used, statistics in _CGROUPS:
        if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
            # Files that are kept in memory count as used, and give way.
            lines = statistics.read_text(encoding="utf-8").splitlines() if statistics.is_file() else []
            files = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
            free = min(free, int(text) - int(used.read_text(encoding="utf-8")) + files)
    return max(free, 0)
