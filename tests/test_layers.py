"""Imports run downwards only, by the table in docs/architecture.md, and every module is there for somebody."""

from __future__ import annotations

import re
from pathlib import Path

from import_graph import Graph, find_circle, import_graph, modules_of, string_constants

from iaa_retrieval import _DEFINED_IN
from iaa_retrieval.cli import VERBS

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "iaa_retrieval"
ROOT = PACKAGE.name
MODULES = modules_of(PACKAGE)
GRAPH = import_graph(PACKAGE)


def read_layers(page: str) -> list[list[str]]:
    """The parts in each layer of the table, from the bottom up."""
    table = page.partition("<!-- layers")[2].partition("<!-- end of layers")[0]
    rows = [row.split("|") for row in table.splitlines() if row.startswith("|")][2:]
    return [re.findall(r"`(\w+)`", row[2]) for row in reversed(rows)]


def part_of(module: str) -> str:
    """The file or folder of the package that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def upward_imports(graph: Graph, layers: list[list[str]]) -> set[tuple[str, str]]:
    """The imports of another part that is not in a lower layer."""
    height = {part: number for number, parts in enumerate(layers) for part in parts}
    return {
        (module, imported)
        for module, others in graph.items()
        for imported in others
        if part_of(imported) != part_of(module) and height[part_of(imported)] >= height[part_of(module)]
    }


def unused_modules(modules: dict[str, Path], graph: Graph, named: set[str]) -> list[str]:
    """Modules that no other imports, that are not ``named`` and that are no command (``python -m``)."""
    used = set().union(named, *graph.values())
    return [
        module
        for module, path in modules.items()
        if path.name != "__init__.py"
        and module not in used
        and 'if __name__ == "__main__":' not in path.read_text(encoding="utf-8")
    ]


LAYERS = read_layers((REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8"))


def test_every_part_is_in_one_layer() -> None:
    listed = sorted(part for parts in LAYERS for part in parts)
    assert sorted(set(listed)) == listed
    assert sorted(set(map(part_of, MODULES))) == listed


def test_no_module_imports_another_in_a_circle() -> None:
    assert find_circle(GRAPH) == []


def test_no_import_goes_up() -> None:
    assert sorted(upward_imports(GRAPH, LAYERS)) == []


def test_every_module_is_used() -> None:
    """By another module, by name (verbs, entry points, lazy imports), as a command, or by people (see the pages)."""
    named = {f"{ROOT}.{verb}" for verb in VERBS}
    named |= {f"{ROOT}.{place.partition(':')[0]}" for place in _DEFINED_IN.values()}
    for path in MODULES.values():
        named |= {text.partition(":")[0] for text in string_constants(path)}
    shown = "".join(
        path.read_text(encoding="utf-8")
        for path in (REPOSITORY / "setup.cfg", REPOSITORY / "pyproject.toml", REPOSITORY / "README.md")
    )
    shown += "".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").glob("*.md")))
    named |= set(re.findall(rf"\b{ROOT}(?:\.\w+)+", shown))
    assert unused_modules(MODULES, GRAPH, named) == []


def write_package(folder: Path, sources: dict[str, str]) -> Path:
    package = folder / "house"
    for name, source in {"__init__.py": "", "attic/__init__.py": "", **sources}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return package


def test_an_import_inside_a_function_counts_and_one_for_type_checkers_does_not(tmp_path: Path) -> None:
    package = write_package(
        tmp_path,
        {
            "cellar.py": "def fetch():\n    from house.attic import boxes\n    import house.attic.boxes\n",
            "kitchen.py": (
                "from typing import TYPE_CHECKING\nimport house.cellar\n"
                "if TYPE_CHECKING:\n    from house.attic import boxes\n"
            ),
            "attic/boxes.py": "from house.kitchen import TABLE\nfrom . import beams\n",
            "attic/beams.py": "import os\n",
        },
    )
    graph = import_graph(package)
    assert graph["house.cellar"] == {"house.attic.boxes"}
    assert graph["house.kitchen"] == {"house.cellar"}
    assert graph["house.attic.boxes"] == {"house.kitchen", "house.attic.beams"}
    layers = read_layers(
        "<!-- layers -->\n|a|b|\n|-|-|\n| x | `attic` |\n| x | `kitchen`, `cellar` |\n<!-- end of layers"
    )
    assert layers == [["kitchen", "cellar"], ["attic"]]
    assert upward_imports(graph, layers) == {
        ("house.cellar", "house.attic.boxes"),
        ("house.kitchen", "house.cellar"),
    }
    circle = find_circle(graph)
    assert circle[0] == circle[-1]
    assert set(circle) == {"house.cellar", "house.attic.boxes", "house.kitchen"}
    modules = modules_of(package)
    assert unused_modules(modules, graph, set()) == []
    (package / "shed.py").write_text("")
    (package / "door.py").write_text('if __name__ == "__main__":\n    pass\n')
    assert unused_modules(modules_of(package), import_graph(package), set()) == ["house.shed"]
    assert unused_modules(modules_of(package), import_graph(package), {"house.shed"}) == []
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
