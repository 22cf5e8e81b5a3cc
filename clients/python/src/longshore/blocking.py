"""The blocking client: the asyncio client on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .client import AsyncClient, AsyncJob, PathLike
from .code import Code
from .logs import LogLine
from .models import Event, Input
from .objects import AnyRun, Point
from .result import Result
from .settings import Settings

T = TypeVar("T")


class Client:
    """Starts jobs and follows them. Methods block; threads may share a client.

    Connections are made when they are needed, and again when they were lost. Use it in `with`, or `close` it.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="longshore", daemon=True)
        self._thread.start()
        self._client = self._wait(self._make(settings))

    @staticmethod
    async def _make(settings: Settings | None) -> AsyncClient:
        return AsyncClient(settings)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # such as KeyboardInterrupt: nobody waits any more
            future.cancel()
            raise

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        end = object()

        async def step() -> Any:
            return await anext(items, end)

        try:
            while (item := self._wait(step())) is not end:
                yield item
        finally:
            self._wait(self._finish(items))

    @staticmethod
    async def _finish(items: AsyncGenerator[T, None]) -> None:
        await items.aclose()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Jobs go on."""
        if self._thread.is_alive():
            self._wait(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def run(
        self,
        code: PathLike,
        config: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        check: bool = True,
        install: bool = True,
        **fields: Any,
    ) -> Result:
        """Uploads code, starts it, and waits for its result. See `AsyncClient.run`."""
        return self._wait(self._client.run(code, config, timeout=timeout, check=check, install=install, **fields))

    def submit(
        self,
        code: PathLike | None = None,
        config: dict[str, Any] | None = None,
        *,
        install: bool = True,
        **fields: Any,
    ) -> Job:
        """Uploads code and starts it, and does not wait. See `AsyncClient.submit`."""
        return Job(self, self._wait(self._client.submit(code, config, install=install, **fields)))

    def upload(self, code: PathLike, *, install: bool = True) -> Code:
        """Stores code, unless it is there already. Its `key` is the `file_path` of a start message."""
        return self._wait(self._client.upload(code, install=install))

    def stop(
        self, id: str, *, run_id: str | None = None, reason: str | None = None, timeout_seconds: int | None = None
    ) -> None:
        """Asks for the end of a job. After `timeout_seconds` (30) it is killed."""
        self._wait(self._client.stop(id, run_id=run_id, reason=reason, timeout_seconds=timeout_seconds))

    def events(
        self,
        id: str | None = None,
        *,
        status: str | None = None,
        results: str | None = None,
        queue: str | None = None,
    ) -> Iterator[Event]:
        """Events as they come, each once. See `AsyncClient.events`."""
        return self._each(self._client.events(id, status=status, results=results, queue=queue))

    def logs(self, id: str) -> Iterator[LogLine]:
        """The stored lines of a job, the oldest first."""
        return self._each(self._client.logs(id))

    def result(self, id: str, run_id: str | None = None) -> Result:
        """How the latest run of a job ended, or this run of it. See `AsyncClient.result`."""
        return self._wait(self._client.result(id, run_id))

    def put_data(self, file: PathLike, key: str | None = None, *, path: str | None = None) -> Input:
        """Stores a file as a data set, and returns an item for `inputs`. See `AsyncClient.put_data`."""
        return self._wait(self._client.put_data(file, key, path=path))

    def artifact(self, result: Result, path: str) -> bytes:
        """One of the files that a run left: its path as in `Result.artifacts`."""
        return self._wait(self._client.artifact(result, path))

    def artifacts(self, result: Result, to: PathLike) -> list[Path]:
        """Writes all files that a run left below the directory `to`, and says where they are."""
        return self._wait(self._client.artifacts(result, to))

    def series(self, run: AnyRun) -> dict[str, list[Point]]:
        """What the program of a run measured, by name. See `AsyncClient.series`."""
        return self._wait(self._client.series(run))


class Job:
    """A run that was started."""

    def __init__(self, client: Client, job: AsyncJob) -> None:
        self._client, self._job = client, job

    @property
    def id(self) -> str:
        """The job."""
        return self._job.id

    @property
    def run_id(self) -> str:
        """The run."""
        return self._job.run_id

    def result(self, timeout: float | None = None) -> Result:
        """How it ended, once it has. See `AsyncJob.result`."""
        return self._client._wait(self._job.result(timeout))

    def stop(self, *, reason: str | None = None, timeout_seconds: int | None = None) -> None:
        """Asks for its end."""
        self._client._wait(self._job.stop(reason=reason, timeout_seconds=timeout_seconds))

    def events(self) -> Iterator[Event]:
        """Events of the job, from now on, until this run has ended."""
        return self._client._each(self._job.events())

    def logs(self) -> Iterator[LogLine]:
        """The stored lines of the job, those of earlier runs included."""
        return self._client._each(self._job.logs())
