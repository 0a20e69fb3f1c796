"""Which class an encoder's name means: one decision, which agrees with Pyserini's tables."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub import put_on_hub, use_hub

from iaa_retrieval.errors import UsageError
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.models.backbone import hub_options
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.encoder_classes import OUR_CLASSES, STOCK_CLASSES, settings_of, stock_class_of


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_hub(tmp_path / "hub", monkeypatch)
    hub_options.cache_clear()
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("hub_id", "named"),
    [
        ("castorini/tct_colbert-v2-msmarco", "tct_colbert"),
        ("castorini/ance-msmarco-passage", "ance"),
        ("castorini/cosdpr-distil", "cosdpr"),
        ("castorini/dkrr-dpr-nq-retriever", "dkrr"),
        ("facebook/dpr-ctx_encoder-multiset-base", "dpr"),
        ("castorini/bpr-nq-question-encoder", "bpr"),
        ("castorini/aggretriever-distilbert", "aggretriever"),
        ("naver/splade-v3", "splade"),
        ("someone/enhanced-guidance-model", None),
        ("facebook/contriever", None),
        ("sentence-transformers/all-MiniLM-L6-v2", None),
        ("someone/model", None),
    ],
)
def test_a_hub_id_means_the_class_that_stands_in_it_as_a_word(hub: Path, hub_id: str, named: str | None):
    assert stock_class_of(hub_id) == named
    if named is not None:
        with pytest.raises(UsageError, match=f"is a {named} encoder"):
            settings_of(hub_id)


def test_a_directory_is_never_guessed_from_its_name(tiny_backbone: Callable[..., Path], tmp_path: Path):
    directory = tmp_path / "ance" / "tct_colbert"
    directory.mkdir(parents=True)
    assert stock_class_of(str(directory)) is None
    assert stock_class_of("./runs/ance/model") is None
    assert stock_class_of(str(directory), "ance") == "ance"


def test_a_class_of_ours_has_pyserinis_settings_whatever_the_files_say(
    tiny_backbone: Callable[..., Path], hub: Path, caplog: Any
):
    for name in ("facebook/contriever", "sentence-transformers/some-model"):
        put_on_hub(hub, name, tiny_backbone("bert"))
    contriever = load_bi_encoder("facebook/contriever").config
    assert (contriever.pooling, contriever.normalize) == ("mean", False)
    sentence = load_bi_encoder("sentence-transformers/some-model").config
    assert (sentence.pooling, sentence.normalize) == ("mean", True)
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        load_bi_encoder("all-MiniLM-L6-v2", encoder_class="contriever", pooling="mean")
        assert not caplog.records
        named = load_bi_encoder("all-MiniLM-L6-v2", encoder_class="contriever", pooling="cls", normalize=True).config
    assert len(caplog.records) == 1 and "have no effect" in caplog.text
    assert (named.pooling, named.normalize) == ("mean", False)
    assert (named.query_max_length, named.document_max_length) == (512, 256)


def test_a_model_that_says_how_it_is_used_needs_no_class(tiny_backbone: Callable[..., Path], hub: Path, tmp_path: Path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    parts = [modules.Transformer(str(tiny_backbone("bert"))), modules.Pooling(32, "cls"), modules.Normalize()]
    SentenceTransformer(modules=parts, prompts={"query": "find: "}, device="cpu").save_pretrained(str(tmp_path / "st"))
    put_on_hub(hub, "someone/arctic-embed", tmp_path / "st")
    config = load_bi_encoder("someone/arctic-embed").config
    assert (config.pooling, config.normalize, config.query_prompt) == ("cls", True, "find: ")


def test_a_checkpoint_of_ours_has_no_class_of_pyserini(tmp_path: Path):
    (tmp_path / "retriever.json").write_text('{"kind": "bi-encoder"}')
    assert stock_class_of(str(tmp_path), "auto") is None
    with pytest.raises(UsageError, match="not a dpr encoder"):
        stock_class_of(str(tmp_path), "dpr")


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_every_class_of_pyserini_is_in_the_table(same_environment: None):
    prepare_java()
    from pyserini.encode import document_encoder_class_map, query_encoder_class_map

    assert set(OUR_CLASSES) | set(STOCK_CLASSES) >= set(document_encoder_class_map) | set(query_encoder_class_map)
    for name in set(OUR_CLASSES) - {"qwen3"}:  # which tests/models/test_decoders.py compares
        for table in (document_encoder_class_map, query_encoder_class_map):
            assert name not in table or table[name].__name__.startswith("Auto")


def test_the_table_is_read_without_pyserini():
    code = "import sys, iaa_retrieval.models.encoder_classes\nassert 'pyserini' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
