"""TREC topics of every age, with the text as its authors meant it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from iaa_retrieval.collections.topics import read_topics
from iaa_retrieval.errors import IaaRetrievalError

OLD = """

<top>
<head> Tipster Topic Description
<num> Number: 051
<dom> Domain:  International Economics
<title> Topic:  AT&T <5 years & R&D&copy <b>x</b>

<desc> Description:
Document mentions <title> somewhere.
<smry> Summary:
</top>

<top>

<num> Number: 302
<title> Poliomyelitis and
 a < b > c

<desc> Description:
Is it?

<narr> Narrative:
Yes.

</top>
"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<!-- <top><num>0</num><title>commented out</title></top> -->
<topics>
<top lang="en">
  <num>Number: 051</num><title>AT&amp;T &lt;5 years &#38; R&#x26;D&copy <![CDATA[<b>x</b>]]></title><desc>No</desc>
</top>
<TOP>
  <NUM> 302 </NUM>
  <TITLE>Poliomyelitis and
  a &lt; b > c</TITLE>
</TOP>
</topics>
"""
ATTRIBUTES = """<topics task="COVIDSearch Ad Hoc">
  <topic number="051">
    <query>AT&amp;T &lt;5 years &amp; R&amp;D&copy &lt;b&gt;x&lt;/b&gt;</query>
    <question>what?</question>
  </topic>
  <topic type="faceted" number="302">
    <title>Poliomyelitis and a &lt; b > c</title>
    <query> </query>
    <subtopic number="1" type="nav">polio</subtopic>
  </topic>
</topics>"""
EXPECTED = [("051", "AT&T <5 years & R&D&copy <b>x</b>"), ("302", "Poliomyelitis and a < b > c")]


@pytest.mark.parametrize("text", [OLD, XML, ATTRIBUTES, OLD.replace("\n", "\r\n"), "\ufeff" + XML])
@pytest.mark.parametrize("name", ["t.trec", "t.txt", "t.xml", "topics.301-450", "topics", "t.tsv", "t.txt.gz"])
def test_topics_are_recognised_by_what_is_in_the_file(name: str, text: str, tmp_path: Path) -> None:
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_topics(tmp_path / name) == EXPECTED


def test_records_on_one_line_and_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("<top><num>1<title>a b<desc>c</top><top><num>2<title>d<top><num>3<title>e")
    assert read_topics(tmp_path / "t") == [("1", "a b"), ("2", "d"), ("3", "e")]


def test_a_topic_that_is_nothing_but_text(tmp_path: Path) -> None:
    (tmp_path / "t.xml").write_text('<topics task="trials">\n<topic number="1">\nA man of\n45 years\n</topic></topics>')
    assert read_topics(tmp_path / "t.xml") == [("1", "A man of 45 years")]


@pytest.mark.parametrize(("text", "message"), [
    ("<top>\n<num> 1\n<title> a\n</top>\n\n<top>\n<num> 2\n</top>", r"topic 2 has no <title> or <query> \(line 6\)"),
    ('<topics>\n<topic number="1">\n<gene>B</gene></topic></topics>', r"topic 1 has no <query> or <title> \(line 2\)"),
    ("<top>\n<title> a\n</top>", r"topic 1 has no <num> and no number attribute \(line 1\)"),
    ("<top>\n<num> Number: 3 01\n<title> a\n</top>", r"topic 1 \(line 1\): '3 01' is empty or has white space"),
    ("<parameters><query><number>1</number></query></parameters>", "holds no queries: no <top> or <topic> record"),
    ("<top><num>1<title>a</top>\n<top><num>1<title>b</top>", "topic 2: query id '1' occurs twice"),
])  # fmt: skip
def test_what_cannot_be_read_is_said_with_the_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.xml").write_text(text)
    with pytest.raises(IaaRetrievalError, match=message):
        read_topics(tmp_path / "t.xml")
