"""What the model card of each kind says about its use."""

from __future__ import annotations

from typing import NamedTuple

_BI_ENCODER_USE = """\
With Pyserini, over a Faiss directory (`python -m iaa_retrieval.encode` makes one):

```bash
python -m iaa_retrieval.encode input --corpus COLLECTION \\
    output --embeddings INDEX --to-faiss encoder --encoder CHECKPOINT
python -m iaa_retrieval.search faiss --index INDEX --topics TOPICS --encoder CHECKPOINT --output run.trec
```

In Python:

```python
from pyserini.search.faiss import FaissSearcher
from iaa_retrieval.pyserini_plugin.encoders import IaaQueryEncoder

searcher = FaissSearcher("INDEX", IaaQueryEncoder("CHECKPOINT"))
```
"""

_CROSS_ENCODER_USE = """\
Re-rank a run:

```bash
python -m iaa_retrieval.rerank --run first-stage.trec --topics TOPICS --collection COLLECTION \\
    --encoder CHECKPOINT --output run.trec
```

In Python, over the hits of a Pyserini searcher:

```python
from iaa_retrieval.pyserini_plugin.rerankers import IaaReranker

hits = IaaReranker("CHECKPOINT").rerank("a query", searcher.search("a query", k=100))
```
"""


class CardTexts(NamedTuple):
    """What the card of a kind says.

    Attributes:
        use: with Pyserini and in Python.
        dev_data: what the dev queries are scored over.
        st_class: the class of sentence-transformers.
    """

    use: str
    dev_data: str
    st_class: str


BI_ENCODER_CARD = CardTexts(_BI_ENCODER_USE, "a sampled corpus", "SentenceTransformer")
CROSS_ENCODER_CARD = CardTexts(_CROSS_ENCODER_USE, "a re-ranked run", "CrossEncoder")
