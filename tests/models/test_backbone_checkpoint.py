"""A checkpoint as backbone: what is trained on it comes back as it was trained, and adapters are refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import TEXTS, trained, with_other_settings, write_collection, write_first_stage

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.inference.adapter_server import AdapterServer
from iaa_retrieval.inference.pair_scorer import score_pairs
from iaa_retrieval.inference.text_encoder import encode_passages, encode_queries
from iaa_retrieval.jobs.export import ExportOptions, export
from iaa_retrieval.models.backbone import fingerprint_weights
from iaa_retrieval.models.bi_encoder import load_bi_encoder
from iaa_retrieval.models.cross_encoder import load_cross_encoder
from iaa_retrieval.models.new_retriever import new_bi_encoder, new_cross_encoder
from iaa_retrieval.models.retriever_config import read_retriever_config
from iaa_retrieval.training import run
from iaa_retrieval.training.options import TrainOptions

Backbone = Callable[[str], Path]
METHODS = ("full", "bitfit", "prefix", "adapter", "mam", "lora", "iaa-s", "iaa-l", "iaa-m")
PAIRS = [("water in the world", text) for text in TEXTS]
LOADERS: dict[str, Callable[..., Any]] = {"bi-encoder": load_bi_encoder, "cross-encoder": load_cross_encoder}
# How each checkpoint that can be a backbone is made: of which method, and in which export.
WHOLE = {
    "full": ("full", None),
    "full, self-contained": ("full", "self-contained"),
    "merged LoRA": ("lora", "merged"),
    "merged BitFit": ("bitfit", "merged"),
    "sentence-transformers": ("lora", "sentence-transformers"),
}


@pytest.fixture(scope="module")
def whole(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """``whole("full", "bi-encoder")``: a directory with a whole tuned network."""
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, kind: str) -> Path:
        if (name, kind) not in made:
            method, export_format = WHOLE[name]
            path = trained(kind, method, tiny_backbone("bert")).path
            if export_format is not None:
                output = tmp_path_factory.mktemp("whole") / "exported"
                export(ExportOptions(str(path), export_format, str(output)))
                path = output
            made[name, kind] = path
        return made[name, kind]

    return make


def tune(backbone: Path, kind: str, to: Path, **options: Any) -> Any:
    """Train two steps on a backbone, and return the model in memory that the checkpoint was written from."""
    collection = write_collection(to.parent / f"{to.name}-collection")
    kept: list[Any] = []
    write = run.write_checkpoint
    values: dict[str, Any] = {"max_steps": 2, "warmup": 0.0, "lr": 0.05, "batch_size": 2, "precision": "fp32"} | options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "write_checkpoint", lambda out, model, *rest: [kept.append(model), write(out, model, *rest)])
        run.train_retriever(
            TrainOptions.of(
                kind=kind,
                collection=str(collection),
                output=str(to),
                backbone=str(backbone),
                negatives=str(write_first_stage(to.parent / "run.trec")) if kind == "cross-encoder" else None,
                device="cpu",
                **values,
            )
        )
    return kept[0].eval()


def results(model: Any) -> np.ndarray:
    return score_pairs(model, PAIRS) if model.config.kind == "cross-encoder" else encode_passages(model, TEXTS)


def require_same_after_loading(to: Path, model: Any) -> Any:
    loaded = LOADERS[model.config.kind](str(to), precision="fp32", device="cpu")
    np.testing.assert_allclose(results(loaded), results(model), atol=1e-5)
    return loaded


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_tuned_on_a_whole_checkpoint_comes_back(
    name: str, kind: str, whole: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    backbone = whole(name, kind)
    monkeypatch.chdir(backbone.parent)
    model = tune(Path(backbone.name), kind, tmp_path / "tuned", method="lora", r=2)
    loaded = require_same_after_loading(tmp_path / "tuned", model)
    # An independent reading of the backbone's weights: the file itself, through transformers.
    from transformers import AutoModel

    assert loaded.config.backbone == str(backbone.resolve())
    assert loaded.config.backbone_fingerprint == fingerprint_weights(AutoModel.from_pretrained(backbone))
    first = read_retriever_config(backbone)
    assert first is not None and first.backbone_fingerprint != loaded.config.backbone_fingerprint
    before = LOADERS[kind](str(backbone), precision="fp32", device="cpu")
    assert np.abs(results(before) - results(loaded)).max() > 1e-3


@pytest.mark.parametrize(
    ("method", "kind"),
    [(method, "bi-encoder") for method in METHODS]
    + [(method, "cross-encoder") for method in ("full", "bitfit", "iaa-m")],
)
def test_every_method_tunes_a_fully_tuned_checkpoint_further(
    method: str, kind: str, whole: Callable[..., Path], tmp_path: Path
):
    sizes = {"r": 4, "ar": 3} if method.startswith("iaa") else {}
    model = tune(whole("full", kind), kind, tmp_path / "tuned", method=method, max_steps=1, **sizes)
    require_same_after_loading(tmp_path / "tuned", model)


@pytest.mark.parametrize(
    ("model_type", "kind"),
    (
        ("distilbert", "cross-encoder"),
        ("roberta", "bi-encoder"),
        ("roberta", "cross-encoder"),
        ("modernbert", "bi-encoder"),
    ),
)
def test_other_architectures_are_tuned_further_too(model_type: str, kind: str, tiny_backbone: Backbone, tmp_path: Path):
    backbone = trained(kind, "full", tiny_backbone(model_type)).path
    model = tune(backbone, kind, tmp_path / "tuned", method="lora", r=2, max_steps=1)
    require_same_after_loading(tmp_path / "tuned", model)


@pytest.mark.parametrize(("of", "kind"), (("cross-encoder", "bi-encoder"), ("bi-encoder", "cross-encoder")))
def test_of_a_checkpoint_of_the_other_kind_the_encoder_is_used(
    of: str, kind: str, whole: Callable[..., Path], tmp_path: Path
):
    backbone = whole("full", of)
    model = tune(backbone, kind, tmp_path / "tuned", method="lora", r=2)
    loaded = require_same_after_loading(tmp_path / "tuned", model)
    assert loaded.config.backbone == str(backbone.resolve())
    assert (loaded.config.query_max_length, loaded.config.document_max_length) == (64, 130)
    if kind == "bi-encoder":
        assert (loaded.config.pooling, loaded.config.normalize) == ("mean", True)


def test_separate_encoders_and_gradient_caching_on_a_checkpoint(whole: Callable[..., Path], tmp_path: Path):
    model = tune(
        whole("full", "bi-encoder"),
        "bi-encoder",
        tmp_path / "tuned",
        method="lora",
        r=2,
        separate_encoders=True,
        grad_cache=2,
    )
    loaded = load_bi_encoder(str(tmp_path / "tuned"), precision="fp32", device="cpu")
    for encode in (encode_queries, encode_passages):
        np.testing.assert_allclose(encode(loaded, TEXTS), encode(model, TEXTS), atol=1e-5)
    assert np.abs(encode_queries(loaded, TEXTS[:2]) - encode_passages(loaded, TEXTS[:2])).max() > 1e-4


def test_a_bi_encoder_checkpoint_hands_its_settings_on(whole: Callable[..., Path], tmp_path: Path):
    settings: dict[str, Any] = {"pooling": "cls", "normalize": False, "query_prefix": "find", "document_max_length": 9}
    backbone = with_other_settings(whole("full", "bi-encoder"), tmp_path / "backbone", **settings, query_max_length=7)
    model = new_bi_encoder(str(backbone), precision="fp32", device="cpu")
    np.testing.assert_array_equal(
        encode_passages(model, TEXTS), encode_passages(load_bi_encoder(str(backbone), precision="fp32"), TEXTS)
    )
    assert {name: getattr(model.config, name) for name in settings} == settings
    assert model.config.query_max_length == 7
    assert model.config.method == "none"
    other = new_bi_encoder(str(backbone), pooling="mean", normalize=True, precision="fp32", device="cpu")
    assert (other.config.pooling, other.config.normalize) == ("mean", True)
    tuned = tune(backbone, "bi-encoder", tmp_path / "tuned", method="lora", r=2, max_steps=1)
    assert (tuned.config.pooling, tuned.config.normalize, tuned.config.query_max_length) == ("cls", False, 7)
    overridden = tune(backbone, "bi-encoder", tmp_path / "other", method="lora", r=2, max_steps=1, pooling="mean")
    assert (overridden.config.pooling, overridden.config.normalize) == ("mean", False)


def test_a_cross_encoder_checkpoint_keeps_its_head_and_settings(whole: Callable[..., Path], tmp_path: Path):
    backbone = with_other_settings(whole("full", "cross-encoder"), tmp_path / "backbone", document_max_length=40)
    fresh, before = new_cross_encoder(str(backbone)).eval(), load_cross_encoder(str(backbone), precision="fp32")
    assert torch.equal(fresh.classifier.classifier.weight, before.classifier.classifier.weight)
    np.testing.assert_array_equal(results(fresh), results(before))
    assert fresh.config.document_max_length == 40


def test_a_head_for_other_labels_is_not_used(tiny_backbone: Backbone, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    backbone = tmp_path / "three-labels"
    three = AutoModelForSequenceClassification.from_pretrained(tiny_backbone("bert"), num_labels=3)
    three.save_pretrained(backbone)
    AutoTokenizer.from_pretrained(tiny_backbone("bert")).save_pretrained(backbone)
    model = tune(backbone, "cross-encoder", tmp_path / "tuned", method="lora", r=2)
    require_same_after_loading(tmp_path / "tuned", model)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("export_format", ("self-contained", "merged"))
def test_exports_of_what_was_tuned_on_a_checkpoint_hold_its_weights(
    export_format: str, kind: str, whole: Callable[..., Path], tmp_path: Path
):
    backbone = Path(shutil.copytree(whole("merged LoRA", kind), tmp_path / "backbone"))
    model = tune(backbone, kind, tmp_path / "tuned", method="lora", r=2)
    assert f"on {backbone}" in (tmp_path / "tuned" / "README.md").read_text()
    assert f'from_pretrained("{backbone}"' in (tmp_path / "tuned" / "README.md").read_text()
    export(ExportOptions(str(tmp_path / "tuned"), export_format, str(tmp_path / "exported")))
    shutil.rmtree(backbone)
    shutil.rmtree(tmp_path / "tuned")
    require_same_after_loading(tmp_path / "exported", model)
    assert str(tmp_path) not in (tmp_path / "exported" / "README.md").read_text()


def test_a_server_on_a_checkpoint_serves_what_was_tuned_on_it(whole: Callable[..., Path], tmp_path: Path):
    backbone = whole("full", "bi-encoder")
    models = {
        "bi": tune(backbone, "bi-encoder", tmp_path / "bi", method="iaa-l", r=4, ar=3),
        "cross": tune(backbone, "cross-encoder", tmp_path / "cross", method="lora", r=2),
    }
    server = AdapterServer(str(backbone), precision="fp32", device="cpu")
    bare = load_bi_encoder(str(backbone), precision="fp32", device="cpu")
    np.testing.assert_array_equal(server.encode_passages(None, TEXTS), encode_passages(bare, TEXTS))
    for name in models:
        server.load(name, tmp_path / name)
    np.testing.assert_allclose(server.encode_passages("bi", TEXTS), results(models["bi"]), atol=1e-5)
    np.testing.assert_allclose(server.score_pairs("cross", PAIRS), results(models["cross"]), atol=1e-5)


# What cannot be a backbone.


def refusal(backbone: Path, kind: str, tmp_path: Path) -> str:
    with pytest.raises(IaaRetrievalError) as error:
        tune(backbone, kind, tmp_path / "never", method="lora")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "never").exists()
    return str(error.value)


@pytest.mark.parametrize("kind", LOADERS)
def test_an_adapter_that_merges_is_refused_with_the_command_that_helps(
    kind: str, tiny_backbone: Backbone, tmp_path: Path
):
    adapter = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    message = refusal(adapter, kind, tmp_path)
    assert message.startswith(f"{adapter} is an adapter (lora bi-encoder on {tiny_backbone('bert')})")
    command = f"python -m iaa_retrieval.export --checkpoint {adapter} --format merged --output MERGED"
    assert command in message
    export(ExportOptions(str(adapter), "merged", str(tmp_path / "MERGED")))
    tune(tmp_path / "MERGED", kind, tmp_path / "tuned", method="lora", max_steps=1)


def test_an_adapter_that_does_not_merge_is_refused(tiny_backbone: Backbone, tmp_path: Path):
    adapter = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    message = refusal(adapter, "bi-encoder", tmp_path)
    assert "method iaa-l cannot be merged" in message and "--format merged" not in message


def test_separate_encoders_are_refused(tiny_backbone: Backbone, tmp_path: Path):
    path = tmp_path / "separate"
    tune(tiny_backbone("bert"), "bi-encoder", path, method="lora", r=2, max_steps=1, separate_encoders=True)
    assert "its two encoders cannot be merged into one" in refusal(path, "bi-encoder", tmp_path)


def test_a_self_contained_adapter_is_refused_and_its_backbone_is_taken(tiny_backbone: Backbone, tmp_path: Path):
    adapter = trained("bi-encoder", "iaa-l", tiny_backbone("bert")).path
    export(ExportOptions(str(adapter), "self-contained", str(tmp_path / "alone")))
    message = refusal(tmp_path / "alone", "bi-encoder", tmp_path)
    assert f"{tmp_path / 'alone'} is an adapter (iaa-l bi-encoder" in message
    tune(tmp_path / "alone" / "backbone", "bi-encoder", tmp_path / "tuned", method="lora", max_steps=1)


@pytest.mark.parametrize("kind", LOADERS)
def test_an_adapter_of_peft_alone_is_refused(kind: str, tiny_backbone: Backbone, tmp_path: Path):
    adapter = Path(shutil.copytree(trained("bi-encoder", "lora", tiny_backbone("bert")).path, tmp_path / "foreign"))
    (adapter / "retriever.json").unlink()
    message = refusal(adapter, kind, tmp_path)
    assert message.startswith(f"{adapter} is a PEFT adapter (LORA on {tiny_backbone('bert')})")


def test_an_onnx_export_is_no_backbone(tiny_backbone: Backbone, tmp_path: Path):
    path = Path(shutil.copytree(trained("bi-encoder", "full", tiny_backbone("bert")).path, tmp_path / "onnx"))
    (path / "model.safetensors").rename(path / "model.onnx")
    assert f"{path} is an ONNX export" in refusal(path, "bi-encoder", tmp_path)


def test_a_backbone_checkpoint_with_changed_weights_is_refused(tiny_backbone: Backbone, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    path = Path(shutil.copytree(trained("bi-encoder", "full", tiny_backbone("bert")).path, tmp_path / "changed"))
    tune(path, "bi-encoder", tmp_path / "tuned", method="lora", max_steps=1)
    weights = load_file(path / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"] += 0.1
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    assert f"{path}: its weights are not those" in refusal(path, "bi-encoder", tmp_path)
    with pytest.raises(IaaRetrievalError, match=rf"{tmp_path / 'tuned'} was trained on {path} with weights .* but"):
        load_bi_encoder(str(tmp_path / "tuned"))


@pytest.mark.parametrize("kind", LOADERS)
def test_a_backbone_that_is_gone_is_one_line_about_the_checkpoint(kind: str, tiny_backbone: Backbone, tmp_path: Path):
    gone = tmp_path / "gone"
    path = Path(shutil.copytree(trained(kind, "lora", tiny_backbone("bert")).path, tmp_path / "checkpoint"))
    config = read_retriever_config(path)
    assert config is not None
    replace(config, backbone=str(gone)).save(path)
    with pytest.raises(IaaRetrievalError) as error:
        LOADERS[kind](str(path))
    for part in (f"checkpoint {path} was trained on the backbone {gone}", path / "retriever.json", '"backbone"'):
        assert str(part) in str(error.value)
    # What the message advises works.
    replace(config, backbone=str(tiny_backbone("bert"))).save(path)
    LOADERS[kind](str(path))


def test_a_refused_backbone_is_said_before_the_collection_is_opened(tiny_backbone: Backbone, tmp_path: Path):
    adapter = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    options = TrainOptions.of(
        kind="bi-encoder", collection=str(tmp_path / "nothing"), output=str(tmp_path / "out"), backbone=str(adapter)
    )
    with pytest.raises(IaaRetrievalError, match="is an adapter"):
        run.train_retriever(options)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_hub_backbone_that_cannot_be_had_is_one_line_about_the_checkpoint(
    kind: str, tiny_backbone: Backbone, tmp_path: Path
):
    path = Path(shutil.copytree(trained(kind, "lora", tiny_backbone("bert")).path, tmp_path / "checkpoint"))
    config = read_retriever_config(path)
    assert config is not None
    replace(config, backbone="owner/nowhere").save(path)
    with pytest.raises(
        IaaRetrievalError, match=f"checkpoint {path} was trained on the backbone owner/nowhere, which is"
    ):
        LOADERS[kind](str(path))


def test_a_merged_export_of_a_self_contained_checkpoint_does_not_claim_a_backbone_inside(
    tiny_backbone: Backbone, tmp_path: Path
):
    adapter = trained("bi-encoder", "lora", tiny_backbone("bert")).path
    export(ExportOptions(str(adapter), "self-contained", str(tmp_path / "alone")))
    export(ExportOptions(str(tmp_path / "alone"), "merged", str(tmp_path / "merged")))
    assert "`backbone/`" not in (tmp_path / "merged" / "README.md").read_text()
    tune(tmp_path / "merged", "bi-encoder", tmp_path / "tuned", method="lora", max_steps=1)
