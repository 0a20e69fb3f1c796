"""Which kind of index a directory holds, and opening a Lucene index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iaa_retrieval.errors import IaaRetrievalError
from iaa_retrieval.java import prepare_java, require_java_can_open
from iaa_retrieval.pyserini_plugin.jvm import java_errors

_MAKE_LUCENE = "make one with: python -m iaa_retrieval.index"
_MAKE_FAISS = "make one with: python -m iaa_retrieval.encode ... output --embeddings DIR --to-faiss ..."


def require_lucene_index(directory: str) -> None:
    """Refuse a path that is no directory with a Lucene index.

    Raises:
        IaaRetrievalError: the message says what is there instead.
    """
    path = Path(directory)
    if not path.is_dir() or not any(path.glob("segments_*")):
        raise IaaRetrievalError(f"{path}: no such Lucene index ({_found_instead(path, 'segments_*')}); {_MAKE_LUCENE}")


def require_faiss_index(directory: str, *, binary: bool = False) -> None:
    """Refuse a path that is no Faiss directory as Pyserini reads it: an index, and the documents' ids line by line.

    Args:
        directory: the directory.
        binary: it is an index of bits, for which Faiss has another reader; then only the files are looked for.

    Raises:
        IaaRetrievalError: the message says what is there instead.
    """
    path = Path(directory)
    if not (path / "index").is_file():
        raise IaaRetrievalError(f"{path}: no such Faiss index ({_found_instead(path, 'index')}); {_MAKE_FAISS}")
    if not (path / "docid").is_file():
        raise IaaRetrievalError(
            f"{directory} lacks the file docid, in which the ids of its documents stand; {_MAKE_FAISS}"
        )
    if binary:
        return
    import faiss

    try:
        vectors = faiss.read_index(str(path / "index"), faiss.IO_FLAG_MMAP).ntotal
    except RuntimeError as error:
        raise IaaRetrievalError(f"{path / 'index'} is no index that Faiss can read: {_last_part(error)}") from error
    ids = count_ids(path)
    if ids != vectors:
        raise IaaRetrievalError(f"{directory} is damaged: its index holds {vectors} vectors, its docid {ids} ids")


def count_ids(directory: Path) -> int:
    """How many documents a Faiss directory names."""
    with open(directory / "docid", "rb") as stream:
        return sum(1 for _ in stream)


def require_dimension(
    index: str | Path, queries: str, dimension: int, pca_model: str | None, *, index_name: str
) -> None:
    """Refuse queries whose vectors have not as many numbers as those of a Faiss directory.

    Args:
        index: the directory.
        queries: what makes the queries' vectors, for the message.
        dimension: of the queries' vectors.
        pca_model: a file with a transform of Faiss that the search applies to them, if any.
        index_name: how to name the directory in the error.

    Raises:
        IaaRetrievalError: the dimensions do not fit, or the file is no transform.
    """
    import faiss

    wanted = faiss.read_index(str(Path(index) / "index"), faiss.IO_FLAG_MMAP).d
    if pca_model is not None:
        try:
            transform = faiss.read_VectorTransform(pca_model)
        except RuntimeError as error:
            raise IaaRetrievalError(f"--pca-model {pca_model} is no transform that Faiss can read") from error
        if transform.d_in != dimension:
            raise IaaRetrievalError(
                f"--pca-model {pca_model} takes vectors of {transform.d_in} numbers, but {queries} makes {dimension}; "
                "use the model that was fitted to these vectors"
            )
        queries, dimension = f"--pca-model {pca_model}", transform.d_out
    if dimension != wanted:
        raise IaaRetrievalError(
            f"{index_name} holds vectors of {wanted} numbers, but {queries} makes {dimension}; encode the corpus "
            "with the encoder of the queries"
        )


def dimension_of_encoded(queries: str) -> int | None:
    """How many numbers the vectors in a directory of encoded queries have, None for a name that is no path.

    Raises:
        IaaRetrievalError: the directory holds no encoded queries, or what holds them is damaged.
    """
    path = Path(queries) / "embedding.pkl"
    if not Path(queries).exists():
        return None
    if not path.is_file():
        raise IaaRetrievalError(
            f"--encoded-queries {queries}: no such encoded queries ({_found_instead(path.parent, path.name)}); "
            "make them with: python -m iaa_retrieval.encode queries"
        )
    import pandas

    try:
        embeddings = list(pandas.read_pickle(path)["embedding"])
        dimensions = {len(embedding) for embedding in embeddings}
    except Exception as error:  # a damaged pickle may raise anything
        raise IaaRetrievalError(
            f"{path} does not hold encoded queries, or is damaged ({type(error).__name__}); make it anew with: "
            "python -m iaa_retrieval.encode queries"
        ) from error
    if len(dimensions) > 1:
        raise IaaRetrievalError(f"{path} holds vectors of {min(dimensions)} and of {max(dimensions)} numbers")
    return dimensions.pop() if dimensions else None


def open_lucene_index(directory: str) -> Any:
    """A LuceneSearcher of a directory that holds a Lucene index.

    Raises:
        IaaRetrievalError: no Java, or Lucene cannot read it (damaged, or of a newer Lucene).
    """
    prepare_java()
    require_java_can_open(directory)
    from pyserini.search.lucene import LuceneSearcher

    with java_errors(f"open the index {directory}"):
        return LuceneSearcher(directory)


def _found_instead(path: Path, marker: str) -> str:
    """Why ``path`` is no index of which files are called ``marker``."""
    if not path.is_dir():
        return "it is a file" if path.exists() else "there is nothing"
    known = (
        ("segments_*", "it is a Lucene index"),
        ("index", "it is a Faiss index"),
        ("embeddings.jsonl", "it holds embeddings.jsonl, as encode writes it without --to-faiss"),
        ("embedding.pkl", "it holds encoded queries"),
    )
    kinds = [f"; {kind}" for name, kind in known if name != marker and any(path.glob(name))]
    return f"the directory holds no file {marker}{''.join(kinds[:1])}"


def _last_part(error: RuntimeError) -> str:
    """Faiss puts the signature of a C++ function in front of what it says."""
    return str(error).strip().splitlines()[-1].rpartition("failed: ")[2][-300:]
