"""``python -m iaa_retrieval.encode``: a drop-in for ``python -m pyserini.encode``, and encoded queries."""

from __future__ import annotations

import sys
from typing import Any

import click

from iaa_retrieval.cli import Verb, one_line_errors
from iaa_retrieval.errors import UsageError
from iaa_retrieval.jobs.adapt_queries import AdaptQueriesOptions, adapt_queries
from iaa_retrieval.jobs.convert_vectors import convert_encoded, holds_vectors
from iaa_retrieval.jobs.embeddings_options import EmbeddingsOptions
from iaa_retrieval.jobs.encode import CorpusOptions, EncodeOptions, EncoderOptions, encode_documents
from iaa_retrieval.jobs.encode_queries import EncodeQueriesOptions, encode_topics
from iaa_retrieval.jobs.encode_with_stock_class import encode_with_stock_class
from iaa_retrieval.options import build, click_options


class _Sections(click.Group):
    """Pyserini's command line: sections ``input``, ``output``, ``encoder``, options with several values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _repeat_multiple(args, "--fields", set(self.commands)))

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors("--debug" in sys.argv):
            return super().invoke(ctx)


def _repeat_multiple(args: list[str], option: str, sections: set[str]) -> list[str]:
    """``--fields a b`` becomes ``--fields a --fields b``, which is how click takes several values."""
    expanded: list[str] = []
    inside = False
    for argument in args:
        name, _, value = argument.partition("=")
        if name == option:
            inside = True
            expanded += [option, value] if value else []
        elif argument.startswith("-") or argument in sections:
            inside = False
            expanded.append(argument)
        elif inside:
            expanded += [option, argument]
        else:
            expanded.append(argument)
    return expanded


@click.group(cls=_Sections, chain=True, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Encode a corpus with a bi-encoder: the flags and files of pyserini.encode.

    \b
    Documents (a Faiss directory that pyserini.search.faiss reads):
      python -m iaa_retrieval.encode input --corpus beir/scifact \\
          output --embeddings runs/index --to-faiss encoder --encoder CHECKPOINT
    Vectors first, and indexes of them later, each without encoding again:
      python -m iaa_retrieval.encode input --corpus beir/scifact \\
          output --embeddings runs/vectors --to-parquet encoder --encoder CHECKPOINT
      python -m iaa_retrieval.encode input --corpus runs/vectors output --embeddings runs/lucene --to-lucene hnsw
    Queries (for pyserini.search.faiss --encoded-queries):
      python -m iaa_retrieval.encode queries --topics beir/scifact/test \\
          --encoder CHECKPOINT --output runs/queries

    Each section has a --help of its own.
    """


@main.command("input", cls=Verb)
@click_options(CorpusOptions)
def input_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """What to encode."""
    values["delimiter"] = values["delimiter"].replace("\\n", "\n")
    return "input", values


@main.command("output", cls=Verb)
@click_options(EmbeddingsOptions)
def output_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """Where to put it."""
    return "output", values


@main.command("encoder", cls=Verb)
@click_options(EncoderOptions)
@click.option("--fp16", is_flag=True, help="The same as --precision fp16 on a GPU; no effect on a CPU.")
@click.option("--multimodal", is_flag=True, help="Stock Pyserini only.")
@click.option("--use-openai", is_flag=True, help="Stock Pyserini only.")
@click.option("--rate-limit", type=int, help="Stock Pyserini only.")
@click.option("--explicit-truncate", is_flag=True, help="Stock Pyserini only, whose class qwen3 then runs.")
def encoder_section(
    fp16: bool, multimodal: bool, use_openai: bool, rate_limit: int | None, explicit_truncate: bool, **values: Any
) -> tuple[str, dict[str, Any]]:
    """What to encode with."""
    stock = {"multimodal": multimodal, "use_openai": use_openai}  # the others change nothing of ours
    return "encoder", {"fp16": fp16, "stock": stock, "explicit_truncate": explicit_truncate, "options": values}


@main.command("queries", cls=Verb)
@click_options(EncodeQueriesOptions)
def queries_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """Encode queries into OUTPUT/embedding.pkl."""
    options = build(EncodeQueriesOptions, values)
    click.echo(f"{options.output}: {encode_topics(options)} queries")
    return "queries", {}


@main.command("query-vectors", cls=Verb)
@click_options(AdaptQueriesOptions)
def query_vectors_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """Map encoded queries with a vector adapter (train vector-adapter)."""
    options = build(AdaptQueriesOptions, values)
    click.echo(f"{options.output}: {adapt_queries(options.vectors, options.adapter, options.output)} queries")
    return "queries", {}


@main.result_callback()
def _encode(sections: list[tuple[str, dict[str, Any]]]) -> None:
    given = dict(sections)
    if "queries" in given:
        if len(sections) > 1:
            raise UsageError("queries stands alone; encode documents with input ... output ... encoder ...")
        return
    missing = [name for name in ("input", "output", "encoder") if name not in given]
    if "input" in given and "output" in given and holds_vectors(given["input"]["corpus"]):
        _convert(given)
        return
    if missing:
        raise UsageError(f"section {' and '.join(missing)} is missing; see --help")
    source, target, model = given["input"], given["output"], given["encoder"]["options"]
    stock = given["encoder"]["stock"]
    from iaa_retrieval.models.encoder_classes import stock_class_of

    stock_class = stock_class_of(
        model["encoder"], model["encoder_class"], explicit_truncate=given["encoder"]["explicit_truncate"]
    )
    if stock_class is not None or any(stock.values()):
        ours = {
            "--resume": target["resume"],
            "--overwrite": target["overwrite"],
            "--precision": model["precision"] != EncoderOptions.precision,
            "--index-factory": target["index_factory"] != EmbeddingsOptions.index_factory,
            "--to-parquet": target["to_parquet"],
            "--truncate-dim": target["truncate_dim"] is not None,
            "--quantize": target["quantize"] is not None,
            "--to-lucene": target["to_lucene"] is not None,
            "--backend": model["backend"] != EncoderOptions.backend,
            "--document-prompt": model["document_prompt"] is not None,
            "--document-prompt-name": model["document_prompt_name"] is not None,
            "--append-eos": model["append_eos"],
        }
        if any(ours.values()):
            why = f"the encoder class {stock_class} of {model['encoder']}" if stock_class else "this encoder"
            unknown = ", ".join(name for name, given in ours.items() if given)
            raise UsageError(f"{unknown} is not known to stock Pyserini, which {why} runs")
        encode_with_stock_class(
            _words_of_the_sections(),
            model["encoder"],
            target["embeddings"],
            encoder_class=stock_class or model["encoder_class"],
            guessed=model["encoder_class"] is None,
            source=None if stock["multimodal"] else build(CorpusOptions, source),
        )
        return
    model |= _device_and_precision(model, given["encoder"]["fp16"])
    options = build(EncodeOptions, {**source, **target, **model})
    click.echo(f"{options.target.embeddings}: {encode_documents(options)} documents")


def _convert(given: dict[str, dict[str, Any]]) -> None:
    source, target = build(CorpusOptions, given["input"]), build(EmbeddingsOptions, given["output"])
    if "encoder" in given:
        raise UsageError(f"{source.corpus} holds vectors, which are encoded already; leave the section encoder out")
    click.echo(f"{target.embeddings}: {convert_encoded(source, target)} documents")


def _words_of_the_sections() -> list[str]:
    """The command line as stock Pyserini takes it: ``iaa-retrieval encode`` has the verb before the first section."""
    first = min(sys.argv.index(section) for section in ("input", "output", "encoder"))
    return [word for word in sys.argv[first:] if word != "--debug"]


def _device_and_precision(model: dict[str, Any], fp16: bool) -> dict[str, str]:
    """Pyserini falls back to the CPU where no GPU is, and ``--fp16`` only matters on one."""
    import torch

    on_gpu = model["device"] != "cpu" and torch.cuda.is_available()
    if model["device"].startswith("cuda") and not on_gpu:
        click.echo(f"device {model['device']} is not available; using the CPU", err=True)
    precision = "fp16" if fp16 and on_gpu and model["precision"] == "auto" else model["precision"]
    return {"device": model["device"] if on_gpu else "cpu", "precision": precision}


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.encode")
