"""docs/vector-sizes.md: how vectors are made that cost less, and what was measured of them."""

from __future__ import annotations

from typing import Any

INTRODUCTION = """\
# Vectors that cost less

A vector of 384 numbers takes 1,536 bytes. It can be cut to its first numbers, and each number can take fewer bits; both
together divide the bytes by up to a hundred. This page says how, and what it costs.

## Training for it: `--matryoshka`

```bash
python -m iaa_retrieval.train bi-encoder --collection beir/scifact/train --matryoshka 256,128,64 --output runs/scifact
```

For each size m the vectors of a batch are cut to their first m numbers and, where the model normalises, made of unit
length again. The loss is the mean of the loss of the whole vectors and the losses of the cut ones:

    L = 1/(k+1) * (L(v) + L(v[:m_1]) + ... + L(v[:m_k]))

(Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022; there it is the sum, which is the same but for a
factor on the gradient). `MatryoshkaLoss` of sentence-transformers with weights 1/(k+1) is equal to it. It works with
any loss, with `--teacher` (each size learns the teacher's scores), with `--grad-cache` and in several processes, and
costs no further pass through the model. The sizes stand in `retriever.json` and in the model card.

## Cutting: `--truncate-dim`

```bash
python -m iaa_retrieval.encode input --corpus beir/scifact \\
    output --embeddings runs/index --to-faiss --truncate-dim 128 encoder --encoder runs/scifact
python -m iaa_retrieval.search faiss --index runs/index --encoder runs/scifact --topics beir/scifact/test \\
    --output run.trec
```

The name is that of sentence-transformers. The index says what its vectors are cut to (`retriever.json`), and `search`,
`serve` and `FaissSearcher(INDEX, IaaQueryEncoder(CHECKPOINT))` cut the queries alike. Queries that are encoded before
(`encode queries --truncate-dim 128`) or searched with another size are refused, and the message names both sides. A
size that a checkpoint was not trained for is allowed, and said. `--truncate-dim` stands in the section `output` because
it also applies to vectors that were encoded before: encode once with `--to-parquet`, then make any index of them
without the model:

```bash
python -m iaa_retrieval.encode input --corpus runs/vectors output --embeddings runs/small --to-faiss --truncate-dim 64
```

Where an encoder's sentence-transformers files say `truncate_dim`, that is followed. `export --truncate-dim 128` writes
a checkpoint that gives the short vectors everywhere (not as `merged`, whose readers would not cut).
sentence-transformers itself cuts after it has normalised and does not normalise again; the export therefore asks it for
cosines.

## Fewer bits: `--quantize` and `--rescore`

| option | Faiss index | bytes of a vector of d numbers |
|---|---|---:|
| none | `Flat` | 4 d |
| `--quantize int8` | `SQ8`: each number in a byte, between its least and greatest value in a sample | d |
| `--quantize binary` | `RaBitQ`: one bit a number, and 8 bytes a vector (Gao and Long, SIGMOD 2024) | d/8 + 8 |
| `--quantize binary --rescore int8` | `RaBitQ,Refine(SQ8)` | d/8 + 8 + d |
| `--quantize int8 --rescore float32` | `SQ8,RFlat` | 5 d |

```bash
python -m iaa_retrieval.encode input --corpus runs/vectors output --embeddings runs/tiny --to-faiss \\
    --truncate-dim 128 --quantize binary --rescore int8
```

Each is the index that `--index-factory` makes of that description, and stock Pyserini searches it as it is: the query
stays float32, and scores are inner products. What is learnt (ranges, means) is learnt of a sample of the vectors. With
`--rescore`, the finer copy beside the codes scores anew four times as many documents as there shall be hits; that
factor is stored in the index. It makes the ranking better, not the index smaller: the finer copy is in the file and in
memory too. Signs alone, compared by Hamming distance, are not offered: Faiss has no such index of inner products, which
is what Pyserini and its runs take.

Lucene has int8 of its own (`--to-lucene hnsw --quantize int8`), beside the vectors.

## Measured

Bytes are those of the file `index` for each document, ids apart. nDCG@10 and R@100 are of the first 100 hits.
Milliseconds are of one query among all searched at once, in one thread, the best of five times; the machine did other
work at the same time, so only large differences mean something. Test queries chose nothing. Made with

```bash
python -m iaa_retrieval.encode input --corpus beir/scifact output --embeddings runs/vectors --to-parquet \\
    encoder --encoder ENCODER --precision fp32
python -m iaa_retrieval.encode queries --topics beir/scifact/test --encoder ENCODER --output runs/queries
python -m benchmarks.vector_sizes --topics beir/scifact/test --encoder NAME \\
    --vectors runs/vectors --queries runs/queries
```

and generated from [vector-sizes.json](vector-sizes.json)."""


def sizes_page(results: dict[str, Any]) -> str:
    """The page in Markdown.

    Args:
        results: topics -> encoder -> what was measured, as ``vector_sizes`` saves it.
    """
    parts = [INTRODUCTION]
    for topics, encoders in results.items():
        parts += [f"### {topics}", _table(encoders), *(_made(name, found) for name, found in encoders.items())]
    encoders = [encoder["rows"] for found in results.values() for encoder in found.values()]
    if encoders:
        parts.append(_findings(encoders))
    return "\n\n".join(parts) + "\n"


def _findings(encoders: list[list[dict[str, Any]]]) -> str:
    """The largest differences that fewer bits make at the same size, over all encoders and collections."""

    def largest(form: str, other: str, metric: str) -> str:
        differences = []
        for rows in encoders:
            values = {(row["vectors"], row["size"]): row[metric] for row in rows}
            differences += [abs(values[form, row["size"]] - values[other, row["size"]]) for row in rows]
        return f"{max(differences):.4f}"

    def both(form: str, other: str) -> str:
        return f"{largest(form, other, 'nDCG@10')} in nDCG@10 and {largest(form, other, 'R@100')} in R@100"

    return (
        f"Over all of these tables and at the same size, `int8` differs from `float32` by at most "
        f"{both('int8', 'float32')}, `binary` by up to {both('binary', 'float32')}, and `binary, re-scored by int8` "
        f"from `int8` by at most {both('binary, re-scored by int8', 'int8')}. Faiss compares a batch of queries with "
        "whole vectors by products of matrices, so that fewer bits are smaller, and not faster, in such small "
        "collections."
    )


def _table(encoders: dict[str, Any]) -> str:
    """A row for each size and form, two columns for each encoder."""
    first = next(iter(encoders.values()))["rows"]
    heads = [f"{name}: {metric}" for name in encoders for metric in ("nDCG@10", "R@100")]
    lines = [
        "| numbers | each as | bytes | ms | " + " | ".join(heads) + " |",
        "|---:|---|---:|---:|" + "---:|" * len(heads),
    ]
    for number, row in enumerate(first):
        scores = [
            f"{encoder['rows'][number][metric]:.4f}" for encoder in encoders.values() for metric in ("nDCG@10", "R@100")
        ]
        cells = [str(row["size"]), row["vectors"], f"{row['bytes']:,.0f}", f"{row['milliseconds']:.2f}", *scores]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _made(name: str, found: dict[str, Any]) -> str:
    """Under what conditions an encoder was measured."""
    training = found["training"]
    trained = "not trained"
    if training:
        sizes = training.get("matryoshka")
        said = f"Matryoshka {', '.join(map(str, sizes))}" if sizes else "without Matryoshka"
        trained = (
            f"{training['steps']} steps of {training['batch_size']} queries of {training['collection']}, {said}, seed "
            f"{training['seed']}"
        )
    versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
    return (
        f"*{name}: {trained}; documents of {found['document_tokens']} tokens, {found['queries']:,} queries; "
        f"{found['date']}, {found['hardware']}; {versions}.*"
    )
