"""The tiny world, and an engine on it, made once for all tests of the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkpoints import trained, with_other_settings, write_collection
from served import World

from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.serving.config_file import parse_config, with_paths
from iaa_retrieval.serving.engine import Engine


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Callable[..., Path]) -> Iterator[World]:
    if find_java() is None:
        pytest.skip("no Java 21 or newer on this machine")
    before = dict(os.environ)
    prepare_java()
    from iaa_retrieval.jobs.encode import encode_corpus
    from iaa_retrieval.pyserini_plugin.lucene_index import build_index

    folder = tmp_path_factory.mktemp("served")
    backbone = tiny_backbone("bert")
    tuned = trained("bi-encoder", "iaa-l", backbone).path
    other = trained("bi-encoder", "lora", backbone).path
    world = World(
        folder=folder,
        collection=write_collection(folder / "collection"),
        backbone=backbone,
        tuned=tuned,
        other=with_other_settings(other, folder / "other", pooling="cls", normalize=False, query_prefix="find"),
        reranker=trained("cross-encoder", "iaa-l", backbone).path,
        lucene=folder / "lucene",
    )
    build_index(str(world.collection), world.lucene)
    for name in ("tuned", "other", "backbone"):
        encode_corpus(str(getattr(world, name)), str(world.collection), output=world.faiss(name), precision="fp32")
    yield world
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def engine(world: World) -> Engine:
    return Engine(with_paths(parse_config(world.values()), world.folder), device="cpu")
