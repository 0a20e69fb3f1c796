"""Case 20: a folder whose name is not ASCII, in locales that cannot spell it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iaa_retrieval.java import find_java

pytestmark = pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")

# One process: the first verb starts Java as a child, the second in itself.
VERBS = """
import sys
from click.testing import CliRunner
from iaa_retrieval import index, search
folder = sys.argv[1]
verbs = {
    "index": (index, ["--collection", folder, "--output", f"{folder}/lucene", "--threads", "1"]),
    "search": (search, ["lucene", "--index", f"{folder}/lucene", "--topics", f"{folder}:test",
                        "--output", f"{folder}/run"]),
}
for name in sys.argv[2:]:
    verb, words = verbs[name]
    result = CliRunner().invoke(verb.main, words)
    print(result.output)
    assert result.exit_code == 0
"""


# Importing Pyserini's search takes most of the time, so that one locale must do for it.
@pytest.mark.parametrize(
    ("locale", "verbs"),
    [({"LC_ALL": "C"}, ["index"]), ({"LC_ALL": "", "LANG": "xx_XX.UTF-8"}, ["index", "search"])],
)
def test_java_opens_names_that_the_locale_cannot_spell(
    reported_cases: Path, tmp_path: Path, locale: dict[str, str], verbs: list[str]
) -> None:
    folder = tmp_path / "Büro 文書"
    shutil.copytree(reported_cases / "common" / "beir", folder)
    (folder / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("LC_CTYPE", "PYTHONUTF8")}
    done = subprocess.run(
        [sys.executable, "-c", VERBS, str(folder), *verbs],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**environment, **locale, "TMPDIR": str(folder / "tmp")},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert any((folder / "lucene").glob("segments_*"))
    if "search" in verbs:
        queries = {line.split()[0] for line in (folder / "run").read_text(encoding="utf-8").splitlines()}
        assert len(queries) == 8
