"""The asyncio client."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from . import logs, objects
from .broker import Binding, Broker, Lost, persistent
from .code import Code, pack
from .errors import WaitTimeout
from .message import body_of, complete, job_name, new_trace, read_start_file
from .models import Event, Input, StopMessage
from .result import Result
from .runs import Run, Runs
from .settings import Settings
from .store import Store

PathLike = str | os.PathLike[str]
# Repeats of an event have its id. So many ids are remembered.
REMEMBERED_EVENTS = 10_000


class AsyncClient:
    """Starts jobs and follows them, with asyncio.

    Connections are made when they are needed, and again when they were lost. Use it in `async with`, or `close` it.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self._broker = Broker(self.settings)
        self._store = Store(self.settings)
        self._runs = Runs(self._broker)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. Jobs go on."""
        await self._runs.close()
        await self._broker.close()

    async def run(
        self,
        code: PathLike,
        config: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        check: bool = True,
        install: bool = True,
        **fields: Any,
    ) -> Result:
        """Uploads code, starts it, and waits for its result.

        `code` is a directory or a zip. A `start.json` in the directory gives fields of the start message, and
        `config` and `fields` win over it. What is left out is filled in: the script by its name, the runtime by the
        script's extension. Packages that a `requirements.txt` or `package-lock.json` names and the directory does not
        have are installed by the program `longshore`, unless `install` is false.

        Raises `RunFailed` if the run ended neither well nor by a stop (not with ``check=False``), and `WaitTimeout`
        after `timeout` seconds. The run goes on then.
        """
        job = await self.submit(code, config, install=install, **fields)
        result = await job.result(timeout)
        return result.require() if check else result

    async def submit(
        self,
        code: PathLike | None = None,
        config: dict[str, Any] | None = None,
        *,
        install: bool = True,
        **fields: Any,
    ) -> AsyncJob:
        """Uploads code and starts it, like `run`, and does not wait.

        Without `code`, `fields` are the whole start message, with the `file_path` of code that is stored already.
        """
        packed: Code | None = None
        given = {**fields, **({} if config is None else {"config": config})}
        name = "job"
        if code is not None:
            place = Path(code)
            base = read_start_file(place) if place.is_dir() else {}
            runtime = fields.get("runtime")
            packed = await asyncio.to_thread(pack, code, install=install, runtime=runtime)
            name = job_name(place.resolve().stem)
            given = {**base, **given, "file_path": packed.key, "code_sha256": packed.sha256}
            await self._store.upload(packed)
        message = complete(given, packed.names if packed else (), name)
        run = Run(message["id"], message["run_id"], body_of(message), str(uuid.uuid4()))
        await self._runs.start(run, bool(message["is_long_running"]))
        return AsyncJob(self, run)

    async def upload(self, code: PathLike, *, install: bool = True) -> Code:
        """Stores code, unless it is there already. Its `key` is the `file_path` of a start message."""
        packed = await asyncio.to_thread(pack, code, install=install)
        await self._store.upload(packed)
        return packed

    async def stop(
        self, id: str, *, run_id: str | None = None, reason: str | None = None, timeout_seconds: int | None = None
    ) -> None:
        """Asks for the end of a job. After `timeout_seconds` (30) it is killed."""
        message: StopMessage = {"id": id}
        if run_id is not None:
            message["run_id"] = run_id
        if reason is not None:
            message["reason"] = reason
        if timeout_seconds is not None:
            message["timeout_seconds"] = timeout_seconds
        stop = persistent(body_of(message), str(uuid.uuid4()), new_trace())
        await self._broker.persist(lambda: self._broker.publish("jobs", "stop", stop))

    async def events(
        self,
        id: str | None = None,
        *,
        status: str | None = None,
        results: str | None = None,
        queue: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Events as they come, each once: of one job, or of all.

        `status` and `results` are patterns of routing keys, such as ``"finished.bot.*"`` and ``"failed.#"``: then
        only what they match comes. Events that are published while the connection is lost are missed, unless `queue`
        names a durable queue. That one is declared and keeps what comes. An event leaves it when you ask for the next
        one.
        """
        every = f"*.*.{id or '*'}"
        bindings: list[Binding] = []
        if status is not None or results is None:
            bindings.append(("status", status or every))
        if results is not None or status is None:
            bindings.append(("results", results or every))
        seen: deque[str] = deque(maxlen=REMEMBERED_EVENTS)
        while True:
            subscription = await self._broker.persist(lambda: self._broker.subscribe(bindings, queue))
            try:
                while True:
                    message = await subscription.next()
                    event = _event(message.body)
                    if event is not None and event["id"] not in seen:
                        seen.append(event["id"])
                        yield event
                    await subscription.ack(message)
            except Lost:
                continue
            finally:
                await subscription.close()

    async def logs(self, id: str) -> AsyncGenerator[logs.LogLine, None]:
        """The stored lines of a job, the oldest first. A worker stores new ones every `LOG_INTERVAL_SECONDS`."""
        async for line in logs.read(self._store, id):
            yield line

    async def result(self, id: str, run_id: str | None = None) -> Result:
        """How the latest run of a job ended, or this run of it.

        Raises `NotEnded` while it goes on, and `UnknownJob` if the journal has no such run. Needs the right to read
        the state bucket.
        """
        return await self._store.result(id, run_id)

    async def put_data(self, file: PathLike, key: str | None = None, *, path: str | None = None) -> Input:
        """Stores a file as a data set, unless the same bytes are there already, and returns what a start message
        needs in its list of `inputs`.

        By default its key is its name, and the program finds it at ``data/NAME``; `key` and `path` are others.
        """
        return await objects.put_data(self._store, Path(file), key, path)

    async def artifact(self, result: Result, path: str) -> bytes:
        """One of the files that a run left: its path as in `Result.artifacts`."""
        return await objects.read_artifact(self._store, result, path)

    async def artifacts(self, result: Result, to: PathLike) -> list[Path]:
        """Writes all files that a run left below the directory `to`, and says where they are."""
        return await objects.save_artifacts(self._store, result, Path(to))

    async def series(self, run: objects.AnyRun) -> dict[str, list[objects.Point]]:
        """What the program of a run measured, by name: of a `Result`, or of a job that goes on.

        A worker stores new points every `SERIES_INTERVAL_SECONDS`.
        """
        return await objects.read_series(self._store, run)

    async def _value(self, result: Result) -> Result:
        return await self._store.with_value(result)


class AsyncJob:
    """A run that was started."""

    def __init__(self, client: AsyncClient, run: Run) -> None:
        self._client, self._run = client, run

    @property
    def id(self) -> str:
        """The job."""
        return self._run.id

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run.run_id

    async def result(self, timeout: float | None = None) -> Result:
        """How it ended, once it has. Raises `WaitTimeout` after `timeout` seconds, and `AlreadyActive` if another
        run of the job was active, so that this one was not started."""
        try:
            event = await asyncio.wait_for(asyncio.shield(self._run.ended), timeout)
        except TimeoutError:
            raise WaitTimeout(f"{self.id} has not ended within {timeout:g} s; it goes on") from None
        return await self._client._value(Result(event))

    async def stop(self, *, reason: str | None = None, timeout_seconds: int | None = None) -> None:
        """Asks for its end."""
        await self._client.stop(self.id, run_id=self.run_id, reason=reason, timeout_seconds=timeout_seconds)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Events of the job, from now on, until this run has ended."""
        async for event in self._client.events(self.id):
            if event["data"].get("run_id") == self.run_id:
                yield event
                if event["type"] == "longshore.job.result.v1":
                    return

    def logs(self) -> AsyncGenerator[logs.LogLine, None]:
        """The stored lines of the job, those of earlier runs included."""
        return self._client.logs(self.id)


def _event(body: bytes) -> Event | None:
    """An event; `None` for what is none."""
    try:
        event = json.loads(body)
    except ValueError:
        return None
    is_event = isinstance(event, dict) and isinstance(event.get("data"), dict) and isinstance(event.get("id"), str)
    return cast(Event, event) if is_event else None
