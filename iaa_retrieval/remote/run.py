"""Runs a bundle on the machine that it was brought to: ``python3 BUNDLE/run.py --output DIR [--minutes 9]``.

It needs nothing but Python, PyTorch and NumPy there: it unpacks the bundle and starts the program in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

THREADS_OF_ALL = os.cpu_count() or 1


def main() -> int:
    """Unpack, and run the matrix with what is left of the time; the exit code of that."""
    started = time.time()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default=os.environ.get("OUT"), help="where results go (default: $OUT)")
    parser.add_argument("--minutes", type=float, default=9.0, help="all of it, unpacking included (default: 9)")
    parser.add_argument("--at-once", type=int, default=6, help="trainings at once on the device (default: 6)")
    parser.add_argument("--device", default="auto", help="cpu, cuda:0, ... (default: the first GPU)")
    parser.add_argument("--work", help="where to unpack (default: a folder of its own, removed at the end)")
    given = parser.parse_args()
    if not given.output:
        parser.error("say where results go: --output DIR")
    bundle = Path(__file__).resolve().parent
    wanted = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["python"]
    found = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if wanted not in (None, found):
        print(f"Error: the bundle's packages are for Python {wanted}, and this is Python {found}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        work = Path(given.work or folder).resolve()
        for archive in sorted(bundle.glob("*.tar*")):
            with tarfile.open(archive) as packed:
                packed.extractall(work, filter="data")
        paths = [str(work / "source"), str(work / "packages"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "HF_HUB_OFFLINE": "1",
            # Otherwise looking for a GPU makes it unusable to the processes that branch off.
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
            "OMP_NUM_THREADS": str(max(1, THREADS_OF_ALL // given.at_once)),
        }
        command = [sys.executable, *(["-S"] if sys.flags.no_site else []), "-m", "iaa_retrieval.remote", "run"]
        command += [str(work), "--manifest", str(bundle / "manifest.json"), "--output", given.output]
        command += ["--started", str(started), "--minutes", str(given.minutes)]
        command += ["--at-once", str(given.at_once), "--device", given.device]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
