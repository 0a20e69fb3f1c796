"""One line out of what Java says."""

from __future__ import annotations

import pytest

from iaa_retrieval.pyserini_plugin.jvm import java_reason

LOG = """\
WARNING: Using incubator modules: jdk.incubator.vector
2026-11-27 20:43:27,782 INFO  [main] index.AbstractIndexer (AbstractIndexer.java:251) - 1 file found in e1in
java.lang.RuntimeException: String value length
\tat com.fasterxml.jackson.databind.MappingIterator._handleIOException(MappingIterator.java:430)
Caused by: com.fasterxml.jackson.core.exc.StreamConstraintsException: String value length exceeds 20000000
\tat com.fasterxml.jackson.core.StreamReadConstraints._constructException(StreamReadConstraints.java:663)
\t... 10 more
2026-11-27 20:43:27,857 ERROR [worker-1] index.AbstractIndexer$IndexerThread - Unexpected Exception: String value
java.lang.IllegalStateException: a consequence
"""
JNIUS = """\
Traceback (most recent call last):
  File "jnius/jnius_utils.pxi", line 79, in jnius.check_exception
jnius.JavaException: JVM exception occurred: java.nio.file.InvalidPathException: Malformed input: /tmp/B
java.nio.file.InvalidPathException: Malformed input: /tmp/B
\tjava.base/sun.nio.fs.UnixPath.encode(UnixPath.java:131)
\tio.anserini.index.IndexCollection.main(IndexCollection.java:342)
"""
NO_START = "Error occurred during initialization of VM\nToo small maximum heap\nPicked up JAVA_TOOL_OPTIONS: -Xmx1k\n"
TOLD = "2026 INFO  [main] x.Y (Y.java:1) - started\nValueError: Argument -input should be a directory.\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LOG, "com.fasterxml.jackson.core.exc.StreamConstraintsException: String value length exceeds 20000000"),
        (JNIUS, "java.nio.file.InvalidPathException: Malformed input: /tmp/B"),
        (NO_START, "Error occurred during initialization of VM Too small maximum heap"),
        (TOLD, "ValueError: Argument -input should be a directory."),
        ("", "it did not say why"),
    ],
)
def test_the_reason_is_the_innermost_cause_of_the_first_exception(text: str, reason: str) -> None:
    assert java_reason(text) == reason


def test_want_of_memory_comes_with_its_remedy_and_no_reason_is_endless() -> None:
    assert java_reason("java.lang.OutOfMemoryError: Java heap space").endswith("JAVA_TOOL_OPTIONS, such as -Xmx8g")
    assert len(java_reason(f"java.lang.IllegalArgumentException: {'105, ' * 5000}")) < 400


def test_an_index_of_a_newer_lucene_is_said_to_be_one() -> None:
    # What Pyserini 1.6 says of an index that 2.4 made.
    said = "java.lang.IllegalArgumentException: indexCreatedVersionMajor is in the future: 10"
    reason = java_reason(said)
    assert reason.startswith(said) and "a newer Lucene made this index" in reason
