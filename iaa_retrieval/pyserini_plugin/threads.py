"""Computing with all threads beside Pyserini's Faiss searchers."""

from __future__ import annotations

import torch

# As it was when this was imported, which encoders and re-rankers do: before any search that used one of them.
_THREADS = torch.get_num_threads()


def use_all_threads() -> None:
    """Undo what a FaissSearcher does: it sets OpenMP's threads for the whole process, to one unless told otherwise.

    What is encoded or re-ranked after the first search would run on one core.
    """
    if torch.get_num_threads() != _THREADS:
        torch.set_num_threads(_THREADS)
