"""``python -m iaa_retrieval.analysis.cost_worker REQUEST``: measure one method in this process, and print the costs.

REQUEST is a JSON object: ``train``, options of training by name; ``warm_up`` and ``steps``; ``words`` of a
text. The last line that is
printed is the costs as JSON. It ends with 2 for a ``UsageError`` and 1 for another failure, its message on standard
error.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from iaa_retrieval.analysis.training_cost import measure_training
from iaa_retrieval.errors import IaaRetrievalError, UsageError
from iaa_retrieval.process import prepare_process
from iaa_retrieval.training.options import TrainOptions


def main() -> None:
    """Read the request, measure, print."""
    prepare_process()
    request: dict[str, Any] = json.loads(sys.argv[1])
    # As many words as tokens, each at least one: with the special tokens, every text is cut at its greatest length.
    text = " ".join(["word"] * request["words"])
    try:
        options = TrainOptions.of(collection="", output="", **request["train"])
        cost, _ = measure_training(options, [text], [text], request["warm_up"], request["steps"])
    except (IaaRetrievalError, OSError, MemoryError) as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
