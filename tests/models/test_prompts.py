"""What stands around a text, to the letter: templates, what is cut of a text inside one, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_decoders import write_decoder
from transformers import AutoTokenizer

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.exporting.formats import get_format
from iaa_retrieval.exporting.source import Source
from iaa_retrieval.exporting.stock_pyserini import stock_commands
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries, encode_token_ids
from iaa_retrieval.inference.tokens import tokenize_pairs, tokenize_texts
from iaa_retrieval.models.bi_encoder import BiEncoder, load_bi_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.prompt_options import PromptText, typed_prompt
from iaa_retrieval.training.kinds import TRAINING_KINDS
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.tuned_model import new_untuned_model

TEMPLATE = "Instruct: find a good book\nQuery: {query} by the water"
LONG = " ".join(["people need air and light"] * 20)
TEXTS = ["water", "the boy read a good book", LONG]


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("prompts") / "qwen3")


def load(path: object, **options: Any) -> BiEncoder:
    return load_bi_encoder(str(path), precision="fp32", device="cpu", **options)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"Instruct: a\nQuery: ", "Instruct: a\nQuery: "),
        (r"a\\nb", r"a\nb"),
        ("a\nb", "a\nb"),
        (r"C:\temp", r"C:\temp"),
    ],
)
def test_a_line_end_can_be_typed(typed: str, meant: str):
    assert typed_prompt(typed) == meant == PromptText().convert(typed, None, None)


def test_python_takes_a_prompt_to_the_letter(qwen3: Path):
    assert load(qwen3, query_prompt=r"a\nb").config.query_prompt == r"a\nb"


def test_a_template_stands_around_the_text_and_only_the_text_is_cut(qwen3: Path):
    ours = load(qwen3, query_prompt=TEMPLATE, document_prompt="read {document}: ", query_max_length=20)
    assert (ours.config.query_prompt, ours.config.query_suffix) == (
        "Instruct: find a good book\nQuery: ",
        " by the water",
    )
    cut: list[int] = []
    vectors = encode_queries(ours, TEXTS, on_cut=cut.append)
    assert cut == [2]
    tokenizer = AutoTokenizer.from_pretrained(qwen3)
    words = LONG.split()
    # 8 tokens before the text, 3 after it and the one that ends all leave 8 for the text.
    texts = [*TEXTS[:2], " ".join(words[:8])]
    rows = tokenizer([TEMPLATE.replace("{query}", text) for text in texts])["input_ids"]
    assert len(rows[2]) == 20
    np.testing.assert_allclose(vectors, encode_token_ids(ours, rows, role="query", max_length=20), atol=1e-6)
    rows = tokenizer([f"read {text}: " for text in TEXTS[:2]])["input_ids"]
    expected = encode_token_ids(ours, rows, role="passage", max_length=64)
    np.testing.assert_allclose(encode_passages(ours, TEXTS[:2]), expected, atol=1e-6)


def test_the_start_of_a_text_is_the_longest_that_fits_whatever_its_tokens_are():
    from iaa_retrieval.models.backbone import load_tokenizer

    tokenizer = load_tokenizer("all-MiniLM-L6-v2")
    texts = ["naïve 😀😀 retrieval of unbelievably antidisestablishmentarian passages", "日本語のテキスト検索システム"]
    for limit in range(5, 16):
        for text, row in zip(texts, tokenize_texts(tokenizer, texts, limit, suffix=" end"), strict=True):
            starts = [tokenizer(text[:length] + " end")["input_ids"] for length in range(len(text) + 1)]
            fitting = [start for start in starts if len(start) <= limit]
            assert row in fitting and len(row) >= max(map(len, fitting)) - 1
            assert row[-2:] == tokenizer("end")["input_ids"][-2:]


def test_pairs_keep_what_follows_both_texts(tiny_backbone: Callable[..., Path]):
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone("bert"))
    queries, passages = [], []
    pairs = [("water", "land"), (" ".join(["boy"] * 30), " ".join(["book"] * 30))]
    found = tokenize_pairs(
        tokenizer, pairs, max_length=24, query_max_length=10, query_suffix=" for me", passage_suffix=" the end",
        on_query_cut=queries.append, on_passage_cut=passages.append,
    )  # fmt: skip
    assert (queries, passages) == ([1], [1])
    expected = [("water for me", "land the end"), ("boy " * 8 + "for me", "book " * 9 + "the end")]
    for position, pair in enumerate(expected):
        whole = tokenizer(*pair, return_token_type_ids=True)
        assert found.input_ids[position] == whole["input_ids"]
        assert found.token_type_ids[position] == whole["token_type_ids"]
    assert len(found.input_ids[1]) == 24


def test_a_template_that_leaves_no_room_is_refused(qwen3: Path):
    with pytest.raises(UsageError, match="takes 12 tokens by itself, and 12 are read"):
        load(qwen3, query_prompt=TEMPLATE, query_max_length=12)
    ours = load(qwen3, query_prompt=TEMPLATE, query_max_length=13)
    with pytest.raises(UsageError, match="no room"):
        ours.with_lengths(query=9)
    with pytest.raises(IaaRetrievalError, match="takes 4 tokens, and 3 are read"):
        tokenize_texts(ours.tokenizer, ["water"], 3, suffix=" by the water")
    with pytest.raises(UsageError, match="--add-sep"):
        encode_passages(load(qwen3, document_prompt="{document} end"), ["a"], text_pairs=["b"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"query_prompt": "a", "query_prefix": "b"}, "query prefix and query prompt"),
        ({"document_prompt": "a", "document_prompt_name": "b"}, "document prompt and document prompt name"),
        ({"query_prompt": "a {document}"}, "is called {query}, not {document}"),
        ({"document_prompt": "a {text}"}, "is called {document}, not {text}"),
        ({"query_prompt": "{query} or {query}"}, "more than once"),
        ({"query_prompt_name": "query"}, "it names no prompts"),
    ],
)
def test_what_cannot_be_meant_is_refused(qwen3: Path, options: dict[str, str], named: str):
    with pytest.raises(UsageError) as error:
        load(qwen3, **options)
    assert named in str(error.value)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole network that was trained with a template, and a token at the end of every text."""
    folder = tmp_path_factory.mktemp("checkpoint")
    backbone = write_decoder(folder / "llama", "llama", ends_texts=False)
    options = TrainOptions.of(
        kind="bi-encoder", collection="x", output="y", backbone=str(backbone), method="full",
        query_prompt=TEMPLATE, document_prompt="read:", append_eos=True,
    )  # fmt: skip
    model = new_untuned_model(TRAINING_KINDS["bi-encoder"], options.tuning.backbone, options.text)
    assert (model.config.pooling, model.config.append_token) == ("last", "</s>")
    model.config = replace(model.config, method="full")
    from iaa_retrieval.models.checkpoint import save_networks, save_tokenizer, weights_fingerprint

    path = folder / "trained"
    path.mkdir()
    save_networks(model.networks, path)
    save_tokenizer(model.tokenizer, path)
    replace(model.config, fingerprint=BiEncoder.fingerprint_of(model.config, weights_fingerprint(path))).save(path)
    return path


def test_a_checkpoint_says_what_stands_around_its_texts(checkpoint: Path, tmp_path: Path):
    ours = load(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.parent / "llama")
    rows = [[*row, 2] for row in tokenizer([TEMPLATE.replace("{query}", text) for text in TEXTS[:2]])["input_ids"]]
    expected = encode_token_ids(ours, rows, role="query", max_length=64)
    np.testing.assert_allclose(encode_queries(ours, TEXTS[:2]), expected, atol=1e-6)
    same = {"query_prompt": TEMPLATE, "document_prompt": "read:", "append_eos": True}
    np.testing.assert_allclose(encode_queries(load(checkpoint, **same), TEXTS[:2]), expected, atol=1e-6)
    for other in ("Query: {query} by the water", "Instruct: find a good book\nQuery: ", ""):
        with pytest.raises(UsageError, match=r"query prompt .* contradicts checkpoint"):
            load(checkpoint, query_prompt=other)
    with pytest.raises(UsageError, match="document prefix 'read:' contradicts"):
        load(checkpoint, document_prefix="read:")  # puts a space after it
    # Without a tokenizer of its own, it has its backbone's, which does not append the token by itself.
    small = Path(shutil.copytree(checkpoint, tmp_path / "small"))
    for file in small.glob("tokenizer*"):
        file.unlink()
    np.testing.assert_allclose(encode_queries(load(small), TEXTS[:2]), expected, atol=1e-6)
    plain = tmp_path / "plain"
    plain.mkdir()
    config = read_retriever_config(checkpoint)
    assert config is not None
    replace(config, query_suffix="", append_token="").save(plain)  # what older versions read
    assert not {"query_suffix", "document_suffix", "append_token"} & set(
        (plain / "retriever.json").read_text().split('"')
    )


def test_an_export_says_so_too_or_is_refused(checkpoint: Path, tmp_path: Path):
    from sentence_transformers import SentenceTransformer

    source = Source(str(checkpoint), load(checkpoint))
    with pytest.raises(UsageError, match="' by the water' after every query"):
        get_format("sentence-transformers").write(source, tmp_path)
    assert "puts nothing after a text" in stock_commands(source, "merged")
    source.config = source.model.config = replace(source.config, query_suffix="")
    get_format("sentence-transformers").write(source, tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    ours = load(tmp_path)
    assert (ours.config.query_prompt, ours.config.append_token) == ("Instruct: find a good book\nQuery: ", "</s>")
    np.testing.assert_allclose(encode_queries(ours, TEXTS), theirs.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encode_passages(ours, TEXTS), theirs.encode_document(TEXTS), atol=1e-5)
    commands = stock_commands(source, "merged")
    assert "--encoder-class qwen3 --l2-norm --prefix read:" in commands
    assert "--query-prefix 'Instruct: find a good book\nQuery: '" in commands


def test_a_cross_encoder_is_trained_with_prompts(tiny_backbone: Callable[..., Path]):
    values = {"collection": "x", "output": "y", "backbone": str(tiny_backbone("bert")), "query_prompt": "find:{query}?"}
    options = TrainOptions.of(kind="cross-encoder", **values)
    config = new_untuned_model(TRAINING_KINDS["cross-encoder"], options.tuning.backbone, options.text).config
    assert (config.query_lead, config.query_suffix) == ("find:", "?")
    with pytest.raises(UsageError, match="no room"):
        options = TrainOptions.of(kind="cross-encoder", **{**values, "query_prompt": f"{LONG} {{query}} a"})
        new_untuned_model(TRAINING_KINDS["cross-encoder"], options.tuning.backbone, options.text)
