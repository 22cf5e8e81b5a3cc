"""What goes into a run and comes out of it beside code and result: data sets, artifacts, series."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from .errors import DataError, NotStored
from .models import Artifact, Input
from .result import Result
from .store import Missing, Store

SERIES = re.compile(r"(?P<attempt>\d+)\.jsonl")


class AnyRun(Protocol):
    """A run: a `Result`, or a job that goes on."""

    @property
    def id(self) -> str | None:
        """The job."""

    @property
    def run_id(self) -> str | None:
        """The run."""


@dataclass(frozen=True)
class Point:
    """A point of a series."""

    attempt: int
    """The attempt in which it was measured."""
    n: int
    """Its number in that attempt. The first is 0."""
    value: float
    """What was measured."""
    at: float | str | None
    """Where on its axis it is, if the program said it: a number, or a time as RFC 3339."""
    time: str
    """When the engine received it: RFC 3339, in UTC."""


async def put_data(store: Store, file: Path, key: str | None, path: str | None) -> Input:
    """Stores a file, unless the store has the same bytes under the key."""
    key = file.name if key is None else key
    if not key or key.endswith("/") or "\\" in key:
        raise DataError(f"the key {key!r} ends in a slash, has a backslash, or is empty")
    try:
        digest, size = await asyncio.to_thread(_measure, file)
        await store.put_file(store.settings.inputs_bucket, key, file, digest, size)
        if await asyncio.to_thread(_measure, file) != (digest, size):
            raise DataError(f"{file} changed while it was sent: store it again")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    return {"key": key, "path": f"data/{file.name}" if path is None else path, "sha256": digest}


def _measure(file: Path) -> tuple[str, int]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return digest, content.tell()


async def read_artifact(store: Store, result: Result, path: str) -> bytes:
    """The bytes of one artifact."""
    for artifact in result.artifacts:
        if artifact["path"] == path:
            return await _read(store, artifact)
    raise NotStored(f"{result.id} has no artifact {path}")


async def save_artifacts(store: Store, result: Result, folder: Path) -> list[Path]:
    """Writes all of them below a directory."""
    saved = []
    for artifact in result.artifacts:
        path = PurePosixPath(artifact["path"])
        # A program chose it.
        if path.is_absolute() or ".." in path.parts or "\\" in artifact["path"]:
            raise NotStored(f"the artifact {artifact['path']!r} lies outside the directory of artifacts")
        body, place = await _read(store, artifact), folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
        saved.append(place)
    return saved


async def _read(store: Store, artifact: Artifact) -> bytes:
    key = artifact["key"]
    try:
        body = await store.get(store.settings.results_bucket, key)
    except Missing:
        raise NotStored(f"{key} is no longer in the store (ARTIFACT_RETENTION_DAYS)") from None
    if hashlib.sha256(body).hexdigest() != artifact["sha256"]:
        raise NotStored(f"{key} in the store is not what the run stored there")
    return body


async def read_series(store: Store, run: AnyRun) -> dict[str, list[Point]]:
    """The stored points of a run by the names of its series, those of earlier attempts first."""
    bucket, prefix = store.settings.results_bucket, f"{run.id}/{run.run_id}/series/"
    names = [SERIES.fullmatch(key.removeprefix(prefix)) for key in await store.list(bucket, prefix)]
    series: dict[str, list[Point]] = defaultdict(list)
    for attempt in sorted(int(name["attempt"]) for name in names if name):
        try:
            text = await store.get(bucket, f"{prefix}{attempt}.jsonl")
        except Missing:  # it has become too old meanwhile
            continue
        for line in text.splitlines():
            point = json.loads(line)
            series[point["name"]].append(Point(attempt, point["n"], point["value"], point.get("at"), point["time"]))
    return dict(series)
