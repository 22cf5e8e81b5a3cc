"""Data sets, artifacts and series against a real worker."""

import dataclasses
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import NAMESPACE, PATIENCE

from longshore import Client, DataError, NotStored, Result, Settings

Directory = Callable[[str], Path]
NewId = Callable[[str], str]

PROGRAM = """
import longshore

def main(id, config):
    rows = open("data/prices.csv").read().split()
    for number, row in enumerate(rows):
        longshore.metric("price", float(row), at=number)
    longshore.metric("rows", len(rows))
    for name in ["total.txt", "deep/er/copy.bin"]:
        with open(longshore.artifact(name), "wb") as file:
            file.write(str(sum(map(float, rows))).encode())
    return len(rows)
"""

BOT = """
import time
import longshore

def main(id, config):
    longshore.metric("beat", 1)
    while True:
        time.sleep(0.1)
"""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    file = tmp_path / "prices.csv"
    file.write_text("1.5\n2.5\n4\n")
    return file


def new_key() -> str:
    return f"{NAMESPACE}/{uuid.uuid4().hex[:6]}/prices.csv"


def test_a_data_set_goes_in_and_files_and_series_come_out(
    client: Client, directory: Directory, new_id: NewId, prices: Path, tmp_path: Path
) -> None:
    data = client.put_data(prices, new_key())
    assert data["path"] == "data/prices.csv" and len(data["sha256"] or "") == 64
    result = client.run(directory(PROGRAM), id=new_id("data"), inputs=[data], artifacts={}, timeout=PATIENCE)
    assert result.value == 3
    assert [one["path"] for one in result.artifacts] == ["deep/er/copy.bin", "total.txt"]
    assert client.artifact(result, "total.txt") == b"8.0"
    saved = client.artifacts(result, tmp_path / "out")
    assert [place.relative_to(tmp_path / "out").as_posix() for place in saved] == ["deep/er/copy.bin", "total.txt"]
    assert [place.read_bytes() for place in saved] == [b"8.0", b"8.0"]
    series = client.series(result)
    assert [(point.n, point.value, point.at) for point in series["price"]] == [(0, 1.5, 0), (1, 2.5, 1), (2, 4, 2)]
    assert [(point.attempt, point.value, point.at) for point in series["rows"]] == [(1, 3, None)]
    # Another program finds them by the journal.
    assert client.series(client.result(result.id or "")) == series


def test_the_same_bytes_are_sent_once_and_others_take_their_place(client: Client, prices: Path) -> None:
    key = new_key()
    first = client.put_data(prices, key)
    store = client._client._store

    def written() -> Any:
        return client._wait(store._ask("head_object", store.settings.inputs_bucket, key, Key=key))["LastModified"]

    before = written()
    time.sleep(1.1)
    assert client.put_data(prices, key, path="p.csv") == {**first, "path": "p.csv"}
    assert written() == before
    prices.write_text("1.5\n2.5\n5\n")
    assert client.put_data(prices, key)["sha256"] != first["sha256"]
    assert written() > before


def test_a_data_set_that_cannot_be_stored_is_an_exception_that_says_why(client: Client, prices: Path) -> None:
    with pytest.raises(DataError, match="gone.csv cannot be read"):
        client.put_data(prices.with_name("gone.csv"))
    for key in ["", "prices/", "a\\b"]:
        with pytest.raises(DataError, match="ends in a slash, has a backslash, or is empty"):
            client.put_data(prices, key)


def test_artifacts_that_are_not_there_are_exceptions_that_say_why(
    client: Client, directory: Directory, new_id: NewId, prices: Path, tmp_path: Path
) -> None:
    data = client.put_data(prices, new_key())
    result = client.run(directory(PROGRAM), id=new_id("gone"), inputs=[data], artifacts={}, timeout=PATIENCE)
    with pytest.raises(NotStored, match="has no artifact equity.png"):
        client.artifact(result, "equity.png")

    def changed(**fields: str) -> Result:
        first = {**result.artifacts[0], **fields}
        event = {**result.event, "data": {**result.data, "objects": {"artifacts": [first]}}}
        return dataclasses.replace(result, event=cast(Any, event))

    for wrong, said in [
        ({"key": "no/such/key"}, "no longer in the store"),
        ({"sha256": "0" * 64}, "is not what the run stored"),
        ({"path": "../up.txt"}, "outside the directory"),
        ({"path": "/tmp/up.txt"}, "outside the directory"),
    ]:
        with pytest.raises(NotStored, match=said):
            client.artifacts(changed(**wrong), tmp_path / "out")
    assert not (tmp_path / "up.txt").exists()


def test_a_run_without_artifacts_and_series_has_none(
    client: Client, directory: Directory, new_id: NewId, tmp_path: Path
) -> None:
    code = directory("def main(id, config): return 1")
    result = client.run(code, id=new_id("none"), timeout=PATIENCE)
    assert (result.artifacts, client.artifacts(result, tmp_path / "out"), client.series(result)) == ([], [], {})


def test_series_of_a_bot_are_read_while_it_runs(client: Client, directory: Directory, new_id: NewId) -> None:
    job = client.submit(directory(BOT), id=new_id("beat"), entrypoint="bot", entrypoint_files={"bot": "backtest.py"})
    deadline = time.monotonic() + PATIENCE
    while "beat" not in (series := client.series(job)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [point.value for point in series["beat"]] == [1]
    job.stop(timeout_seconds=5)
    assert job.result(PATIENCE).verdict == "stopped"


def test_the_bucket_of_inputs_is_a_setting() -> None:
    assert Settings.from_environment({}).inputs_bucket == "inputs"
    assert Settings.from_environment({"MINIO_INPUTS_BUCKET": "sets"}).inputs_bucket == "sets"
