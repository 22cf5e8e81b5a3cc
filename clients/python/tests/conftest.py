"""What the tests share. They run beside a real worker: scripts/clients.sh starts one."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from longshore import Client, Settings

NAMESPACE = os.environ["AMQP_NAMESPACE"]
# Against hanging, in seconds.
PATIENCE = 120


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture
def settings() -> Settings:
    return Settings.from_environment()


@pytest.fixture
def new_id() -> Callable[[str], str]:
    return lambda name: f"{NAMESPACE}-py-{name}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a directory with a program for a backtest."""

    def make(source: str, name: str = "backtest.py") -> Path:
        folder = tmp_path / f"program-{uuid.uuid4().hex[:6]}"
        folder.mkdir()
        (folder / name).write_text(source)
        return folder

    return make
