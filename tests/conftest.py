"""Fixtures: where the data sets are, and tiny random backbones so that everything runs offline in seconds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Set before anything imports ir_datasets, which reads it once; filled by the fixture below where a test wants it.
_IRDS_PARENT = tempfile.mkdtemp(prefix="iaa-retrieval-irds-")
os.environ["IR_DATASETS_HOME"] = os.path.join(_IRDS_PARENT, "home")

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_VARIABLE = "IAA_RETRIEVAL_DATA"


# Files that take longest come first, so that at the end no process works alone on one of them.
LONGEST = ("test_verbs_on_embedded.py", "test_reference_scores.py", "test_whole_condition.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_unconfigure() -> None:
    shutil.rmtree(_IRDS_PARENT, ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with ``ir_datasets/`` and ``msmarco-mini/``, or a skip that says where it was looked for."""
    path = Path(os.environ.get(DATA_VARIABLE, REPOSITORY.parent / "shared"))
    if not (path / "msmarco-mini").is_dir():
        pytest.skip(f"no data sets in {path}; set {DATA_VARIABLE} to a folder with ir_datasets/ and msmarco-mini/")
    return path


@pytest.fixture(scope="session")
def irds_home(data_dir: Path) -> Path:
    """A writable copy of the ir_datasets home (the loader writes beside its sources), where ir_datasets looks."""
    home = Path(os.environ["IR_DATASETS_HOME"])
    # It may be there already: ir_datasets makes it when it looks for a collection.
    shutil.copytree(data_dir / "ir_datasets", home, copy_function=shutil.copyfile, dirs_exist_ok=True)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


@pytest.fixture
def same_environment() -> Iterator[None]:
    """``prepare_java`` changes the environment; a test that uses this leaves it as it was."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that are trained, as they are in memory when their checkpoint is written."""
    from iaa_retrieval.training import run

    models: list[Any] = []
    write = run.write_checkpoint

    def remember(output: Path, model: Any, *others: Any) -> None:
        models.append(model.eval())
        write(output, model, *others)

    monkeypatch.setattr(run, "write_checkpoint", remember)
    return models


WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the of and to in a is that it was for on are with as his they be at one have this "
    "from or had by hot but some what there we can out other were all your when up use word how said an each she "
    "which do their time if will way about many then them would write like so these her long make thing see him two "
    "has look more day could go come did my sound no most number who over know water than call first people may down "
    "side been now find any new work part take get place made live where after back little only round man year came "
    "show every good me give our under name very through just form much great think say help low line before turn "
    "cause same mean differ move right boy old too does tell sentence set three want air well also play small end put "
    "home read hand port large spell add even land here must big high such follow act why ask men change went light "
    "kind off need house picture try us again animal point mother world near build self earth father"
).split()


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``tiny_backbone("bert")``: a directory with a tiny random encoder and a word-level tokenizer."""
    made: dict[tuple[str, int], Path] = {}
    root = tmp_path_factory.mktemp("backbones")

    def make(model_type: str = "bert", positions: int = 130) -> Path:
        key = (model_type, positions)
        if key not in made:
            name = model_type if positions == 130 else f"{model_type}-{positions}"
            made[key] = _write_tiny_backbone(model_type, root / name, positions)
        return made[key]

    return make


# What tiny backbones of the families have besides the common sizes: the width of queries, that of keys and that of
# hidden states differ where a family lets them, and windows are shorter than texts.
_TOKENS = {"bos_token_id": 2, "eos_token_id": 3}
_OWN_SIZES: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 32},
    "albert": {"embedding_size": 16, "num_hidden_groups": 2, "inner_group_num": 1, "num_hidden_layers": 4},
    "deberta-v2": {
        **{"relative_attention": True, "position_buckets": 4, "max_relative_positions": -1, "share_att_key": True},
        **{"pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
        **{"position_biased_input": False},
    },
    "eurobert": {"num_key_value_heads": 2, "head_dim": 12, **_TOKENS, "mask_token_id": 4},
    # Their tokenizers bring a token of their own.
    "qwen2": {"num_key_value_heads": 2, "use_sliding_window": False, "vocab_size": 256},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 12, "vocab_size": 256},
    "llama": {"num_key_value_heads": 2, "head_dim": 12},
    "mistral": {"num_key_value_heads": 1, "head_dim": 12, "sliding_window": 4},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 4},
    "gemma3_text": {
        **{"num_key_value_heads": 2, "head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 4},
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}
# EmbeddingGemma is a Gemma 3 that sees both sides.
_OWN_SIZES["embedding-gemma"] = {**_OWN_SIZES["gemma3_text"], "use_bidirectional_attention": True}


def _size_of(model_type: str, positions: int) -> dict[str, Any]:
    if model_type == "distilbert":
        return {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 128}
    if model_type in ("t5", "mt5", "umt5"):
        feed_forward = "relu" if model_type == "t5" else "gated-gelu"
        size = {
            "d_model": 32,
            "num_layers": 3,
            "num_heads": 4,
            "d_kv": 6,
            "d_ff": 64,
            "feed_forward_proj": feed_forward,
        }
        return {**size, "relative_attention_num_buckets": 6, "relative_attention_max_distance": 8}
    size = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "type_vocab_size": 2,
    }
    if model_type.startswith("modernbert"):
        del size["type_vocab_size"]
        size |= {**_TOKENS, "cls_token_id": 2, "sep_token_id": 3}
    return size | _OWN_SIZES.get(model_type, {})


def _write_tiny_backbone(model_type: str, directory: Path, positions: int) -> Path:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=128,
        padding_side="right",
    )
    size = {"vocab_size": len(vocabulary), "pad_token_id": 0, **_size_of(model_type, positions)}
    torch.manual_seed(20221021)
    model = AutoModel.from_config(
        AutoConfig.for_model({"embedding-gemma": "gemma3_text"}.get(model_type, model_type), **size)
    )
    model.save_pretrained(directory)
    fast.save_pretrained(directory)
    return directory
