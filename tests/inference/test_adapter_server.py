"""Many checkpoints on one backbone: each gives the bits it gives alone, also from many threads at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained, with_other_settings

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder

Backbone = Callable[[str], Path]
METHODS = ("iaa-l", "lora", "bitfit", "mam")
PAIRS = [("water in the world", text) for text in TEXTS]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The last bits depend on torch's number of threads, and libraries change that of the thread they run in."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,))


@pytest.fixture(scope="module")
def paths(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bi-encoder checkpoints on one backbone, by the name they are served under."""
    folder = tmp_path_factory.mktemp("served")
    found = {method: trained("bi-encoder", method, tiny_backbone("bert")).path for method in METHODS}
    other = {"pooling": "cls", "normalize": False, "query_prefix": "find", "query_max_length": 7}
    return {**found, "other settings": with_other_settings(found["iaa-l"], folder / "other", **other)}


@pytest.fixture(scope="module")
def server(tiny_backbone: Backbone, paths: dict[str, Path]) -> AdapterServer:
    server = AdapterServer(str(tiny_backbone("bert")), precision="fp32", device="cpu")
    for name, path in paths.items():
        server.load(name, path)
    for method in ("iaa-l", "bitfit"):
        server.load(f"reranker {method}", trained("cross-encoder", method, tiny_backbone("bert")).path)
    return server


@pytest.fixture(scope="module")
def alone(tiny_backbone: Backbone, paths: dict[str, Path]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Query and passage vectors of each checkpoint, and of the bare backbone, loaded on its own."""
    vectors = {}
    for name, path in {**paths, "": tiny_backbone("bert")}.items():
        encoder = load_bi_encoder(str(path), precision="fp32", device="cpu")
        vectors[name] = (encode_queries(encoder, TEXTS), encode_passages(encoder, TEXTS))
    return vectors


def test_each_checkpoint_gives_the_bits_it_gives_alone(
    server: AdapterServer, alone: dict[str, tuple[np.ndarray, np.ndarray]], tiny_backbone: Backbone
):
    for name, (queries, passages) in alone.items():
        np.testing.assert_array_equal(server.encode_queries(name, TEXTS), queries)
        np.testing.assert_array_equal(server.encode_passages(name, TEXTS), passages)
    np.testing.assert_array_equal(server.encode_queries(None, TEXTS), alone[""][0])
    assert len({queries.tobytes() for queries, _ in alone.values()}) == len(alone)  # and they differ
    for method in ("iaa-l", "bitfit"):
        path = trained("cross-encoder", method, tiny_backbone("bert")).path
        expected = score_pairs(load_cross_encoder(str(path), precision="fp32", device="cpu"), PAIRS)
        np.testing.assert_array_equal(server.score_pairs(f"reranker {method}", PAIRS), expected)


def test_threads_that_interleave_adapters_get_the_same_bits(
    server: AdapterServer, alone: dict[str, tuple[np.ndarray, np.ndarray]]
):
    scores = server.score_pairs("reranker iaa-l", PAIRS)

    def ask(number: int) -> None:
        name = list(alone)[number % len(alone)]
        np.testing.assert_array_equal(server.encode_queries(name, TEXTS), alone[name][0])
        np.testing.assert_array_equal(server.encode_passages(name, TEXTS), alone[name][1])
        if number % 5 == 0:
            np.testing.assert_array_equal(server.score_pairs("reranker iaa-l", PAIRS), scores)

    with threads(8) as executor:
        list(executor.map(ask, range(90)))


def test_a_server_goes_on_while_checkpoints_come_and_go(
    server: AdapterServer, alone: dict[str, tuple[np.ndarray, np.ndarray]], paths: dict[str, Path]
):
    def ask(number: int) -> None:
        np.testing.assert_array_equal(server.encode_queries("lora", TEXTS), alone["lora"][0])

    with threads(4) as executor:
        asked = [executor.submit(ask, number) for number in range(60)]
        for _ in range(3):
            server.load("guest", paths["mam"])
            np.testing.assert_array_equal(server.encode_queries("guest", TEXTS), alone["mam"][0])
            server.unload("guest")
        for future in asked:
            future.result()
    assert server.names == (*paths, "reranker iaa-l", "reranker bitfit")
    with pytest.raises(UsageError, match=r"no checkpoint 'guest' is loaded; loaded: iaa-l, lora, "):
        server.encode_queries("guest", TEXTS)


def test_the_backbone_is_in_memory_once(server: AdapterServer, tiny_backbone: Backbone):
    def storages(model: Any) -> set[int]:
        return {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    models = server._served
    bare = storages(models[""])
    assert len(bare) > 40
    for name, model in models.items():
        tuned = {value.untyped_storage().data_ptr() for key, value in model.named_parameters() if adapted(key)}
        assert storages(model) - tuned <= bare, name
        assert not tuned & bare, name
        assert name == "" or tuned
        assert model.tokenizer is models[""].tokenizer


def adapted(name: str) -> bool:
    """Whether a parameter is an adapter's, or of a task head."""
    return any(part in name for part in ("lora_", "iaa_", "bitfit_", ".classifier.", "modules_to_save"))


@pytest.mark.parametrize("method", ("iaa-l", "lora", "bitfit"))
def test_in_bf16_too(method: str, tiny_backbone: Backbone, paths: dict[str, Path]):
    server = AdapterServer(str(tiny_backbone("bert")), precision="bf16", device="cpu")
    server.load("it", paths[method])
    expected = encode_queries(load_bi_encoder(str(paths[method]), precision="bf16", device="cpu"), TEXTS)
    np.testing.assert_array_equal(server.encode_queries("it", TEXTS), expected)


@pytest.mark.parametrize("model_type", ("distilbert", "modernbert"))
def test_other_backbones(model_type: str, tiny_backbone: Backbone):
    server = AdapterServer(str(tiny_backbone(model_type)), precision="fp32", device="cpu")
    bi, cross = (trained(kind, "iaa-l", tiny_backbone(model_type)).path for kind in ("bi-encoder", "cross-encoder"))
    server.load("bi", bi)
    server.load("cross", cross)
    expected = encode_queries(load_bi_encoder(str(bi), precision="fp32", device="cpu"), TEXTS)
    np.testing.assert_array_equal(server.encode_queries("bi", TEXTS), expected)
    scores = score_pairs(load_cross_encoder(str(cross), precision="fp32", device="cpu"), PAIRS)
    np.testing.assert_array_equal(server.score_pairs("cross", PAIRS), scores)


def test_what_does_not_belong_on_the_backbone_is_refused_by_name(
    server: AdapterServer, tiny_backbone: Backbone, paths: dict[str, Path]
):
    stranger = trained("bi-encoder", "iaa-l", tiny_backbone("distilbert")).path
    with pytest.raises(IaaRetrievalError, match=rf"{stranger} was trained on .*distilbert with .* but .*bert here has"):
        server.load("stranger", stranger)
    full = trained("bi-encoder", "full", tiny_backbone("bert")).path
    with pytest.raises(IaaRetrievalError, match=rf"{full} is a whole tuned network, not an adapter on .*bert"):
        server.load("full", full)
    with pytest.raises(IaaRetrievalError, match=r"is no checkpoint of this project"):
        server.load("plain", tiny_backbone("bert"))
    with pytest.raises(IaaRetrievalError, match=r"is a trained checkpoint; start with its backbone"):
        AdapterServer(str(paths["lora"]))
    assert server.names == (*paths, "reranker iaa-l", "reranker bitfit")


def test_names_that_cannot_be_meant(server: AdapterServer, paths: dict[str, Path]):
    for name in ("lora", ""):
        with pytest.raises(UsageError, match=rf"the name '{name}' is taken"):
            server.load(name, paths["lora"])
    for name in ("nobody", ""):
        with pytest.raises(UsageError, match=rf"no checkpoint '{name}' is loaded"):
            server.unload(name)
    with pytest.raises(UsageError, match="reranker iaa-l is a cross-encoder; call score_pairs"):
        server.encode_queries("reranker iaa-l", TEXTS)
    with pytest.raises(UsageError, match="lora is a bi-encoder; call encode_queries or encode_passages"):
        server.score_pairs("lora", PAIRS)
