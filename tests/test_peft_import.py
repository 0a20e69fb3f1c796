"""``import iaa_retrieval`` costs nothing, and PEFT knows our methods the moment it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KNOWN = (
    "from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING as known; assert {'IAA', 'BITFIT'} <= {t.value for t in known}"
)


def run(*lines: str) -> None:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy():
    run(
        "import sys, iaa_retrieval", "assert not {'torch', 'peft', 'transformers', 'numpy', 'click'} & set(sys.modules)"
    )


def test_peft_may_be_imported_first():
    run("import peft; import iaa_retrieval", KNOWN)


def test_peft_imported_later_knows_our_methods_and_is_otherwise_itself():
    run(
        "import iaa_retrieval, importlib.resources, importlib.util, sys",
        "from importlib.machinery import SourceFileLoader",
        # Libraries look for PEFT before anybody imports it.
        "assert importlib.util.find_spec('peft') is not None and importlib.util.find_spec('peft') is not None",
        "assert 'peft' not in sys.modules",
        "import peft",
        KNOWN,
        "assert type(peft.__loader__) is SourceFileLoader and type(peft.__spec__.loader) is SourceFileLoader",
        "assert importlib.resources.files('peft').joinpath('__init__.py').is_file()",
    )


def test_only_one_finder_is_installed():
    run(
        "import importlib, sys, iaa_retrieval",
        "importlib.reload(iaa_retrieval)",
        "assert sum(getattr(finder, 'name', '') == 'peft' for finder in sys.meta_path) == 1",
    )


def test_a_machine_without_peft_gets_the_usual_error(tmp_path: Path):
    (tmp_path / "hidden.py").write_text(
        "import importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'peft':\n"
        "            raise ModuleNotFoundError(\"No module named 'peft'\", name='peft')\n"
    )
    run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
        "import iaa_retrieval, hidden",
        "sys.meta_path.insert(1, hidden.Hide())",
        "try:",
        "    import peft",
        "except ModuleNotFoundError as error:",
        "    assert error.name == 'peft'",
        "else:",
        "    raise SystemExit('it was imported')",
    )
