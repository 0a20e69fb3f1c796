"""Every command of every page, given to the parser that would get it: ours and Pyserini's own."""

from __future__ import annotations

import argparse
import html
import os
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from typing import Any

import click
import ir_datasets
import pytest

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.reproduction.loading import load_reproduction, reproduction_names
from iaa_retrieval.reproduction.pages.html import html_page
from iaa_retrieval.reproduction.pages.markdown import markdown_page

VERB = "python -m iaa_retrieval."


def commands_in(page: str) -> list[str]:
    """The lines of every block that a reader can copy."""
    blocks = re.findall(r"```bash\n(.*?)\n```", page, re.DOTALL) + [
        html.unescape(re.sub(r"</?span>", "", block))
        for block in re.findall(r"<code><span>(.*?)</code></pre>", page, re.DOTALL)
    ]
    return [line for block in blocks for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def all_commands() -> dict[str, str]:
    """Command -> a page that has it."""
    found: dict[str, str] = {}
    for name in reproduction_names():
        reproduction = load_reproduction(name)
        in_markdown = commands_in(markdown_page(reproduction))
        in_html = commands_in(html_page(reproduction))
        # HTML has a line of its own for each cell; every other line is in both.
        assert set(in_markdown) <= set(in_html)
        found |= dict.fromkeys(in_html, name)
    return found


def of_verb(commands: dict[str, str], verb: str) -> list[list[str]]:
    chosen = [shlex.split(command)[3:] for command in commands if command.startswith(f"{VERB}{verb} ")]
    assert chosen, f"no page uses {verb}"
    return chosen


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that earlier commands make are not there."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)


def parse(command: click.Command, words: list[str]) -> dict[str, Any]:
    """What click makes of the words, without running anything."""
    return command.make_context(str(command.name), list(words)).params


def require_collection(spec: str) -> None:
    """An ir_datasets id that the catalogue has, without downloading it; a directory behind a variable; or ours."""
    ours = re.fullmatch(r"python-packages(:(train|dev|test|test-small))?", spec)
    assert ours or spec.startswith("$IAA_RETRIEVAL_DATA/msmarco-mini") or spec in ir_datasets.registry, spec


def test_nothing_else_is_called(all_commands: dict[str, str]) -> None:
    verbs = {
        command.removeprefix(VERB).split()[0] if command.startswith(VERB) else command.split()[0]
        for command in all_commands
    }
    assert verbs == {"index", "train", "encode", "search", "rerank", "evaluate", "reproduce", "install", "export"}
    exports = [command for command in all_commands if command.startswith("export ")]
    assert all(re.match(r"export IAA_RETRIEVAL_DATA=FOLDER  # ", command) for command in exports)


def test_no_command_depends_on_a_shell_but_for_quotes_and_variables(all_commands: dict[str, str]) -> None:
    for command in all_commands:
        if not command.startswith("export "):
            assert not set("<>|;&`*?{}\\") & set(command), command


def test_train(all_commands: dict[str, str], no_files: None) -> None:
    from iaa_retrieval.train import main
    from iaa_retrieval.training.options import TrainOptions
    from iaa_retrieval.tuning.methods import get_method

    for kind, *words in of_verb(all_commands, "train"):
        options = TrainOptions.of(kind=kind, **parse(main.commands[kind], words))
        options.resolved()
        get_method(options.tuning.method_name).check(options.tuning.dimensions)
        require_collection(options.data.collection)
        assert options.dev.dev_fraction or options.dev.dev_split


def test_index_rerank_and_evaluate(all_commands: dict[str, str], no_files: None) -> None:
    from iaa_retrieval.evaluate import main as evaluate
    from iaa_retrieval.evaluation.metrics import parse_metrics
    from iaa_retrieval.index import main as index
    from iaa_retrieval.jobs.rerank import RerankOptions
    from iaa_retrieval.options import build
    from iaa_retrieval.rerank import main as rerank

    for words in of_verb(all_commands, "index"):
        require_collection(parse(index, words)["collection"])
    for words in of_verb(all_commands, "rerank"):
        options = build(RerankOptions, parse(rerank, words))
        assert options.collection is not None and options.index is None
        require_collection(options.collection)
        require_collection(options.topics)
    for words in of_verb(all_commands, "evaluate"):
        values = parse(evaluate, words)
        parse_metrics(values["metrics"])
        require_collection(values["qrels"])


def test_encode(all_commands: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from iaa_retrieval import encode

    seen: list[encode.EncodeOptions] = []
    monkeypatch.setattr(encode, "encode_documents", lambda options: seen.append(options) or 0)
    commands = of_verb(all_commands, "encode")
    for words in commands:
        encode.main.main(words, standalone_mode=False)
    assert len(seen) == len(commands)
    for options in seen:
        require_collection(options.source.corpus)
        assert options.target.to_faiss


class Parsed(Exception):
    """Stands for all that stock Pyserini would do after reading its command line."""


@pytest.fixture
def pyserini_parse(same_environment: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], Any]:
    """Pyserini's own ``python -m pyserini.search.KIND``, up to the point where it has parsed its arguments."""
    from iaa_retrieval.java import prepare_java

    prepare_java()
    read = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *arguments: Any) -> Any:
        raise Parsed(read(parser, *arguments))

    def parse_with_pyserini(kind: str, words: list[str]) -> Any:
        monkeypatch.setattr(sys, "argv", [kind, *words])
        with monkeypatch.context() as patch, pytest.raises(Parsed) as caught:
            patch.setattr(argparse.ArgumentParser, "parse_args", stop)
            runpy.run_module(f"pyserini.search.{kind}", run_name="__main__")
        return caught.value.args[0]

    return parse_with_pyserini


def test_search(all_commands: dict[str, str], pyserini_parse: Callable[[str, list[str]], Any],
                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from iaa_retrieval.pyserini_plugin import launcher
    from iaa_retrieval.pyserini_plugin.online_tables import is_prebuilt_index
    from iaa_retrieval.search import main

    passed_on: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(launcher, "launch_search", lambda kind, words: passed_on.append((kind, words)))
    commands = of_verb(all_commands, "search")
    for words in commands:
        main.main(words, standalone_mode=False)
    assert len(passed_on) == len(commands)
    # Pyserini's parsers build up slowly, so only what differs in its options is given to them.
    different = {(kind, *(word for word in words if word.startswith("-"))): (kind, words) for kind, words in passed_on}
    for kind, words in different.values():
        arguments = pyserini_parse(kind, words)
        assert arguments.hits in (50, 100, 200, 1000)
        assert arguments.output.endswith(".trec")
    for _, words in passed_on:
        require_collection(words[words.index("--topics") + 1])
    indexes = {(kind, words[words.index("--index") + 1]) for kind, words in passed_on}
    prebuilt = {(kind, index) for kind, index in indexes if not index.startswith("runs/")}
    assert {kind for kind, _ in prebuilt} <= {"lucene"}
    try:
        assert all(is_prebuilt_index(index) for _, index in prebuilt)
    except IaaRetrievalError as error:  # Pyserini 2.4 asks the network
        pytest.skip(f"all was checked but the names of prebuilt indexes: {error}")


def test_reproduce(all_commands: dict[str, str]) -> None:
    from iaa_retrieval.reproduce import main

    for words in of_verb(all_commands, "reproduce"):
        assert parse(main, words)["collection"] in reproduction_names()


def test_every_step_uses_only_what_an_earlier_line_makes(all_commands: dict[str, str]) -> None:
    """In every block, a path below runs/ is written before it is read."""
    outputs = ("--output", "--embeddings")
    for name in reproduction_names():
        page = markdown_page(load_reproduction(name))
        for block in re.findall(r"From nothing:\n\n```bash\n(.*?)\n```", page, re.DOTALL):
            made: set[str] = set()
            for line in block.splitlines():
                words = shlex.split(line)
                writes = {words[i + 1] for i, word in enumerate(words[:-1]) if word in outputs}
                writes |= {words[-1]} if words[0] == "install" else set()
                reads = {word for word in words if word.startswith(f"runs{os.sep}")} - writes
                assert reads <= made, line
                made |= writes
