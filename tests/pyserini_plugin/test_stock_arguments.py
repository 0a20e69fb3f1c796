"""Options in a stock command line, read as argparse reads them."""

from iaa_retrieval.pyserini_plugin.stock_arguments import StockArguments, join_hybrid, split_hybrid


def test_both_spellings_are_read_and_the_last_wins() -> None:
    arguments = StockArguments(["--index", "a", "--topics=t=1", "--l2-norm", "--index=b"])
    assert arguments.get("--index") == "b"
    assert arguments.get("--topics") == "t=1"
    assert arguments.has("--l2-norm") and not arguments.has("--l2")
    assert arguments.get("--hits") is None


def test_an_option_without_its_value_is_left_to_stock() -> None:
    assert StockArguments(["--index"]).get("--index") is None


def test_an_abbreviation_is_the_option_that_argparse_takes_it_for() -> None:
    arguments = StockArguments(["--lang", "zh", "--out=run", "--encoder", "e", "--b", "0.4", "--rm3"])
    assert arguments.get("--language") == "zh"
    assert arguments.get("--output") == "run"
    # Whole options, with which others begin.
    assert not arguments.has("--encoder-class") and not arguments.has("--batch-size")
    assert arguments.has("--rm3") and not arguments.has("--rm3-py")


def test_set_wins_over_what_was_there_and_keeps_the_rest() -> None:
    given = ["--fields", "title=1", "contents=2", "--output=a"]
    arguments = StockArguments(given)
    arguments.set("--output", "b")
    assert arguments.get("--output") == "b"
    assert arguments.words == [*given, "--output", "b"]
    assert given[-1] == "--output=a"


def test_hybrid_sections_are_cut_and_joined() -> None:
    words = ["dense", "--index", "d", "sparse", "--index", "s", "--bm25", "fusion", "run", "--topics", "t"]
    sections = split_hybrid(words)
    assert list(sections) == ["dense", "sparse", "fusion", "run"]
    assert sections["sparse"].words == ["--index", "s", "--bm25"]
    assert sections["fusion"].words == []
    assert join_hybrid(sections) == words
