"""The blocking client against a real worker."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE

from longshore import AlreadyActive, Client, NotEnded, RunFailed, UnknownJob, WaitTimeout

Directory = Callable[[str], Path]
NewId = Callable[[str], str]

BOT = """
import time

def main(id, config):
    print("up", flush=True)
    while True:
        time.sleep(0.1)
"""


def test_one_call_from_a_directory_to_what_the_code_returned(
    client: Client, directory: Directory, new_id: NewId
) -> None:
    code = directory("def main(id, config): return {'sum': config['a'] + config['b'], 'name': 'é'}")
    result = client.run(code, {"a": 1, "b": 2}, id=new_id("sum"), timeout=PATIENCE)
    assert result.value == {"sum": 3, "name": "é"}
    assert (result.verdict, result.ok) == ("succeeded", True)
    again = client.result(result.id or "")
    assert again.value == result.value and again.event["id"] == result.event["id"]


def test_a_start_json_gives_what_the_call_leaves_out(client: Client, directory: Directory, new_id: NewId) -> None:
    code = directory("def main(id, config): return [id, config]")
    (code / "start.json").write_text(json.dumps({"id": "x", "config": {"fast": 5}, "file_path": "old.zip"}))
    id = new_id("file")
    assert client.run(code, id=id, timeout=PATIENCE).value == [id, {"fast": 5}]


def test_code_that_fails_is_an_exception_that_says_why(client: Client, directory: Directory, new_id: NewId) -> None:
    code = directory("def main(id, config): raise ValueError('no prices for BTC')")
    with pytest.raises(RunFailed, match="failed: .*no prices for BTC") as error:
        client.run(code, id=new_id("bad"), timeout=PATIENCE)
    assert error.value.result.verdict == "failed"
    assert "no prices for BTC" in error.value.result.output
    result = client.run(code, id=new_id("bad"), check=False, timeout=PATIENCE)
    assert not result.ok and result.value["status"] == "error"


def test_a_message_that_the_worker_refuses_is_an_exception_that_says_why(
    client: Client, directory: Directory, new_id: NewId
) -> None:
    code = directory("def main(id, config): pass")
    wrong: list[dict[str, Any]] = [{"limits": {"memory_mb": 99_999}}, {"id": "not an id!"}, {"surprise": 1}]
    for fields in wrong:
        fields = {"id": new_id("refused"), **fields}
        with pytest.raises(RunFailed, match="rejected") as error:
            client.submit(code, **fields).result(PATIENCE).require()
        assert error.value.result.verdict == "rejected"


def test_a_result_that_is_too_large_for_an_event_is_fetched(
    client: Client, directory: Directory, new_id: NewId
) -> None:
    code = directory("def main(id, config): return 'x' * 600_000")
    result = client.run(code, id=new_id("large"), timeout=PATIENCE)
    assert "result" not in result.data and result.value == "x" * 600_000


def test_a_bot_is_followed_and_stopped_and_leaves_its_log(
    client: Client, directory: Directory, new_id: NewId
) -> None:
    job = client.submit(directory(BOT), id=new_id("bot"), entrypoint="bot", entrypoint_files={"bot": "backtest.py"})
    states = []
    for event in job.events():
        if event["type"] == "longshore.job.status.v1":
            states.append(event["data"]["state"])
            if states[-1] == "running":
                break
    with pytest.raises(NotEnded):
        client.result(job.id)
    with pytest.raises(WaitTimeout):
        job.result(timeout=0.1)
    with pytest.raises(AlreadyActive, match=job.run_id):
        client.submit(directory(BOT), id=job.id).result(PATIENCE)
    while not list(job.logs()):
        time.sleep(0.2)
    job.stop(reason="enough", timeout_seconds=5)
    result = job.result(PATIENCE)
    assert (result.verdict, result.ok) == ("stopped", True) and "enough" in result.message
    assert [(line.stream, line.text) for line in job.logs()] == [("stdout", "up")]
    assert client.result(job.id, job.run_id).verdict == "stopped"


def test_an_unknown_job_has_no_result(client: Client, new_id: NewId) -> None:
    with pytest.raises(UnknownJob):
        client.result(new_id("unknown"))
    with pytest.raises(UnknownJob):
        client.result(new_id("unknown"), "run")
    assert list(client.logs(new_id("unknown"))) == []


def test_lines_come_in_order_each_once(client: Client, directory: Directory, new_id: NewId) -> None:
    source = """
import sys, time

def main(id, config):
    for number in range(400):
        print(number, flush=True)
        time.sleep(0.01)
"""
    job = client.submit(directory(source), id=new_id("lines"))
    seen = 0
    while True:
        try:
            job.result(timeout=0.5)
        except WaitTimeout:
            pass
        else:
            break
        lines = [line.text for line in job.logs() if line.text.isdecimal()]
        assert lines == [str(number) for number in range(len(lines))] and len(lines) >= seen
        seen = len(lines)
    lines = [line.text for line in job.logs() if line.text.isdecimal()]
    assert lines == [str(number) for number in range(400)]


def test_the_same_code_is_stored_once(client: Client, directory: Directory) -> None:
    source = "def main(id, config): return 1"
    first, second = client.upload(directory(source)), client.upload(directory(source))
    assert first.key == second.key == f"code/{first.sha256}.zip"


def test_many_threads_share_a_client(client: Client, directory: Directory, new_id: NewId) -> None:
    code = directory("def main(id, config): return config['n'] ** 2")
    found: dict[int, int] = {}

    def run(number: int) -> None:
        found[number] = client.run(code, {"n": number}, id=new_id(f"many-{number}"), timeout=PATIENCE).value

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == {number: number**2 for number in range(6)}
