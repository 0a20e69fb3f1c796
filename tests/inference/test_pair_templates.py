"""What a template makes of a pair, token by token; where it is cut; and the head on the last token."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reranker_models import BEGIN, END, decoder_tokenizer, write_decoder
from transformers import AutoModel, AutoModelForSequenceClassification

from iaa_retrieval.errors import UsageError
from iaa_retrieval.inference.cuts import document_cuts, query_cuts
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.pair_tokens import PairReader
from iaa_retrieval.models.cross_encoder import SHORTEST_PAIR, CrossEncoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.pair_template import (
    TEMPLATES,
    PairSettings,
    parse_template,
    template_instruction,
    template_text,
)
from iaa_retrieval.models.retriever_config import RetrieverConfig, read_retriever_config
from iaa_retrieval.models.template_tokens import template_rows


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("pairs") / "llama", "llama")


@pytest.fixture(scope="module")
def answering(llama: Path) -> CrossEncoder:
    return new_cross_encoder(str(llama), "yes-no").eval()


def test_the_reranker_of_qwen3_gets_what_its_authors_wrote() -> None:
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    text = template_text("qwen3-reranker")
    template = parse_template(text, template_instruction(text, None))
    instruction = "Given a web search query, retrieve relevant passages that answer the query"
    expected = f"{prefix}<Instruct>: {instruction}\n<Query>: a\n<Document>: b{suffix}"
    assert template.fill("a", "b").text == expected
    # Places are looked for in the template alone, not in what is put in.
    hostile = parse_template(text, "{query}{document}").fill("{document}", "{query}{instruction}")
    assert hostile.text == f"{prefix}<Instruct>: {{query}}{{document}}\n<Query>: {{document}}\n<Document>: " + (
        f"{{query}}{{instruction}}{suffix}"
    )
    assert hostile.text[hostile.start : hostile.end] == "{query}{instruction}"
    turned = parse_template("D {document} Q {query}.", "").fill("why", "water")
    assert turned.text == "D water Q why." and turned.text[turned.start : turned.end] == "water"


@pytest.mark.parametrize("spare", [-1, 0, 3])
def test_the_document_is_cut_and_nothing_else(spare: int, answering: CrossEncoder) -> None:
    tokenizer, template = answering.tokenizer, answering.template
    assert template is not None
    pairs = [("what is water", "the world " * 9), ("what is water", "")]
    whole, short = template_rows(tokenizer, template, pairs, open_end=True)
    text = template.fill(*pairs[0]).text
    assert whole.ids == tokenizer(text)["input_ids"] and whole.ids[0] == tokenizer.convert_tokens_to_ids(BEGIN)
    length = len(whole.ids) + spare
    cut: list[int] = []
    reader = PairReader(answering, length)
    row, other = reader.tokens(pairs, on_document_cut=cut.append).input_ids
    after = tokenizer(template.after, add_special_tokens=False)["input_ids"]
    assert other == short.ids and row[-len(after) :] == after
    assert cut == ([0] if spare < 0 else [])
    if spare < 0:
        assert len(row) == length and row == whole.ids[: -len(after) - 1] + after
    else:
        assert row == whole.ids
    inputs = reader.inputs(reader.tokens(pairs), [0, 1], torch.device("cpu"))
    assert inputs["attention_mask"].sum(1).tolist() == [len(row), len(other)]


def test_long_texts_are_counted_and_leave_the_template_whole(answering: CrossEncoder) -> None:
    model = answering.with_lengths(document=answering.template_length + 40, query=8)
    assert model.query_limit == 8 and model.text_room == 40
    tokens = PairReader(model).tokens([("water " * 50, "land " * 200)], on_query_cut=[].append)
    (row,) = tokens.input_ids
    assert len(row) == answering.template_length + 40
    text = model.tokenizer.decode(row)
    assert text.startswith(f"{BEGIN}Query: water") and text.endswith("\nRelevant (yes or no):\n")
    assert "\nDocument: land land" in text
    of_queries, of_pairs = query_cuts(model), document_cuts(model)
    score_pairs(model, [("water " * 50, "b"), ("a", "b")], on_query_cut=of_queries.among(["1", "2"]))
    score_pairs(model, [("a", "land " * 200), ("a", "b")], on_pair_cut=of_pairs.count(2))
    assert of_queries._cut_names == {"1"} and of_pairs._cut == 1
    with pytest.raises(UsageError, match=f"leave no room for texts: .* takes {model.template_length}; "):
        PairReader(model, model.template_length + SHORTEST_PAIR - 1)


def test_a_first_token_that_the_template_brings_is_not_doubled(answering: CrossEncoder) -> None:
    template = parse_template(f"{BEGIN}{{query}}|{{document}}?", "")
    (row,) = template_rows(answering.tokenizer, template, [("a", "b")], open_end=True)
    assert answering.tokenizer.decode(row.ids) == f"{BEGIN}a|b?"


def test_prompts_and_prefixes_are_parts_of_the_template(answering: CrossEncoder) -> None:
    led = answering.with_config(query_prefix="search", document_prompt="Text=")
    pairs = [("water of the world", "the boy read " * 4)]
    by_hand = [(f"search {query}", f"Text={document}") for query, document in pairs]
    np.testing.assert_allclose(score_pairs(led, pairs), score_pairs(answering, by_hand), atol=1e-5)
    (row,) = PairReader(led, led.template_length + SHORTEST_PAIR).tokens([("a", "water " * 50)]).input_ids
    text = led.tokenizer.decode(row)
    assert "search a\nDocument: Text=water water" in text and text.endswith("\nRelevant (yes or no):\n")


@torch.no_grad()
def test_the_last_token_is_that_of_the_mask(llama: Path) -> None:
    """Whichever side is padded, and where the text ends in the very token that pads."""
    model = new_cross_encoder(str(llama)).eval()
    assert model.config.head == "last"
    encoder, weight = AutoModel.from_pretrained(llama).eval(), model.classifier.relevance_head.linear.weight[0]
    rows = [[3, 70, 71, 72, 0], [3, 75, 0]]  # 0 is the end of a text
    expected = [float(encoder(torch.tensor([row]))[0][0, -1] @ weight) for row in rows]
    ids = {"right": [rows[0], [*rows[1], 0, 0]], "left": [rows[0], [0, 0, *rows[1]]]}
    masks = {"right": [[1] * 5, [1, 1, 1, 0, 0]], "left": [[1] * 5, [0, 0, 1, 1, 1]]}
    for side in ("right", "left"):
        scores = model(input_ids=torch.tensor(ids[side]), attention_mask=torch.tensor(masks[side]))
        np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)
    # transformers' own classifier goes by the pad token, and takes the token before.
    stock = AutoModelForSequenceClassification.from_pretrained(llama, num_labels=1, pad_token_id=0).eval()
    stock.score.weight.copy_(weight[None])
    theirs = stock(input_ids=torch.tensor(ids["right"]), attention_mask=torch.tensor(masks["right"])).logits[:, 0]
    before = [float(encoder(torch.tensor([row]))[0][0, -2] @ weight) for row in rows]
    np.testing.assert_allclose(theirs.numpy(), before, atol=1e-5)


def test_the_default_head_is_the_last_token_of_decoders_and_keeps_a_classifiers_own(
    tmp_path: Path, llama: Path, tiny_backbone: Any
) -> None:
    classifier = write_decoder(tmp_path / "classifier", "qwen3", "ForSequenceClassification", num_labels=1)
    model = new_cross_encoder(str(classifier))
    theirs = AutoModelForSequenceClassification.from_pretrained(classifier)
    assert model.config.head == "pooler" and torch.equal(model.classifier.score.weight, theirs.score.weight)
    assert new_cross_encoder(str(tiny_backbone("bert"))).config.head == "pooler"
    assert new_cross_encoder(str(llama)).config.pair_template == TEMPLATES["plain"]
    assert new_cross_encoder(str(llama), "last", PairSettings(template="none")).config.pair_template == ""
    # Encoders have their separators.
    assert new_cross_encoder(str(tiny_backbone("bert")), "last").config.pair_template == ""


def test_padding_batches_and_half_precision_change_little(answering: CrossEncoder) -> None:
    pairs = [("water of the world", "the boy read " * 5), ("land", "light"), ("a", "")]
    together = score_pairs(answering, pairs)
    np.testing.assert_allclose(together, [score_pairs(answering, [pair])[0] for pair in pairs], atol=1e-5)
    half = copy.deepcopy(answering.classifier).to(torch.bfloat16)
    scores = score_pairs(CrossEncoder(half, answering.tokenizer, answering.config, "x"), pairs)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, together, atol=0.1 * np.abs(together).max())


def test_settings_of_a_pair_are_read_back_and_old_files_too(tmp_path: Path) -> None:
    config = RetrieverConfig(
        kind="cross-encoder", head="yes-no", pair_template="{query}|{document}", pair_tokens=("yes", "no")
    )
    config.save(tmp_path)
    assert read_retriever_config(tmp_path) == config
    replace(config, head="mean", pair_template="", pair_tokens=()).save(tmp_path)
    assert "pair_" not in (tmp_path / "retriever.json").read_text()  # versions before this one read it
    assert read_retriever_config(tmp_path) == RetrieverConfig(kind="cross-encoder", head="mean")


def test_another_template_or_other_words_are_another_model() -> None:
    config = RetrieverConfig(
        kind="cross-encoder", head="yes-no", pair_template="{query}|{document}", pair_tokens=("a", "b")
    )
    others = [replace(config, pair_template="{query}{document}"), replace(config, pair_tokens=("b", "a"))]
    assert len({CrossEncoder.fingerprint_of(one, "weights") for one in (config, *others)}) == 3
    stock = RetrieverConfig(kind="cross-encoder")
    assert CrossEncoder.fingerprint_settings(stock) == ()


def test_the_words_of_tokenizers() -> None:
    from iaa_retrieval.models.pair_settings import token_ids

    tokenizer = decoder_tokenizer("qwen3")
    vocabulary = tokenizer.get_vocab()
    assert token_ids(tokenizer, ("yes", " no"), "x") == (vocabulary["yes"], vocabulary["Ġno"])
    assert token_ids(tokenizer, (END, "Ġno"), "x") == (0, vocabulary["Ġno"])
