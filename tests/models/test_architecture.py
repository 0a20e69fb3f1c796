"""Models that AutoModel can load: each is encoded, or refused when it is loaded, with the true reason."""

from __future__ import annotations

import builtins
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import transformers
from checkpoints import TEXTS, trained, write_collection
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.text_encoder import encode_passages
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models import backbone as backbone_module
from iaa_retrieval.models.backbone import fingerprint_weights, hub_options
from iaa_retrieval.models.backbone_files import warn_of_own_code
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.new_retriever import new_cross_encoder
from iaa_retrieval.training.options import TrainOptions
from iaa_retrieval.training.run import train_retriever

Backbone = Callable[[str], Path]
Make = Callable[..., Path]
ROWS = 202  # of the tiny backbones' tokenizer

_SIZE = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_T5 = {"vocab_size": ROWS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_BART = {
    **{
        "vocab_size": ROWS,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "pad_token_id": 0,
        "bos_token_id": 2,
    },
    **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
    **{"eos_token_id": 3, "decoder_start_token_id": 2, "forced_eos_token_id": None},
}
_IMAGE = {key: value for key, value in _SIZE.items() if key != "vocab_size"} | {"image_size": 16, "patch_size": 8}
_CLIP_TEXT = {**_SIZE, "max_position_embeddings": 64, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
_SOUND = {
    **{**_SIZE, "conv_dim": (8, 8), "conv_stride": (2, 2), "conv_kernel": (3, 3), "num_feat_extract_layers": 2},
    **{"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
}
_SEGFORMER = {"hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "depths": [1] * 4, "decoder_hidden_size": 16}
_WHISPER = {**_BART, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 20}


@pytest.fixture
def make(tiny_backbone: Backbone, tmp_path: Path) -> Make:
    """``make("T5Model", d_model=32)``: a directory with a random model of that class, and the tiny tokenizer."""

    def make(model_class: str, config_class: str | None = None, **values: Any) -> Path:
        directory = tmp_path / model_class
        config = getattr(transformers, config_class or model_class.removesuffix("Model") + "Config")
        torch.manual_seed(7)
        getattr(transformers, model_class)(config(**values)).save_pretrained(directory)
        for path in tiny_backbone("bert").glob("tokenizer*"):
            shutil.copy(path, directory)
        return directory

    return make


@pytest.fixture
def copied(tiny_backbone: Backbone, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_backbone("bert"), tmp_path / "backbone"))


def edit(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def refusal(load: Callable[[str], Any], path: Path | str) -> str:
    with pytest.raises(IaaRetrievalError) as error:
        load(str(path))
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    assert "trust_remote_code" not in message and "ignore_mismatched_sizes" not in message
    return message


def not_damaged(message: str) -> None:
    assert "damaged" not in message and "hub id that this machine can reach" not in message


# T5: the encoder alone, whether the directory holds the decoder or not.


@pytest.mark.parametrize(
    ("stored", "config", "encoder"),
    (
        ("T5Model", "T5Config", "T5EncoderModel"),
        ("T5ForConditionalGeneration", "T5Config", "T5EncoderModel"),
        ("T5EncoderModel", "T5Config", "T5EncoderModel"),
        ("MT5EncoderModel", "MT5Config", "MT5EncoderModel"),
        ("UMT5Model", "UMT5Config", "UMT5EncoderModel"),
        ("LongT5Model", "LongT5Config", "LongT5EncoderModel"),
    ),
)
def test_the_encoder_of_a_t5_is_used(stored: str, config: str, encoder: str, make: Make):
    path = make(stored, config, **_T5, decoder_start_token_id=0)
    ours = load_bi_encoder(str(path), pooling="mean", normalize=False, precision="fp32", device="cpu")
    by_hand = getattr(transformers, encoder).from_pretrained(path).eval()
    expected = []
    for text in TEXTS:
        ids = torch.tensor([ours.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            expected.append(by_hand(input_ids=ids)[0][0].mean(0).numpy())
    np.testing.assert_allclose(encode_passages(ours, TEXTS), np.stack(expected), atol=1e-5)


def test_a_fully_tuned_t5_comes_back_and_is_exported(make: Make, tmp_path: Path):
    path = make("T5Model", **_T5, decoder_start_token_id=0)
    common: dict[str, Any] = {"kind": "bi-encoder", "collection": str(write_collection(tmp_path / "toy")), "lr": 1e-2}
    common |= {"max_steps": 2, "batch_size": 2, "precision": "fp32", "device": "cpu", "method": "full"}
    train_retriever(TrainOptions.of(**common, backbone=str(path), output=str(tmp_path / "first")))
    first = load_bi_encoder(str(tmp_path / "first"), precision="fp32", device="cpu")
    plain = load_bi_encoder(str(path), pooling="mean", normalize=True, precision="fp32", device="cpu")
    assert np.abs(encode_passages(first, TEXTS) - encode_passages(plain, TEXTS)).max() > 1e-3
    train_retriever(TrainOptions.of(**common, backbone=str(tmp_path / "first"), output=str(tmp_path / "second")))
    second = load_bi_encoder(str(tmp_path / "second"), precision="fp32", device="cpu")
    assert second.config.backbone_fingerprint == fingerprint_weights(first.encoder)
    export(ExportOptions(str(tmp_path / "second"), "merged", str(tmp_path / "merged")))
    merged = load_bi_encoder(str(tmp_path / "merged"), precision="fp32", device="cpu")
    np.testing.assert_allclose(encode_passages(merged, TEXTS), encode_passages(second, TEXTS), atol=1e-5)
    readme = (tmp_path / "merged" / "README.md").read_text()
    assert "T5EncoderModel.from_pretrained(" in readme and "pyserini.encode" not in readme


# What is no encoder of text.


@pytest.mark.parametrize(
    ("model", "values", "reason"),
    (
        ("BartModel", _BART, "is a model of type bart, an encoder-decoder"),
        ("PegasusModel", _BART, "is a model of type pegasus, an encoder-decoder"),
        ("WhisperModel", _WHISPER, "which reads input_features, no text"),
        ("ViTModel", _IMAGE, "is a model of type vit, which reads pixel_values, no text"),
        ("SegformerModel", _SEGFORMER, "which reads pixel_values, no text"),
        ("Wav2Vec2Model", _SOUND, "which reads input_values, no text"),
        (
            "CLIPModel",
            {"text_config": _CLIP_TEXT, "vision_config": _IMAGE, "projection_dim": 16},
            "it reads pixel_values",
        ),
        ("DPRQuestionEncoder", {**_SIZE}, "four tokens give (1, 32) where (1, 4, 32) is needed"),
        ("OPTModel", {**_SIZE, "ffn_dim": 64, "word_embed_proj_dim": 16}, "four tokens give (1, 4, 16)"),
    ),
)
def test_a_model_without_token_vectors_is_refused_when_it_is_loaded(
    model: str, values: dict[str, Any], reason: str, make: Make
):
    path = make(model, "DPRConfig" if model.startswith("DPR") else None, **values)
    message = refusal(load_bi_encoder, path)
    assert reason in message
    not_damaged(message)


@pytest.mark.parametrize(
    ("model", "values"),
    (
        ("AlbertModel", {**_SIZE, "embedding_size": 16}),
        ("DebertaV2Model", {**_SIZE, "relative_attention": True, "type_vocab_size": 0}),
        ("Qwen3Model", {**_SIZE, "num_key_value_heads": 2, "head_dim": 8}),
        (
            "FunnelModel",
            {"vocab_size": ROWS, "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1]},
        ),
        ("XLNetModel", {"vocab_size": ROWS, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}),
        ("CLIPTextModel", _CLIP_TEXT),
    ),
)
def test_other_encoders_of_text_are_encoded(model: str, values: dict[str, Any], make: Make):
    vectors = encode_passages(load_bi_encoder(str(make(model, **values)), pooling="mean", precision="fp32"), TEXTS)
    assert vectors.shape == (len(TEXTS), 32) and np.isfinite(vectors).all()


@pytest.mark.parametrize(
    ("model", "values", "reason"),
    (
        ("T5Model", {**_T5, "decoder_start_token_id": 0}, "cannot score pairs of texts as it is: All examples must"),
        ("T5EncoderModel", _T5, "it is an encoder by itself, and this use of its architecture needs the decoder too"),
        ("ViTModel", _IMAGE, "transformers has no model with one score per pair of texts"),
        ("CLIPTextModel", _CLIP_TEXT, "transformers has no model with one score per pair of texts"),
    ),
)
def test_what_cannot_score_pairs_is_no_cross_encoder(model: str, values: dict[str, Any], reason: str, make: Make):
    message = refusal(new_cross_encoder, make(model, "T5Config" if model.startswith("T5") else None, **values))
    assert reason in message
    not_damaged(message)


def test_a_decoder_scores_pairs_with_its_tokenizers_padding_and_is_refused_without(make: Make):
    path = make("Qwen3Model", **_SIZE, num_key_value_heads=2, head_dim=8)
    assert new_cross_encoder(str(path), "pooler").classifier.config.pad_token_id == 0
    edit(path / "tokenizer_config.json", pad_token=None)
    assert "no padding token is defined" in refusal(lambda name: new_cross_encoder(name, "pooler"), path)
    assert new_cross_encoder(str(path)).config.head == "last"  # by the attention mask, which needs no such token


def test_a_backbone_without_a_padding_token_is_encoded(copied: Path):
    expected = encode_passages(load_bi_encoder(str(copied), precision="fp32"), TEXTS)
    edit(copied / "tokenizer_config.json", pad_token=None)
    edit(copied / "config.json", pad_token_id=None)
    np.testing.assert_allclose(
        encode_passages(load_bi_encoder(str(copied), precision="fp32"), TEXTS), expected, atol=1e-6
    )


# Code that comes with a model.


@pytest.fixture
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*words: Any) -> NoReturn:
        raise AssertionError(f"a question: {words}")

    monkeypatch.setattr(builtins, "input", asked)


def with_own_code(path: Path, **changes: Any) -> Path:
    edit(path / "config.json", auto_map={"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}, **changes)
    (path / "own.py").write_text('raise SystemExit("this must never run")\n')
    return path


@pytest.mark.usefixtures("no_questions")
@pytest.mark.parametrize("load", (load_bi_encoder, new_cross_encoder))
def test_a_model_that_needs_its_own_code_is_refused_without_a_question(load: Any, copied: Path):
    message = refusal(load, with_own_code(copied, model_type="own"))
    assert "code of its own (auto_map" in message and "never run" in message


@pytest.mark.usefixtures("no_questions")
def test_own_code_of_a_known_architecture_is_left_out_and_said_once(copied: Path, caplog: pytest.LogCaptureFixture):
    expected = encode_passages(load_bi_encoder(str(copied), precision="fp32"), TEXTS)
    with_own_code(copied)
    warn_of_own_code.cache_clear()
    with caplog.at_level(logging.WARNING, "iaa_retrieval"):
        for _ in range(2):
            np.testing.assert_array_equal(
                encode_passages(load_bi_encoder(str(copied), precision="fp32"), TEXTS), expected
            )
    said = [record.message for record in caplog.records if record.name == "iaa_retrieval"]
    assert len(said) == 1 and str(copied) in said[0] and "transformers' own BertModel" in said[0]


@pytest.mark.usefixtures("no_questions")
def test_weights_that_only_fit_a_models_own_code_are_not_called_damaged(copied: Path):
    with_own_code(copied, num_hidden_layers=4)
    message = refusal(load_bi_encoder, copied)
    assert "lacks 16 of the encoder's weights" in message and "code of its own (auto_map" in message
    not_damaged(message)


# Files that are missing, malformed or of another kind.


def write(file: str, content: str | None) -> Callable[[Path], Any]:
    def apply(path: Path) -> None:
        if content is None:
            (path / file).unlink()
        else:
            (path / file).write_text(content)

    return apply


def sharded(path: Path) -> None:
    names = load_file(path / "model.safetensors")
    shards = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")


def pickled(path: Path) -> None:
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"no pickle")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    (
        (write("config.json", None), "has no config.json"),
        (write("config.json", '{"a": '), "config.json is not valid JSON"),
        (write("config.json", "[1]"), "config.json must hold a JSON object"),
        (lambda path: edit(path / "config.json", model_type=None), 'config.json has no "model_type"'),
        (lambda path: edit(path / "config.json", model_type="newbert"), "does not know its architecture"),
        (lambda path: edit(path / "config.json", hidden_size="many"), "Field 'hidden_size' expected int"),
        (lambda path: edit(path / "config.json", hidden_size=64), "have another shape than its config.json describes"),
        (lambda path: edit(path / "config.json", hidden_act="nope"), "KeyError: 'nope'"),
        (write("tokenizer.json", '{"a": '), "tokenizer.json is not valid JSON"),
        (write("tokenizer.json", '{"model": 3}'), "the tokenizer of"),
        (write("tokenizer_config.json", "{"), "tokenizer_config.json is not valid JSON"),
        (write("model.safetensors", None), "has no weights (model.safetensors)"),
        (sharded, "lacks 1 of the weight files that model.safetensors.index.json names"),
        (pickled, "cannot be loaded"),
        *(
            (lambda path, q=q: edit(path / "config.json", quantization_config=q), f"is quantised ({q['quant_method']})")
            for q in ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "gptq", "bits": 4})
        ),
    ),
)
@pytest.mark.parametrize("load", (load_bi_encoder, new_cross_encoder))
def test_a_spoilt_directory_is_one_line(load: Any, spoil: Callable[[Path], Any], reason: str, copied: Path):
    spoil(copied)
    message = refusal(load, copied)
    assert reason in message
    assert "hub id that this machine can reach" not in message


@pytest.mark.parametrize("load", (load_bi_encoder, new_cross_encoder))
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(load: Any, copied: Path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(copied)
    tokenizer.add_tokens(["workshop", "lathe"])
    tokenizer.save_pretrained(copied)
    assert f"has ids up to {ROWS + 1}, but the model has embeddings for {ROWS} tokens" in refusal(load, copied)
    model = transformers.AutoModel.from_pretrained(copied)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(copied)
    load(str(copied))


def test_an_adapter_that_transformers_reads_wrongly_is_refused(tiny_backbone: Backbone, copied: Path, tmp_path: Path):
    def adapter(name: str, **values: Any) -> Path:
        model = get_peft_model(
            transformers.AutoModel.from_pretrained(copied), LoraConfig(target_modules=["query"], **values)
        )
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter)
        model.save_pretrained(tmp_path / name)
        transformers.AutoTokenizer.from_pretrained(copied).save_pretrained(tmp_path / name)
        with torch.no_grad():
            expected[name] = model.eval()(torch.tensor([[2, 9, 3]]))[0]
        return tmp_path / name

    expected: dict[str, torch.Tensor] = {}
    plain = load_bi_encoder(str(adapter("lora")), precision="fp32", device="cpu")
    with torch.no_grad():
        assert torch.allclose(plain.encoder(torch.tensor([[2, 9, 3]]))[0], expected["lora"], atol=1e-5)
    assert "PEFT adapter (dora)" in refusal(load_bi_encoder, adapter("dora", use_dora=True))


# Hub ids, faked as a cache that holds them.


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], str]:
    """``cached(directory)``: put a directory's files into the hub's cache, and say under which id."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(transformers.utils.hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(directory: Path) -> str:
        home = tmp_path / "hub" / f"models--owner--{directory.name}"
        shutil.copytree(directory, home / "snapshots" / ("a" * 40))
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text("a" * 40)
        hub_options.cache_clear()
        return f"owner/{directory.name}"

    return put


def test_what_is_on_a_hub_is_encoded_or_refused_as_in_a_directory(
    cached: Callable[[Path], str], tiny_backbone: Backbone, copied: Path, tmp_path: Path
):
    name = cached(copied)
    vectors = encode_passages(load_bi_encoder(name, precision="fp32"), TEXTS)
    np.testing.assert_array_equal(vectors, encode_passages(load_bi_encoder(str(copied), precision="fp32"), TEXTS))
    checkpoint = trained("bi-encoder", "full", tiny_backbone("bert")).path
    name = cached(Path(shutil.copytree(checkpoint, tmp_path / "tuned")))
    assert f"hf download {name} --local-dir DIR" in refusal(load_bi_encoder, name)
    adapter = Path(shutil.copytree(trained("bi-encoder", "lora", tiny_backbone("bert")).path, tmp_path / "adapter"))
    (adapter / "retriever.json").unlink()
    name = cached(adapter)
    assert f"{name} is a PEFT adapter (LORA on" in refusal(new_cross_encoder, name)


def test_a_checkpoint_is_loaded_as_before(tiny_backbone: Backbone):
    for kind, load in (("bi-encoder", load_bi_encoder), ("cross-encoder", load_cross_encoder)):
        path = trained(kind, "full", tiny_backbone("bert")).path
        assert load(str(path), precision="fp32").config.method == "full"


def test_the_location_given_to_libraries_is_absolute(copied: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(copied.parent)
    network = backbone_module.load_network(transformers.AutoModel, os.path.relpath(copied))
    assert network.name_or_path == str(copied.resolve())


def test_a_directory_with_its_model_in_a_folder_says_which(copied: Path, tmp_path: Path):
    outer = tmp_path / "outer"
    shutil.copytree(copied, outer / "0_Transformer")
    assert refusal(load_bi_encoder, outer).endswith(
        f"has no config.json; give {outer / '0_Transformer'}, which has one"
    )
