"""What a plain encoder says about its use is followed: the same vectors as sentence-transformers, which wrote it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.exporting.formats import get_format
from iaa_retrieval.exporting.merged import write_network
from iaa_retrieval.exporting.readme import readme
from iaa_retrieval.exporting.source import load_source
from iaa_retrieval.exporting.stock_pyserini import stock_commands
from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, encode_corpus
from iaa_retrieval.inference.corpus_reader import CorpusDocument
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.training.model_card import model_card

TEXTS = ["Water and AIR", "the boy read a good book by the water", " ".join(["people need air"] * 30)]


@pytest.fixture
def written(tiny_backbone: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A directory that the installed sentence-transformers wrote, with changes to its JSON files."""

    def write(
        *,
        pooling: str = "mean",
        normalize: bool = True,
        include_prompt: bool = True,
        max_seq_length: int | None = None,
        changes: dict[str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> Path:
        transformer = modules.Transformer(str(tiny_backbone("bert")), max_seq_length=max_seq_length)
        parts = [transformer, modules.Pooling(32, pooling, include_prompt=include_prompt)]
        parts += [modules.Normalize()] if normalize else []
        directory = tmp_path / "model"
        SentenceTransformer(modules=parts, device="cpu", **options).save_pretrained(str(directory))
        for name, values in (changes or {}).items():
            path = directory / name
            path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **values}))
        return directory

    return write


def require_the_same(directory: Path, **options: Any) -> BiEncoder:
    """Our vectors of queries and documents are those of sentence-transformers, to the length of the vector."""
    ours = load_bi_encoder(str(directory), precision="fp32", device="cpu", **options)
    theirs = SentenceTransformer(str(directory), device="cpu")
    np.testing.assert_allclose(encode_queries(ours, TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encode_passages(ours, TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    return ours


@pytest.mark.parametrize("pooling", ("mean", "cls", "lasttoken"))
def test_what_sentence_transformers_saves_is_followed(written: Callable[..., Path], pooling: str):
    prompts = {"query": "find the book: ", "document": "read:"}
    directory = written(pooling=pooling, max_seq_length=40, prompts=prompts, similarity_fn_name="dot", normalize=False)
    assert "max_seq_length" not in json.loads((directory / "sentence_bert_config.json").read_text())
    config = require_the_same(directory).config
    assert (config.query_prompt, config.document_prompt) == ("find the book: ", "read:")
    assert (config.query_max_length, config.document_max_length, config.normalize) == (40, 40, False)


def test_vectors_are_cut_as_it_says(written: Callable[..., Path]):
    directory = written(truncate_dim=8)
    ours = load_bi_encoder(str(directory), precision="fp32", device="cpu")
    theirs = SentenceTransformer(str(directory), device="cpu")
    vectors = encode_queries(ours, TEXTS)
    assert vectors.shape == (3, 8) and ours.config.truncate_dim == 8
    # It cuts after its normalising layer, and compares by cosine.
    np.testing.assert_allclose(vectors, theirs.encode_query(TEXTS, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(vectors @ vectors.T, theirs.similarity(vectors, vectors), atol=1e-5)
    other = load_bi_encoder(str(directory), precision="fp32", device="cpu", truncate_dim=12)
    expected = theirs.encode_document(TEXTS, truncate_dim=12, normalize_embeddings=True)
    np.testing.assert_allclose(encode_passages(other, TEXTS), expected, atol=1e-5)
    beyond = written(truncate_dim=99)
    require_the_same(beyond)


def test_older_files_that_keep_the_length_beside_the_tokenizer_are_followed(written: Callable[..., Path]):
    directory = written(changes={"sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False}})
    assert require_the_same(directory).config.query_max_length == 20
    (directory / "sentence_bert_config.json").rename(directory / "sentence_roberta_config.json")
    assert load_bi_encoder(str(directory)).config.document_max_length == 20


def test_queries_and_documents_may_have_lengths_of_their_own(written: Callable[..., Path]):
    directory = written(changes={"sentence_bert_config.json": {"query_length": 10, "document_length": 30}})
    config = require_the_same(directory).config
    assert (config.query_max_length, config.document_max_length) == (10, 30)


def test_no_length_goes_beyond_the_positions(written: Callable[..., Path]):
    directory = written(changes={"tokenizer_config.json": {"model_max_length": 10**30}})
    config = load_bi_encoder(str(directory)).config
    assert (config.query_max_length, config.document_max_length) == (130, 130)


def test_cosine_similarity_without_a_normalising_module_means_unit_length(written: Callable[..., Path]):
    ours = load_bi_encoder(str(written(normalize=False, similarity_fn_name="cosine")), precision="fp32")
    np.testing.assert_allclose(np.linalg.norm(encode_queries(ours, TEXTS), axis=1), 1, atol=1e-5)


def test_a_model_that_lowercases_is_lowercased(written: Callable[..., Path]):
    directory = written(changes={"sentence_bert_config.json": {"do_lower_case": True}})
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None  # the tiny tokenizer lowercases by itself
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    ours = require_the_same(directory)
    assert ours.tokenizer("WATER")["input_ids"] == ours.tokenizer("water")["input_ids"]


def test_an_explicit_prefix_takes_the_place_of_the_prompt(written: Callable[..., Path]):
    directory = written(prompts={"query": "find: ", "document": "read: "})
    theirs = SentenceTransformer(str(directory), device="cpu")
    ours = load_bi_encoder(str(directory), query_prefix="hand", document_prefix="", precision="fp32")
    np.testing.assert_allclose(encode_queries(ours, TEXTS), theirs.encode(TEXTS, prompt="hand "), atol=1e-5)
    np.testing.assert_allclose(encode_passages(ours, TEXTS), theirs.encode(TEXTS, prompt=""), atol=1e-5)


@pytest.mark.parametrize(
    ("prompts", "default", "named"),
    [
        ({"query": "find: ", "passage": "read: "}, None, "passage"),
        ({"corpus": "read: "}, None, "corpus"),
        ({"other": "read: "}, "other", "other"),
        ({"search_document": "read: ", "search_query": "find: ", "classification": "sort: "}, None, "search_document"),
        ({"retrieval.query": "read: "}, None, "retrieval.query"),
        ({"document": "", "s2p_query": "read: ", "s2s_query": "same: "}, None, "s2p_query"),
    ],
)
def test_a_prompt_that_is_not_looked_up_is_named_once(
    written: Callable[..., Path], prompts: dict[str, str], default: str | None, named: str, caplog: Any
):
    directory = written(prompts=prompts, default_prompt_name=default)
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        require_the_same(directory)  # sentence-transformers does not use it either
    said = [record.getMessage() for record in caplog.records if record.name == "iaa_retrieval"]
    assert len(said) == 1 and f"{named!r} ('read: ')" in said[0] and "--document-prompt-name" in said[0]


@pytest.mark.parametrize(
    ("file", "values", "named"),
    [
        ("config_sentence_transformers.json", {"truncate_dim": 8, "similarity_fn_name": "dot"}, "truncate_dim"),
        ("config_sentence_transformers.json", {"truncate_dim": "8"}, "truncate_dim"),
        ("config_sentence_transformers.json", {"model_type": "CrossEncoder"}, "CrossEncoder"),
        ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "transformer_task"),
        ("sentence_bert_config.json", {"modality_config": {"message": {}}}, "chat template"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(
    written: Callable[..., Path], file: str, values: dict[str, Any], named: str
):
    directory = written(changes={file: values})
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(str(directory))
    assert named in str(error.value) and str(directory) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("modules.json", '{"0": "Transformer"}', "modules.json is no list of modules"),
        ("modules.json", '[{"idx": 0, "path": ""}]', "modules.json is no list of modules"),
        ("config_sentence_transformers.json", '{"prompts": ["query: "]}', "prompts"),
        ("config_sentence_transformers.json", '{"prompts": {"document": ["read: "]}}', "['read: ']"),
        ("sentence_bert_config.json", '{"max_seq_length": "20"}', "max_seq_length"),
        ("sentence_bert_config.json", '{"max_seq_length": 20.5}', "20.5"),
        ("sentence_bert_config.json", '{"max_seq_length": -1}', "max_seq_length"),
    ],
)
def test_settings_that_are_no_settings_are_refused_by_name(
    written: Callable[..., Path], file: str, text: str, named: str
):
    directory = written()
    (directory / file).write_text(text)
    with pytest.raises(IaaRetrievalError) as error:
        load_bi_encoder(str(directory))
    assert named in str(error.value) and str(directory) in str(error.value) and "\n" not in str(error.value)


def test_prompts_left_out_of_the_pooling_are_refused_and_harmless_without_prompts(written: Callable[..., Path]):
    require_the_same(written(include_prompt=False))
    changed = written(include_prompt=False, prompts={"query": "find: "})
    with pytest.raises(IaaRetrievalError, match="include_prompt"):
        load_bi_encoder(str(changed))


def test_distances_that_rank_otherwise_are_said(written: Callable[..., Path], caplog: Any):
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        load_bi_encoder(str(written(normalize=False, similarity_fn_name="manhattan")))
    assert "manhattan" in caplog.text and "inner product" in caplog.text


def test_without_metadata_queries_have_the_tokenizers_length_and_documents_pyserinis(
    tiny_backbone: Callable[..., Path],
):
    config = load_bi_encoder(str(tiny_backbone("bert", 300))).config
    assert (config.query_max_length, config.document_max_length) == (128, 256)
    assert (config.query_prompt, config.document_prompt) == ("", "")


def test_a_retriever_json_without_prompts_is_read(tmp_path: Path):
    (tmp_path / "retriever.json").write_text('{"kind": "bi-encoder", "query_prefix": "find"}')
    config = read_retriever_config(tmp_path)
    assert config is not None
    assert (config.query_lead, config.document_lead, config.encoder_class) == ("find ", "", "")


@pytest.fixture
def checkpoint(written: Callable[..., Path], tmp_path: Path) -> tuple[Path, SentenceTransformer]:
    """A checkpoint with prompts, and sentence-transformers on the directory with the same weights and prompts."""
    directory = written(prompts={"query": "find: ", "document": "read:"})
    (tmp_path / "checkpoint").mkdir()
    write_network(load_source(str(directory)), tmp_path / "checkpoint")
    config = read_retriever_config(tmp_path / "checkpoint")
    assert config is not None
    replace(config, method="full").save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint", SentenceTransformer(str(directory), device="cpu")


def test_a_checkpoint_keeps_its_recorded_prompts(checkpoint: tuple[Path, SentenceTransformer]):
    path, theirs = checkpoint
    for options in ({}, {"query_prefix": "find:"}):  # the prefix that says the same is no contradiction
        ours = load_bi_encoder(str(path), precision="fp32", **options)
        np.testing.assert_allclose(encode_queries(ours, TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
        np.testing.assert_allclose(encode_passages(ours, TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    for prefix in ("", "other"):
        with pytest.raises(UsageError, match="query prefix"):
            load_bi_encoder(str(path), query_prefix=prefix)


def test_prompts_come_along_in_an_export(checkpoint: tuple[Path, SentenceTransformer], tmp_path: Path):
    path, theirs = checkpoint
    (tmp_path / "exported").mkdir()
    source = load_source(str(path))
    export_format = get_format("sentence-transformers")
    merged = export_format.write(source, tmp_path / "exported")
    exported = SentenceTransformer(str(tmp_path / "exported"), device="cpu")
    np.testing.assert_allclose(exported.encode_query(TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(exported.encode_document(TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    page = readme(source, export_format, "exported", merged=merged)
    assert "| put before the text | 'find: ' (queries), 'read:' (passages) |" in page
    assert "without" in stock_commands(source, "exported")  # a prefix of stock Pyserini ends in a space
    assert "'read:' (passages)" in model_card(source.config)


def test_a_prompt_stands_before_the_title(checkpoint: tuple[Path, SentenceTransformer], tmp_path: Path):
    path, theirs = checkpoint
    documents = [CorpusDocument("d", ("the good book", "land and water"))]
    expected = theirs.encode_document("the good book land and water")
    for name in (tmp_path / "model", path):  # the plain encoder, and the checkpoint
        encoder = load_bi_encoder(str(name), precision="fp32", device="cpu")
        output = tmp_path / f"{name.name}-vectors"
        encoding = CorpusEncoding(fields=("title", "text"), encode_title=True, output=None)
        encode_corpus(encoder, documents, output, encoding)
        vector = json.loads((output / "embeddings.jsonl").read_text())["vector"]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_an_explicit_class_leaves_the_prompts_out_and_says_so(written: Callable[..., Path], caplog: Any):
    directory = written(prompts={"query": "find: "})
    with caplog.at_level(logging.WARNING, logger="iaa_retrieval"):
        config = load_bi_encoder(str(directory), encoder_class="auto").config
    assert (config.query_lead, config.pooling) == ("", "cls")
    assert "'find: ' for queries" in caplog.text and "class auto" in caplog.text
