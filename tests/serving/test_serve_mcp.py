"""Pyserini 2.x's MCP tools on our engine: over standard input and output, as a client starts them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoints import QUERIES, contents
from click.testing import CliRunner
from served import World

from iaa_retrieval.pyserini_generations import is_second_generation
from iaa_retrieval.serve import main
from iaa_retrieval.serving.engine import Engine, Search

second_generation = pytest.mark.skipif(not is_second_generation(), reason="the installed Pyserini is 1.6")


@pytest.mark.skipif(is_second_generation(), reason="the installed Pyserini is 2.x")
def test_the_first_generation_has_no_such_tools(tmp_path: Path, world: World) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(world.values()))
    done = CliRunner().invoke(main, ["--config", str(path), "--mcp", "stdio"])
    assert done.exit_code == 2
    assert "--mcp serves the tools of Pyserini 2.x" in done.output


@second_generation
def test_a_client(tmp_path: Path, world: World, engine: Engine) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(world.values()))
    words = ["-m", "iaa_retrieval.serve", "--config", str(path), "--mcp", "stdio", "--device", "cpu"]

    async def story() -> dict[str, Any]:
        import os

        async with Client(StdioTransport(sys.executable, words, env=dict(os.environ))) as client:
            found = {tool.name: tool for tool in await client.list_tools()}
            assert {"search", "get_document", "list_indexes", "get_index"} <= set(found)
            asked = {"query": QUERIES["q1"], "index": "tuned", "hits": 3}
            return {
                "search": await client.call_tool("search", asked),
                "encoder": await client.call_tool("search", {**asked, "encoder": "other"}, raise_on_error=False),
                "hits": await client.call_tool("search", {**asked, "hits": 101}, raise_on_error=False),
                "document": await client.call_tool("get_document", {"docid": "d2", "index": "bm25"}),
                "indexes": await client.call_tool("list_indexes", {"index_type": "faiss"}),
                "index": await client.call_tool("get_index", {"index_name": "bm25"}),
            }

    answers = asyncio.run(story())
    text = {name: "\n".join(part.text for part in answer.content) for name, answer in answers.items()}
    for hit in engine.search(Search(QUERIES["q1"], "tuned", 3)):
        assert f"DocID: {hit.docid} | Score: {round(hit.score, 6)}" in text["search"]
        assert contents(hit.docid) in text["search"]
    assert answers["encoder"].is_error and "different encoders" in text["encoder"]
    assert answers["hits"].is_error and "between 1 and 100" in text["hits"]
    assert contents("d2") in text["document"]
    assert all(name in text["indexes"] for name in ("tuned", "other", "untuned"))
    assert str(world.folder) not in text["index"] and '"tf"' in text["index"]
