"""Decoders as encoders: the vectors that Pyserini's own class, sentence-transformers and transformers give."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tiny_decoders import END, FAMILIES, describe, write_decoder
from transformers import AutoModel, AutoTokenizer

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries, encode_token_ids
from iaa_retrieval.java import find_java, prepare_java
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.encoder_classes import stock_class_of
from iaa_retrieval.models.tokenizer_setup import ending_of
from iaa_retrieval.notices import begin_run

INSTRUCTION = "Instruct: find a good book\nQuery:"
TEXTS = ["water", "the boy read a good book by the water", " ".join(["people need air and light"] * 20)]


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoders") / "plain")


@pytest.fixture(scope="module")
def described(qwen3: Path) -> Path:
    return describe(qwen3, {"query": INSTRUCTION, "document": "", "web_search_query": "find:"})


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoders") / "llama", "llama", ends_texts=False)


@pytest.fixture(autouse=True)
def _says_again() -> None:
    begin_run()


def load(path: Path, **options: Any) -> BiEncoder:
    return load_bi_encoder(str(path), precision="fp32", device="cpu", **options)


def by_hand(path: Path, rows: list[list[int]]) -> np.ndarray:
    """The last token's hidden state, each row by itself and without padding."""
    network = AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        return np.stack([network(input_ids=torch.tensor([row]))[0][0, -1].numpy() for row in rows])


@pytest.mark.skipif(find_java() is None, reason="no Java 21 or newer on this machine")
def test_pyserinis_own_class_and_ours_give_the_same_vectors(qwen3: Path, described: Path, same_environment: None):
    prepare_java()
    from pyserini.encode import Qwen3DocumentEncoder, Qwen3QueryEncoder

    options = {"device": "cpu", "l2_norm": True}
    queries = Qwen3QueryEncoder(str(qwen3), prefix=INSTRUCTION, max_length=64, **options)
    expected = np.stack([queries.encode(text) for text in TEXTS])
    documents = Qwen3DocumentEncoder(str(qwen3), **options).encode(TEXTS, max_length=64)
    asked = load(qwen3, encoder_class="qwen3", normalize=True, query_prefix=INSTRUCTION)
    assert (asked.config.query_max_length, asked.config.document_max_length) == (64, 64)  # its positions
    for ours in (asked, load(described)):
        assert (ours.config.query_prompt, ours.config.query_prefix) == (INSTRUCTION, "")
        np.testing.assert_allclose(encode_queries(ours, TEXTS), expected, atol=1e-5)
        np.testing.assert_allclose(encode_passages(ours, TEXTS), documents, atol=1e-5)
    # What Pyserini's command passes where it is given no --prefix. Ours puts nothing before a text then.
    unasked = Qwen3DocumentEncoder(str(qwen3), device="cpu", prefix=None).encode(TEXTS[:2])
    none = load(qwen3, encoder_class="qwen3", document_prefix="None")
    np.testing.assert_allclose(encode_passages(none, TEXTS[:2]), unasked, atol=1e-5)
    bare = Qwen3DocumentEncoder(str(qwen3), device="cpu").encode(TEXTS, max_length=20)
    ours = load(qwen3, encoder_class="qwen3", document_max_length=20)
    np.testing.assert_allclose(encode_passages(ours, TEXTS), bare, atol=1e-5)


def test_sentence_transformers_and_ours_give_the_same_vectors(described: Path):
    theirs = SentenceTransformer(str(described), device="cpu")
    ours = load(described)
    assert (ours.config.pooling, ours.config.normalize, ours.config.append_token) == ("last", True, "")
    np.testing.assert_allclose(encode_queries(ours, TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encode_passages(ours, TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    ours = load(described, query_prompt_name="web_search_query", document_prompt="read this:\n")
    expected = theirs.encode(TEXTS, prompt_name="web_search_query")
    np.testing.assert_allclose(encode_queries(ours, TEXTS), expected, atol=1e-5)
    expected = theirs.encode(TEXTS, prompt="read this:\n")
    np.testing.assert_allclose(encode_passages(ours, TEXTS), expected, atol=1e-5)
    with pytest.raises(UsageError, match=r"no prompt called 'other'.*called document, query, web_search_query"):
        load(described, query_prompt_name="other")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decoder_that_says_nothing_is_pooled_at_its_last_token_however_it_is_padded(
    family: str, tmp_path: Path, caplog: Any
):
    path = write_decoder(tmp_path / family, family, ends_texts=False)
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        ours = load(path)
    said = [record.getMessage() for record in caplog.records if record.name == "iaa_retrieval"]
    assert len(said) == 2 and "last token" in said[0] and "--append-eos" in said[1] and "</s>" in said[1]
    # transformers takes a tokenizer beside a Qwen2 for that family's own, which has a padding token.
    assert ours.config.pooling == "last" and ours.tokenizer.pad_token == (END if family == "qwen2" else "</s>")
    rows = [[1, 40], [1, *range(50, 70)], [1, 60, 61, 2]]
    expected = by_hand(path, rows)
    np.testing.assert_allclose(encode_token_ids(ours, rows, role="passage", max_length=64), expected, atol=1e-5)
    width = max(map(len, rows)) + 3
    lacking = [width - len(row) for row in rows]
    for left in (False, True):
        ids = [[2] * n + row if left else row + [2] * n for row, n in zip(rows, lacking, strict=True)]
        mask = [[0] * n + [1] * (width - n) if left else [1] * (width - n) + [0] * n for n in lacking]
        with torch.no_grad():
            vectors = ours.encode_queries(torch.tensor(ids), torch.tensor(mask)).numpy()
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_an_encoder_that_reads_both_ways_keeps_its_default(tiny_backbone: Callable[..., Path], tmp_path: Path):
    assert load(tiny_backbone("bert")).config.pooling == "cls"
    gemma = write_decoder(tmp_path / "gemma", "gemma3_text", use_bidirectional_attention=True)
    assert load(gemma).config.pooling == "cls"
    assert load(gemma, pooling="mean").config.pooling == "mean"


def test_a_length_that_only_a_language_model_has_is_no_default(tmp_path: Path):
    path = write_decoder(tmp_path / "long", length=131072, max_position_embeddings=32768)
    config = load(path).config
    assert (config.query_max_length, config.document_max_length) == (512, 256)
    config = load(describe(path, {})).config
    assert (config.query_max_length, config.document_max_length) == (512, 256)
    assert load(path, document_max_length=20000).config.document_max_length == 20000


def test_an_end_of_text_token_is_appended_and_stays_last(llama: Path, qwen3: Path, caplog: Any):
    tokenizer = AutoTokenizer.from_pretrained(llama)
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    expected = by_hand(llama, [[*row[:39], 2] for row in rows])
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        ours = load(llama, append_eos=True, pooling="last", query_max_length=40)
    assert not [record for record in caplog.records if record.name == "iaa_retrieval"]
    assert ours.config.append_token == "</s>" == ending_of(ours.tokenizer)
    np.testing.assert_allclose(encode_queries(ours, TEXTS), expected, atol=1e-5)
    assert ours.fingerprint != load(llama, pooling="last").fingerprint
    same = load(qwen3, append_eos=True)  # its tokenizer does it already
    assert same.config.append_token == "" and same.fingerprint == load(qwen3).fingerprint
    assert ending_of(same.tokenizer) == END


def test_a_tokenizer_that_ends_texts_otherwise_gets_no_further_token(tiny_backbone: Callable[..., Path]):
    with pytest.raises(UsageError, match="has no end-of-text token"):
        load(tiny_backbone("bert"), append_eos=True)


@pytest.mark.parametrize("flag", (None, "add_bos_token"))
def test_a_saved_tokenizer_still_appends(llama: Path, flag: str | None, tmp_path: Path):
    path = Path(shutil.copytree(llama, tmp_path / "model"))
    if flag is not None:  # with which transformers makes the rule for special tokens anew
        settings = json.loads((path / "tokenizer_config.json").read_text())
        (path / "tokenizer_config.json").write_text(json.dumps({**settings, flag: True}))
    ours = load(path, append_eos=True)
    ours.tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again("water")["input_ids"] == ours.tokenizer("water")["input_ids"]
    assert again("water", "air")["input_ids"][-1] == 2 and again("water")["input_ids"][0] == 1


def test_pyserinis_way_of_cutting_is_left_to_its_own_class():
    assert stock_class_of("x/some-qwen3-model", "qwen3") is None
    assert stock_class_of("x/some-qwen3-model", "qwen3", explicit_truncate=True) == "qwen3"
    assert stock_class_of("all-MiniLM-L6-v2", "auto", explicit_truncate=True) is None
