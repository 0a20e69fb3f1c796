"""docs/api.md is one program, which runs and prints what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# In a process of its own: the page registers what the other tests must not find.
RUN = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
for line, code in json.load(sys.stdin):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\\n" * line + code, "docs/api.md", "exec"), names)
    print(json.dumps(printed.getvalue()))
"""


class Block(NamedTuple):
    """A Python block of the page; ``shown`` is what the page says that it prints."""

    line: int
    code: str
    shown: str


def read_page(text: str) -> list[Block]:
    blocks: list[Block] = []
    for fence in FENCE.finditer(text):
        if fence[1] == "python":
            blocks.append(Block(text.count("\n", 0, fence.start(2)), fence[2], ""))
        else:
            blocks[-1] = blocks[-1]._replace(shown=fence[2])
    return blocks


def test_every_block_runs_and_prints_what_the_page_shows(tmp_path: Path) -> None:
    blocks = read_page(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 12
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([(block.line, block.code) for block in blocks]),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert printed == [block.shown for block in blocks]
