"""The options of tuning queries alone, and what cannot be meant about it. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass

from iaa_retrieval.errors import UsageError
from iaa_retrieval.options import Checked, at_least, flag_of, one_of, option
from iaa_retrieval.training.option_groups import BI_ENCODER, DataOptions, TuningOptions
from iaa_retrieval.training.text_options import TextOptions

QUERIES = "queries"


@dataclass(frozen=True, kw_only=True)
class QuerySideOptions(Checked):
    """Whether queries alone are tuned, and for which index."""

    tune: str = option(
        "both",
        help="Which texts' encoding is trained: of both kinds, or of queries alone, for an --index of documents that "
        "stays as it is.",
        check=one_of("both", QUERIES),
        variants=BI_ENCODER,
    )
    index: str | None = option(
        None,
        help="With --tune queries: Faiss directory (or Parquet of vectors) that holds the documents. Where no "
        "--negatives are given, they are what it finds for the training queries.",
        variants=BI_ENCODER,
        metavar="DIR",
    )
    refresh_negatives: bool = option(
        False,
        help="With --tune queries: search the index for negatives again at the start of each epoch.",
        variants=BI_ENCODER,
    )
    random_negatives: int = option(
        0,
        help="With --tune queries: compare every query of a step also with so many documents of the index, drawn anew "
        "in each step (all, where it has no more). They need no encoding.",
        variants=BI_ENCODER,
        check=at_least(0),
    )


def check_query_side(
    kind: str, asked: QuerySideOptions, tuning: TuningOptions, data: DataOptions, text: TextOptions
) -> None:
    """Refuse options of ``--tune queries`` without it, and what has no meaning with it.

    Raises:
        UsageError: names the options.
    """
    if asked.tune != QUERIES:
        names = ("index", "refresh_negatives", "random_negatives")
        given = [flag_of(name) for name in names if getattr(asked, name)]
        if given:
            raise UsageError(f"{', '.join(given)} is for --tune queries; add that, or leave it out")
        return
    if kind not in BI_ENCODER:
        raise UsageError(f"only a bi-encoder encodes queries by themselves; leave --tune queries out for a {kind}")
    if asked.index is None:
        raise UsageError("--tune queries needs the documents' vectors; give the index that holds them with --index")
    if tuning.separate_encoders:
        raise UsageError("--tune queries trains no document encoder; leave --separate-encoders out")
    if tuning.start_from is not None and not tuning.chosen_method.is_adapter:
        raise UsageError(
            f"--tune queries keeps the document encoder beside the tuned one, and method {tuning.method_name} from "
            "--start-from has none; give that checkpoint as --backbone"
        )
    of_documents = ("document_prefix", "document_prompt", "document_prompt_name", "document_max_length")
    meaningless = [flag_of(name) for name in (*of_documents, "train_max_length") if getattr(text, name) is not None]
    if meaningless:
        raise UsageError(f"--tune queries encodes no document; leave {', '.join(meaningless)} out")
    if asked.refresh_negatives and data.negatives_run:
        raise UsageError("--refresh-negatives searches the index, and the negatives are a run's; give one of them")
