"""The verb ``serve``: what it refuses before anything is loaded, and a real process that is asked and ended."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkpoints import QUERIES
from click.testing import CliRunner, Result
from served import KEY, World

from iaa_retrieval.errors import UsageError
from iaa_retrieval.jobs.quickstart import serving_command
from iaa_retrieval.jobs.serve import quickstart_config
from iaa_retrieval.serve import main
from iaa_retrieval.serving.engine import Engine, Search


def serve(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def write(folder: Path, world: World, **changes: object) -> Path:
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(world.values(**changes)))
    return path


def test_another_host_needs_keys(tmp_path: Path, world: World) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "search.example"):
        done = serve("--config", write(tmp_path, world), "--host", host)
        assert done.exit_code == 2
        assert f"--host {host} lets other machines in; name api_keys" in done.output


def test_a_port_that_is_taken_is_known_before_anything_is_loaded(tmp_path: Path, world: World) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = serve("--config", write(tmp_path, world), "--port", port)
    assert done.exit_code == 1
    assert f"cannot serve on 127.0.0.1 port {port}" in done.output and "choose another --port" in done.output


def test_without_a_quickstart_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    done = serve("--quickstart", tmp_path / "nothing")
    assert done.exit_code == 2
    assert "holds no finished quickstart; run `make demo` or `python -m iaa_retrieval.quickstart` first" in done.output


def test_faults_of_the_file_are_one_line(tmp_path: Path, world: World) -> None:
    done = serve("--config", write(tmp_path, world, titel="x"))
    assert done.exit_code == 2
    assert done.output.strip().endswith("serve.yaml: titel is no known key; did you mean title?")
    done = serve("--config", write(tmp_path, world), "--quickstart", tmp_path)
    assert "give one of them" in done.output


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "uvicorn" else found(name))
    done = serve("--quickstart", tmp_path)
    assert done.exit_code == 1
    assert "serving needs uvicorn" in done.output and "pip install uvicorn" in done.output


def test_what_quickstart_built_is_served(tmp_path: Path, world: World) -> None:
    """Directories as the quickstart names them, and its record."""
    from iaa_retrieval.jobs.quickstart_options import QuickstartOptions

    settings = dict(vars(QuickstartOptions()), backbone=str(world.backbone), output=str(tmp_path))
    results = {"collection": str(world.collection), "settings": settings}
    for name, path in {
        "lucene-index": world.lucene,
        "dense-untuned-index": world.faiss("backbone"),
        "dense-iaa-l-index": world.faiss("tuned"),
        "bi-encoder": world.tuned,
        "cross-encoder": world.reranker,
    }.items():
        (tmp_path / name).symlink_to(path)
    with pytest.raises(UsageError, match="no finished quickstart"):
        quickstart_config(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(results))
    config = quickstart_config(tmp_path)
    assert config.collection == f"{world.collection}:test"
    engine = Engine(config.model_copy(update={"collection": f"{world.collection}:train"}), device="cpu")
    assert list(config.systems) == ["bm25", "untuned", "tuned", "reranked"]
    for system in config.systems.values():
        assert engine.search(Search(QUERIES["q1"], system.index, 3, system.checkpoint, system.rerank))
    assert serving_command({"settings": settings}) == f"python -m iaa_retrieval.serve --quickstart {tmp_path}"
    assert serving_command({"settings": {"output": "runs/quickstart"}}) == "python -m iaa_retrieval.serve"


@pytest.fixture
def process(tmp_path: Path, world: World) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a free port, and that port."""
    words = ["--config", str(write(tmp_path, world, api_keys=[KEY])), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "iaa_retrieval.serve", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"Serving .* at http://127\.0\.0\.1:(\d+)/ ", line):
            break
    else:
        pytest.fail(said)
    yield process, int(found.group(1))
    process.kill()
    process.communicate()


def ask(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_real_server(process: tuple[subprocess.Popen[str], int], engine: Engine) -> None:
    server, port = process
    assert ask(port, "/health") == (200, b'{"status":"ready","indexes":4}')
    assert ask(port, "/")[0] == 200
    assert ask(port, "/api/systems")[0] == 401
    assert ask(port, "/health", Host="evil.example")[0] == 400
    path = "/v1/tuned/search?hits=3&query=water+in+the+world"
    status, body = ask(port, path, **{"X-API-Key": KEY})
    expected = engine.search(Search(QUERIES["q1"], "tuned", 3))
    assert status == 200
    assert [hit["docid"] for hit in json.loads(body)["candidates"]] == [hit.docid for hit in expected]
    server.send_signal(signal.SIGTERM)
    output, errors = server.communicate(timeout=60)
    assert server.returncode == 0, errors
    assert output == "" and "Traceback" not in errors and errors.endswith("Ended.\n")
