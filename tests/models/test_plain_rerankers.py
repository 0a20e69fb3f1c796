"""Re-rankers of others against sentence-transformers, and against log-odds written out by hand."""

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
from reranker_models import END, FAMILIES, write_decoder, write_t5
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.models.bi_encoder import BiEncoder
from iaa_retrieval.models.cross_encoder import CrossEncoder, load_cross_encoder
from iaa_retrieval.models.kinds import kind_of, load_retriever
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.models.pair_template import TEMPLATES, PairSettings

PAIRS = [
    ("water of the world", "the boy read a good book by the water"),
    ("é", "Ünïcode\nand {query} braces"),
    ("what is relevant", "land " * 12),
    ("light", ""),
]
YES_NO = PairSettings("yes-no")
INSTRUCTION = "Find what answers the question"
# The roles are sentence-transformers'; a system's message is its prompt.
CHAT = (
    "{%- for m in messages if m.role == 'system' %}<|im_start|>{{ m.content }}<|im_end|>\n{% endfor -%}"
    "{%- for m in messages if m.role == 'query' %}<Query>: {{ m.content }}\n{% endfor -%}"
    "{%- for m in messages if m.role == 'document' %}<Document>: {{ m.content }}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt %}<|im_start|>{% endif -%}"
)
Decoder = Callable[..., Path]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    root = tmp_path_factory.mktemp("decoders")
    made: dict[tuple[str, str], Path] = {}

    def make(family: str, kind: str = "ForCausalLM") -> Path:
        if (family, kind) not in made:
            changes = {"num_labels": 1} if kind == "ForSequenceClassification" else {}
            made[family, kind] = write_decoder(root / f"{family}{kind}", family, kind, **changes)
        return made[family, kind]

    return make


def load(path: Path, pair: PairSettings | None = None, **settings: Any) -> CrossEncoder:
    return load_cross_encoder(str(path), pair=pair, precision="fp32", device="cpu", **settings)


def filled(template: str, query: str, document: str, instruction: str = "") -> str:
    return (
        template.replace("{instruction}", instruction).replace("{query}", query, 1).replace("{document}", document, 1)
    )


@torch.no_grad()
def log_odds(path: Path, texts: list[str], words: tuple[str, str]) -> list[float]:
    """log p(yes) - log p(no) of the next token, from the language model's whole distribution, text by text."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    yes, no = tokenizer.convert_tokens_to_ids(list(words))
    scores = []
    for text in texts:
        probabilities = model(**tokenizer(text, return_tensors="pt")).logits[0, -1].double().log_softmax(-1)
        scores.append(float(probabilities[yes] - probabilities[no]))
    return scores


@pytest.mark.parametrize("family", FAMILIES)
def test_yes_and_no_of_a_language_model(family: str, decoder: Decoder) -> None:
    path = decoder(family)
    model = load(path, YES_NO)
    config = model.config
    assert config.pair_template == TEMPLATES["qwen3-reranker" if family == "qwen3" else "plain"]
    texts = [filled(config.pair_template, query, document, config.pair_instruction) for query, document in PAIRS[2:3]]
    for query, document in (PAIRS[0], PAIRS[1], PAIRS[3]):
        template = config.pair_template.replace("{instruction}", config.pair_instruction)
        before, rest = template.split("{query}")
        between, after = rest.split("{document}")
        texts.append(f"{before}{query}{between}{document}{after}")
    expected = log_odds(path, texts, ("yes", "no"))
    scores = score_pairs(model, [PAIRS[2], PAIRS[0], PAIRS[1], PAIRS[3]])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.01
    # Other words, another text around the pair, and the end-of-text token as a word like any other.
    other = load(path, PairSettings("yes-no", "{document}" + END + "{query}?", tokens=(END, "no")))
    expected = log_odds(path, [f"{document}{END}{query}?" for query, document in PAIRS], (END, "no"))
    np.testing.assert_allclose(score_pairs(other, PAIRS), expected, atol=1e-5)


def test_a_language_model_saved_by_sentence_transformers(tmp_path: Path, decoder: Decoder) -> None:
    """What it says is enough: the words, the chat template, the prompt and the length."""
    from sentence_transformers import CrossEncoder as Theirs
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules.logit_score import LogitScore

    source = tmp_path / "source"
    shutil.copytree(decoder("qwen3"), source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(source)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    chat = {"chat_template": {"add_generation_prompt": True}}
    transformer = Transformer(
        str(source), transformer_task="text-generation", max_seq_length=300, processing_kwargs=chat
    )
    theirs = Theirs(
        modules=[transformer, LogitScore(yes, no)],
        prompts={"instruct": INSTRUCTION},
        default_prompt_name="instruct",
        device="cpu",
    )
    theirs.save_pretrained(str(tmp_path / "saved"))
    expected = theirs.predict(PAIRS, activation_fn=nn.Identity())
    ours = load_retriever(str(tmp_path / "saved"), precision="fp32", device="cpu")
    assert isinstance(ours, CrossEncoder)
    np.testing.assert_allclose(score_pairs(ours, PAIRS), expected, atol=1e-5)
    config = ours.config
    assert (config.head, config.pair_tokens, config.pair_instruction) == ("yes-no", ("yes", "no"), INSTRUCTION)
    assert config.document_max_length == 300 and config.pair_template.endswith("{document}<|im_end|>\n<|im_start|>")
    # The instruction is one's own to give.
    asked = score_pairs(load(tmp_path / "saved", PairSettings(instruction="Find water")), PAIRS)
    other = theirs.predict(PAIRS, activation_fn=nn.Identity(), prompt="Find water")
    np.testing.assert_allclose(asked, other, atol=1e-5)
    # A chat template without these roles is refused, unless one's own takes its place.
    (tmp_path / "saved" / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}{% endfor %}")
    with pytest.raises(IaaRetrievalError, match="does not put the messages of system, query, document into one text"):
        load(tmp_path / "saved")
    pair = load(tmp_path / "saved", PairSettings(template="plain")).config
    assert (pair.pair_template, pair.pair_tokens) == (TEMPLATES["plain"], ("yes", "no"))


@pytest.mark.parametrize("family", ["bert", "qwen3"])
def test_a_classifier_with_one_output(
    family: str, tmp_path: Path, decoder: Decoder, tiny_backbone: Callable[[str], Path]
) -> None:
    from sentence_transformers import CrossEncoder as Theirs
    from transformers import AutoModelForSequenceClassification

    if family == "bert":
        path = tmp_path / "classifier"
        shutil.copytree(tiny_backbone("bert"), path)
        torch.manual_seed(5)
        whole = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1)
        with torch.no_grad():
            whole.classifier.weight.mul_(300)
        whole.save_pretrained(path)
        settings = json.loads((path / "tokenizer_config.json").read_text())
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's own
        (path / "tokenizer_config.json").write_text(json.dumps(settings))
    else:
        path = decoder("qwen3", "ForSequenceClassification")
    theirs = Theirs(str(path), device="cpu")
    if theirs.tokenizer.pad_token is None or theirs.config.pad_token_id is None:
        theirs.config.pad_token_id = theirs.model.config.pad_token_id = theirs.tokenizer.pad_token_id
    ours = load_retriever(str(path), precision="fp32", device="cpu")
    assert isinstance(ours, CrossEncoder) and ours.config.head == "pooler" and ours.config.is_untuned
    pairs = [(query, document or "land") for query, document in PAIRS]
    scores = score_pairs(ours, pairs)
    np.testing.assert_allclose(scores, theirs.predict(pairs, activation_fn=nn.Identity()), atol=1e-5)
    assert np.ptp(scores) > 0.01
    # A template makes the text that its author gave it by hand.
    text = "Q: {query} D: {document} ?"
    templated = load(path, PairSettings(template=text))
    if family == "qwen3":
        from transformers import AutoModelForSequenceClassification as Auto

        network, tokenizer = Auto.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
        ids = tokenizer(filled(text, *PAIRS[0]), return_tensors="pt")
        with torch.no_grad():
            expected = network(input_ids=ids["input_ids"]).logits.item()
        assert score_pairs(templated, PAIRS[:1])[0] == pytest.approx(expected, abs=1e-5)


def test_a_prompt_and_a_length_of_sentence_transformers(tiny_backbone: Callable[[str], Path], tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder as Theirs

    theirs = Theirs(str(tiny_backbone("distilbert")), num_labels=1, max_length=40, device="cpu")
    theirs.prompts, theirs.default_prompt_name = {"query": "find water "}, "query"
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = load(tmp_path / "saved")
    assert ours.config.query_prompt == "find water " and ours.config.document_max_length == 40
    pairs = [("the world", "land and water made the world"), ("people", "light")]
    np.testing.assert_allclose(score_pairs(ours, pairs), theirs.predict(pairs, activation_fn=nn.Identity()), atol=1e-5)


@torch.no_grad()
def test_monot5(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_t5(tmp_path / "monot5-tiny")
    caplog.set_level(logging.INFO, "iaa_retrieval")
    ours = load(path)  # by its name, which is said
    assert "is taken for a monot5 by its name: --head yes-no" in caplog.text
    assert ours.config.pair_tokens == ("▁true", "▁false")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    yes, no = tokenizer.convert_tokens_to_ids(["▁true", "▁false"])
    pairs = [("water of world", "the boy read a good book by the water"), ("light", "land land"), ("land", "")]
    expected = []
    for query, document in pairs:
        ids = tokenizer(f"Query: {query} Document: {document} Relevant:", return_tensors="pt")["input_ids"]
        assert ids[0, -1] == tokenizer.eos_token_id
        logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0].double().log_softmax(-1)
        expected.append(float(logits[yes] - logits[no]))
    np.testing.assert_allclose(score_pairs(ours, pairs), expected, atol=1e-5)
    assert np.ptp(expected) > 0.01
    with pytest.raises(UsageError, match="methods are put on one stack of layers: --head yes-no of an encoder-decoder"):
        new_cross_encoder(str(path), "yes-no")


def test_a_family_is_known_by_its_name_and_nothing_else_is_guessed(
    tmp_path: Path, decoder: Decoder, tiny_backbone: Callable[[str], Path]
) -> None:
    named = tmp_path / "Qwen3-Reranker-0.1B"
    shutil.copytree(decoder("qwen3"), named)
    assert kind_of(str(named)) == "cross-encoder" and load(named).config.pair_template == TEMPLATES["qwen3-reranker"]
    # An embedder of the same architecture has the same files.
    assert kind_of(str(decoder("qwen3"))) == kind_of(str(tiny_backbone("bert"))) == "bi-encoder"
    assert kind_of(str(decoder("qwen3")), YES_NO) == "cross-encoder"
    assert isinstance(load_retriever(str(decoder("qwen3")), precision="fp32", device="cpu"), BiEncoder)
    (named / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Pooling", "path": "1"}]))
    assert kind_of(str(named)) == "bi-encoder"


def edited(path: Path, to: Path, **values: Any) -> Path:
    shutil.copytree(path, to)
    file = to / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return to


def test_a_head_that_would_be_random_is_refused(decoder: Decoder, tmp_path: Path) -> None:
    bare = edited(
        decoder("qwen3", "Model"),
        tmp_path / "bare",
        architectures=["Qwen3ForSequenceClassification"],
        id2label={"0": "LABEL_0"},
    )
    with pytest.raises(IaaRetrievalError, match=r"has no weights for score.weight, so that its scores would be random"):
        load(bare)
    headless = edited(decoder("llama", "Model"), tmp_path / "headless")
    with pytest.raises(IaaRetrievalError, match=r"has no weights for lm_head.weight"):
        load(headless, YES_NO)
    with pytest.raises(IaaRetrievalError, match=r"has no weights for lm_head.weight"):
        new_cross_encoder(str(headless), "yes-no")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PairSettings("last"), "--head last is ours, and .* has none of ours"),
        (PairSettings("pooler"), "is Qwen3ForCausalLM; --head pooler is the head of a classifier with one output"),
        (PairSettings(template="plain"), "does not say that it re-ranks"),
        (PairSettings("yes-no", "none"), "--pair-template none leaves nothing to answer"),
        (PairSettings("yes-no", "{query} only"), "must have {document} once, or be one of qwen3-reranker"),
        (PairSettings("yes-no", "plain", instruction="Find"), "--pair-instruction has no place in this template"),
        (PairSettings("yes-no", tokens=("yes", "perhaps")), "'perhaps' is .* tokens of the vocabulary"),
        (PairSettings("yes-no", tokens=("no", "no")), "are the same token"),
    ],
)
def test_what_a_decoder_cannot_be_asked(settings: PairSettings, message: str, decoder: Decoder) -> None:
    with pytest.raises(UsageError, match=message):
        load(decoder("qwen3"), settings)


def test_what_others_cannot_be_asked(tiny_backbone: Callable[[str], Path], decoder: Decoder) -> None:
    bert = str(tiny_backbone("bert"))
    with pytest.raises(IaaRetrievalError, match=r"has no retriever\.json"):
        load(tiny_backbone("bert"))
    with pytest.raises(IaaRetrievalError, match="are no products of its last token with rows of its vocabulary"):
        edited_lm(bert)
    with pytest.raises(UsageError, match="--pair-template makes one text of both"):
        new_cross_encoder(bert, "segments", PairSettings(template="plain"))
    with pytest.raises(UsageError, match="--pair-tokens is for --head yes-no, not for mean"):
        new_cross_encoder(bert, "mean", PairSettings(tokens=("a", "b")))
    model = load(decoder("qwen3"), YES_NO)
    with pytest.raises(UsageError, match=rf"{16 + model.template_length} to 512 tokens, of which the template takes"):
        model.with_lengths(document=model.template_length + 15)


def edited_lm(bert: str) -> None:
    """BERT's language model has a layer of its own between the last states and the vocabulary."""
    from transformers import AutoModelForMaskedLM, BertLMHeadModel

    folder = Path(bert).parent / "bert-lm"
    if not folder.exists():
        shutil.copytree(bert, folder)
        torch.manual_seed(2)
        BertLMHeadModel(AutoModelForMaskedLM.from_pretrained(bert).config).save_pretrained(folder)
    new_cross_encoder(str(folder), "yes-no", PairSettings(tokens=("water", "land")))
