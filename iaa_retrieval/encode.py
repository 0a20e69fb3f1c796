"""``python -m iaa_retrieval.encode``: a drop-in for ``python -m pyserini.encode``, and encoded queries."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click

from iaa_retrieval.cli import PRECISIONS, Verb, device_option, one_line_errors, precision_option
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.inference.backends import LOCAL, backend_names
from iaa_retrieval.lazy_choice import LazyChoice
from iaa_retrieval.notices import warn_once

# What pyserini.encode calls the classes that our encoder stands for, and those of its own.
OUR_CLASSES = ("auto", "sentence-transformers", "contriever")
STOCK_CLASSES = (
    "dpr",
    "bpr",
    "tct_colbert",
    "ance",
    "openai-api",
    "arctic",
    "splade",
    "uniir",
    "qwen3",
    "dse",
    "mmeb",
)
CUT_ADVICE = "--max-length sets another length"


@dataclass(frozen=True)
class EncodeOptions:
    """One corpus encoding; None means what the encoder or the corpus says itself."""

    corpus: str
    embeddings: str
    encoder: str
    input_fields: tuple[str, ...] | None = None
    docid_field: str | None = None
    delimiter: str = "\n"
    shard_id: int = 0
    shard_num: int = 1
    to_faiss: bool = False
    index_factory: str = "Flat"
    encoder_class: str | None = None
    encoder_fields: tuple[str, ...] | None = None
    pooling: str | None = None
    l2_norm: bool = False
    prefix: str | None = None
    max_length: int | None = None
    dimension: int | None = None
    batch_size: int = 32
    add_sep: bool = False
    device: str = "auto"
    precision: str = "auto"
    resume: bool = False
    overwrite: bool = False
    backend: str = LOCAL


def encode_documents(options: EncodeOptions) -> int:
    """Encode a corpus as ``options`` say and return the number of documents.

    Raises:
        IaaRetrievalError: bad input (named by file and line) or work in progress that does not match.
        UsageError: options that contradict each other, the encoder or the corpus.
    """
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.corpus_encoder import CorpusEncoding, encode_corpus
    from iaa_retrieval.inference.corpus_reader import Corpus

    require_empty(options.embeddings, overwrite=options.overwrite)
    if options.index_factory != "Flat" and not options.to_faiss:
        raise UsageError("--index-factory describes a Faiss index; add --to-faiss")
    encoder = _load(options)  # first: what is wrong with it is known before a large corpus is opened
    corpus = Corpus(
        options.corpus,
        options.input_fields,
        docid_field=options.docid_field,
        delimiter=options.delimiter,
        shard_id=options.shard_id,
        shard_num=options.shard_num,
    )
    # Fields that are named mean what they mean to Pyserini, which encodes the text alone unless told otherwise.
    fields = options.encoder_fields or (("text",) if options.input_fields else corpus.fields)
    missing = sorted(set(fields) - set(corpus.fields))
    if missing:
        raise UsageError(
            f"the encoder fields {', '.join(missing)} are not among the input fields {', '.join(corpus.fields)}"
        )
    if "title" in (options.input_fields or ()) and "title" not in fields and not options.encoder_fields:
        warn_once("the title is among the input fields but not encoded; encoder --fields title text encodes it too")
    corpus.announce_titles = not (options.input_fields or options.encoder_fields) and not corpus.is_collection
    if options.dimension not in (None, encoder.dimension):
        raise UsageError(
            f"--dimension {options.dimension}, but {options.encoder} has {encoder.dimension}; leave it out"
        )
    encoding = CorpusEncoding(
        fields=corpus.fields,
        encode_title="title" in fields,
        separate_title=options.add_sep,
        to_faiss=options.to_faiss,
        index_factory=options.index_factory,
        batch_size=options.batch_size,
        backend=options.backend,
    )
    report = encode_corpus(
        encoder,
        corpus,
        options.embeddings,
        encoding,
        resume=options.resume,
        overwrite=options.overwrite,
        cut_advice=CUT_ADVICE,
    )
    return report.documents


@dataclass(frozen=True)
class EncodeQueriesOptions:
    """One encoding of queries; None means what the encoder says itself."""

    topics: str
    encoder: str
    output: str
    encoder_class: str | None = None
    pooling: str | None = None
    l2_norm: bool = False
    query_prefix: str | None = None
    max_length: int | None = None
    precision: str = "fp32"
    device: str = "auto"


def encode_topics(
    topics: str,
    encoder: str,
    output: str,
    *,
    precision: str = "fp32",
    device: str = "auto",
    **settings: Any,
) -> int:
    """Encode the queries of ``topics`` into ``output/embedding.pkl`` and return their number.

    Args:
        settings: further fields of :class:`EncodeQueriesOptions`.

    Raises:
        IaaRetrievalError: unreadable topics, or an encoder that cannot be loaded.
        UsageError: options that contradict the encoder, or an encoder class that only Pyserini has.
    """
    from iaa_retrieval.collections.topics import read_topics
    from iaa_retrieval.files import require_empty
    from iaa_retrieval.inference.encoded_queries import write_encoded_queries
    from iaa_retrieval.models.bi_encoder import load_bi_encoder

    options = EncodeQueriesOptions(topics, encoder, output, precision=precision, device=device, **settings)
    require_empty(options.output)
    model = load_bi_encoder(
        options.encoder,
        encoder_class=options.encoder_class,
        pooling=options.pooling,
        normalize=options.l2_norm or None,
        query_prefix=options.query_prefix,
        query_max_length=options.max_length,
        precision=options.precision,
        device=options.device,
    )
    queries = read_topics(options.topics)
    write_encoded_queries(model, queries, options.output)
    return len(queries)


def _load(options: EncodeOptions) -> Any:
    from iaa_retrieval.inference.loading import load_for_inference

    return load_for_inference(
        options.encoder,
        kind="bi-encoder",
        encoder_class=options.encoder_class,
        pooling=options.pooling,
        normalize=options.l2_norm or None,
        document_prefix=options.prefix,
        document_max_length=options.max_length,
        precision=options.precision,
        device=options.device,
    )


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
    Queries (for pyserini.search.faiss --encoded-queries):
      python -m iaa_retrieval.encode queries --topics beir/scifact/test \\
          --encoder CHECKPOINT --output runs/queries

    Each section has a --help of its own.
    """


@main.command("input", cls=Verb)
@click.option(
    "--corpus",
    required=True,
    help="File or folder of documents (Pyserini JSONL, MS MARCO TSV), BEIR directory, ir_datasets id or 'embedded'.",
)
@click.option(
    "--fields",
    multiple=True,
    help="Fields of a record, or inside its contents, in order.  [default: title, if it has one, and text or contents]",
)
@click.option("--docid-field", help="Field that holds the id.  [default: id, _id or docid]")
@click.option("--delimiter", default="\\n", show_default=True, help="What separates the fields inside contents.")
@click.option("--shard-id", type=int, default=0, show_default=True, help="Encode this part, from 0 ...")
@click.option("--shard-num", type=int, default=1, show_default=True, help="... of so many.")
def input_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """What to encode."""
    return "input", values


@main.command("output", cls=Verb)
@click.option("--embeddings", required=True, help="Directory to make.")
@click.option("--to-faiss", is_flag=True, help="A Faiss directory instead of embeddings.jsonl.")
@click.option(
    "--index-factory", default="Flat", show_default=True, help="Faiss index, e.g. HNSW32,Flat or IVF4096,SQ8."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted encoding.")
@click.option(
    "--overwrite", is_flag=True, help="Discard an interrupted encoding, and replace a finished one at its end."
)
def output_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """Where to put it."""
    return "output", values


@main.command("encoder", cls=Verb)
@click.option("--encoder", required=True, help="Checkpoint, directory, hub id or all-MiniLM-L6-v2.")
@click.option(
    "--encoder-class",
    type=click.Choice([*OUR_CLASSES, *STOCK_CLASSES]),
    help="Pyserini's class; ours are read from the checkpoint, the others run stock Pyserini.",
)
@click.option("--fields", multiple=True, help="Fields to encode.  [default: text; without input --fields: title text]")
@click.option("--multimodal", is_flag=True, help="Stock Pyserini only.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=EncodeOptions.batch_size,
    show_default=True,
    help="Texts of full length per batch; shorter ones travel in larger batches.",
)
@click.option("--max-length", type=int, help="Tokens per document.  [default: the encoder's own]")
@click.option("--dimension", type=int, help="Checked against the encoder, which knows it.")
@device_option
@click.option("--fp16", is_flag=True, help="The same as --precision fp16 on a GPU; no effect on a CPU.")
@precision_option
@click.option("--add-sep", is_flag=True, help="Title and text as two segments.")
@click.option(
    "--pooling",
    type=click.Choice(("cls", "mean", "last", "eos")),
    help="Only for encoders that do not say it themselves.",
)
@click.option("--l2-norm", is_flag=True, help="Unit-length vectors; only for encoders that do not say it themselves.")
@click.option("--prefix", help="Put before every document's text, with a space.  [default: the model's own prompt]")
@click.option("--use-openai", is_flag=True, help="Stock Pyserini only.")
@click.option("--rate-limit", type=int, help="Stock Pyserini only.")
@click.option("--explicit-truncate", is_flag=True, help="Stock Pyserini only.")
@click.option(
    "--backend",
    type=LazyChoice(backend_names),
    metavar="NAME",
    default=LOCAL,
    show_default=True,
    help="What computes the vectors.",
)
def encoder_section(**values: Any) -> tuple[str, dict[str, Any]]:
    """What to encode with."""
    return "encoder", values


@main.command("queries", cls=Verb)
@click.option("--topics", required=True, help="File, collection (SPEC:SPLIT), ir_datasets id or Pyserini topics name.")
@click.option("--encoder", required=True, help="Checkpoint, directory, hub id or all-MiniLM-L6-v2.")
@click.option("--output", required=True, help="Directory to make.")
@click.option("--max-length", type=int, help="Tokens per query.  [default: the encoder's own]")
@click.option(
    "--encoder-class",
    type=click.Choice(OUR_CLASSES),
    help="Pyserini's settings of that class, instead of a plain encoder's own.",
)
@click.option(
    "--pooling",
    type=click.Choice(("cls", "mean", "last", "eos")),
    help="Only for encoders that do not say it themselves.",
)
@click.option("--l2-norm", is_flag=True, help="Unit-length vectors; only for encoders that do not say it themselves.")
@click.option("--query-prefix", help="Put before every query, with a space.  [default: a plain encoder's own prompt]")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="Queries are few and short: fp32 costs nothing and is exact.",
)
@device_option
def queries_section(topics: str, encoder: str, output: str, **values: Any) -> tuple[str, dict[str, Any]]:
    """Encode queries into OUTPUT/embedding.pkl."""
    from iaa_retrieval.models.encoder_classes import pooling_named

    values["pooling"] = pooling_named(values["pooling"])
    count = encode_topics(topics, encoder, output, **values)
    click.echo(f"{output}: {count} queries")
    return "queries", {}


@main.result_callback()
def _encode(sections: list[tuple[str, dict[str, Any]]]) -> None:
    given = dict(sections)
    if "queries" in given:
        if len(sections) > 1:
            raise UsageError("queries stands alone; encode documents with input ... output ... encoder ...")
        return
    missing = [name for name in ("input", "output", "encoder") if name not in given]
    if missing:
        raise UsageError(f"section {' and '.join(missing)} is missing; see --help")
    source, target, model = given["input"], given["output"], given["encoder"]
    from iaa_retrieval.models.encoder_classes import pooling_named, stock_class_of

    stock_class = stock_class_of(model["encoder"], model["encoder_class"])
    if stock_class is not None or model["multimodal"] or model["use_openai"]:
        ours = {
            "--resume": target["resume"],
            "--overwrite": target["overwrite"],
            "--precision": model["precision"] != "auto",
            "--index-factory": target["index_factory"] != "Flat",
            "--backend": model["backend"] != LOCAL,
        }
        why = f"the encoder class {stock_class} of {model['encoder']}" if stock_class else "this encoder"
        _run_stock_pyserini(
            [name for name, given in ours.items() if given],
            why,
            None if model["encoder_class"] else stock_class,
            None if model["multimodal"] else source,
        )
        _record_stock_class(target["embeddings"], model["encoder"], stock_class or model["encoder_class"] or "")
        return
    options = EncodeOptions(
        corpus=source["corpus"],
        embeddings=target["embeddings"],
        encoder=model["encoder"],
        input_fields=source["fields"] or None,
        docid_field=source["docid_field"],
        delimiter=source["delimiter"].replace("\\n", "\n"),
        shard_id=source["shard_id"],
        shard_num=source["shard_num"],
        to_faiss=target["to_faiss"],
        index_factory=target["index_factory"],
        encoder_class=model["encoder_class"],
        encoder_fields=model["fields"] or None,
        pooling=pooling_named(model["pooling"]),
        l2_norm=model["l2_norm"],
        prefix=model["prefix"],
        max_length=model["max_length"],
        dimension=model["dimension"],
        batch_size=model["batch_size"],
        add_sep=model["add_sep"],
        **_device_and_precision(model),
        resume=target["resume"],
        overwrite=target["overwrite"],
        backend=model["backend"],
    )
    click.echo(f"{options.embeddings}: {encode_documents(options)} documents")


def _device_and_precision(model: dict[str, Any]) -> dict[str, str]:
    """Pyserini falls back to the CPU where no GPU is, and ``--fp16`` only matters on one."""
    import torch

    on_gpu = model["device"] != "cpu" and torch.cuda.is_available()
    if model["device"].startswith("cuda") and not on_gpu:
        click.echo(f"device {model['device']} is not available; using the CPU", err=True)
    precision = "fp16" if model["fp16"] and on_gpu and model["precision"] == "auto" else model["precision"]
    return {"device": model["device"] if on_gpu else "cpu", "precision": precision}


def _run_stock_pyserini(ours: list[str], why: str, guessed_class: str | None, source: dict[str, Any] | None) -> None:
    """Encoder classes of other architectures are Pyserini's own business.

    Args:
        ours: options that it lacks.
        why: what asks for it.
        guessed_class: the class that it shall guess from the encoder's name; None leaves that to it.
        source: the input section, whose documents it shall read as other encoders do; None leaves that to it.
    """
    import runpy

    from iaa_retrieval.java import prepare_java

    if ours:
        raise UsageError(f"{', '.join(ours)} is not known to stock Pyserini, which {why} runs")
    prepare_java()
    from pyserini.encode import document_encoder_class_map

    from iaa_retrieval.pyserini_plugin.stock_classes import only_class
    from iaa_retrieval.pyserini_plugin.stock_corpus import corpus_for_stock, with_corpus

    # `iaa-retrieval encode` has the verb before the first section.
    first = min(sys.argv.index(section) for section in ("input", "output", "encoder"))
    words = [word for word in sys.argv[first:] if word != "--debug"]
    with ExitStack() as held:
        if source is not None:
            delimiter = source["delimiter"].replace("\\n", "\n")
            read = corpus_for_stock(
                source["corpus"], source["fields"], docid_field=source["docid_field"], delimiter=delimiter
            )
            path = held.enter_context(read)
            words = words if path == source["corpus"] else with_corpus(words, path)
        sys.argv = [sys.argv[0], *words]
        try:
            with only_class(document_encoder_class_map, guessed_class):
                runpy.run_module("pyserini.encode", run_name="__main__", alter_sys=True)
        except UsageError:
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, AssertionError) and not str(error):  # how Faiss says that a vector is too short
                reason += "; it takes vectors to have 768 numbers, and --dimension says another length"
            raise IaaRetrievalError(f"stock pyserini.encode failed: {reason}") from error


def _record_stock_class(directory: str, encoder: str, encoder_class: str) -> None:
    """Leave beside what stock Pyserini wrote which class made it, so that no other searches it."""
    from pathlib import Path

    from iaa_retrieval.models.backbone import backbone_name
    from iaa_retrieval.models.retriever_config import RetrieverConfig

    if encoder_class and Path(directory).is_dir():
        RetrieverConfig(
            kind="bi-encoder", backbone=backbone_name(encoder), encoder_class=encoder_class, pooling="", normalize=False
        ).save(directory)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.encode")
