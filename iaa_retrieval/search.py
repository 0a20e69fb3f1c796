"""``python -m iaa_retrieval.search``: Pyserini's faiss, lucene and hybrid search with our encoders."""

from __future__ import annotations

import click

from iaa_retrieval.cli import Verb
from iaa_retrieval.jobs.search import KINDS, search

INTRODUCTION = """\
This is Pyserini's own `python -m pyserini.search.{kind}`; every option means what it means there. Added:
  --topics   also takes an ir_datasets id (beir/scifact/test), embedded:test, DIR:SPLIT, BEIR's queries.jsonl
{index}  --output   appears only when the whole search succeeded
"""
ENCODER_LINES = """\
  --encoder  takes a checkpoint of ours (which says how it pools), a directory, a hub id, all-MiniLM-L6-v2
  --index    an index that another encoder made is refused; queries are cut as its vectors are
             (--truncate-dim N says so for an index that does not say what made it)
  --query-prompt TEXT     before every query of a plain encoder to the letter, where --query-prefix adds a space;
             with {query} in it, the query stands there. \\n is a line end
  --query-prompt-name N   instead, the prompt of that name in the encoder's sentence-transformers files
  --append-eos            end every query with the tokenizer's end-of-text token, as the documents were
"""
LUCENE_LINES = """\
  --dense    with --encoder or --encoded-queries as in search faiss (with its --pooling, --l2-norm, --query-prefix,
             --query-prompt, --query-prompt-name, --append-eos, --max-length, --device); an index that another
             encoder made is refused. Scores are (1 + cosine) / 2.
             A graph (--hnsw) is searched for as many documents as there shall be hits, unless --ef-search is given
"""
LANGUAGE_LINES = """\
  --language is that of an index that was made with `python -m iaa_retrieval.index`; another one is refused
"""


def _move_debug(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> list[str]:
    """Take our ``--debug`` out of the stock arguments, where people put it."""
    if "--debug" in words:
        ctx.meta["iaa_retrieval.debug"] = True
    return [word for word in words if word != "--debug"]


@click.command(
    cls=Verb,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    },
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("pyserini_arguments", nargs=-1, type=click.UNPROCESSED, callback=_move_debug)
def main(kind: str, pyserini_arguments: list[str]) -> None:
    """Run Pyserini's search with Java found, our encoders known and a run that is whole or absent.

    \b
    Dense search with a checkpoint:
      python -m iaa_retrieval.search faiss --index INDEX --encoder CHECKPOINT \\
          --topics beir/scifact/test --output run.trec
    Dense search with queries encoded before:
      python -m iaa_retrieval.search faiss --index INDEX --encoded-queries QUERIES \\
          --topics beir/scifact/test --output run.trec
    Dense search in a Lucene index (made with `python -m iaa_retrieval.encode ... output --to-lucene hnsw`):
      python -m iaa_retrieval.search lucene --dense --hnsw --index INDEX --encoder CHECKPOINT \\
          --topics beir/scifact/test --output run.trec
    BM25 (build the index with `python -m iaa_retrieval.index`):
      python -m iaa_retrieval.search lucene --bm25 --index INDEX \\
          --topics beir/scifact/test --hits 1000 --remove-query --output run.trec
    Both, fused:
      python -m iaa_retrieval.search hybrid dense --index FAISS --encoder CHECKPOINT \\
          sparse --index LUCENE fusion --alpha 0.1 run --topics T --output run.trec

    --topics takes a file (.tsv, .jsonl, .json, .trec), an ir_datasets id, SPEC:SPLIT, or one of Pyserini's
    names. All other options are Pyserini's: `python -m iaa_retrieval.search faiss --help` lists them.
    """
    if "--help" in pyserini_arguments or "-h" in pyserini_arguments:
        lines = {
            "faiss": ENCODER_LINES,
            "lucene": LUCENE_LINES + LANGUAGE_LINES,
            "hybrid": ENCODER_LINES + LANGUAGE_LINES,
        }
        click.echo(INTRODUCTION.format(kind=kind, index=lines[kind]))
    search(kind, pyserini_arguments)


if __name__ == "__main__":
    main(prog_name="python -m iaa_retrieval.search")
