"""The runs that this client has started, and their ends.

One queue gets the results of all of them. While the connection is lost, results may be missed. So afterwards each
start is published again, unchanged: a worker answers the start of a run that has ended with its result, drops that of
a run that goes on, and never runs one twice.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from .broker import CLOSE_SECONDS, Binding, Broker, Lost, Subscription, persistent
from .errors import AlreadyActive
from .message import new_trace, refusal_id
from .models import ResultEvent

# Refusals of messages that are too broken to name a job. Ours may be among them.
REFUSALS: Binding = ("results", "*.*.unknown")


@dataclass
class Run:
    """A run and its start message."""

    id: str
    run_id: str
    body: bytes
    message_id: str
    ended: asyncio.Future[ResultEvent] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @cached_property
    def refusal(self) -> str:
        """The id of the event that would refuse its message."""
        return refusal_id(self.message_id, self.body)

    @property
    def bindings(self) -> list[Binding]:
        """What to listen to."""
        return [("results", f"*.*.{self.id}"), ("status", f"duplicate.*.{self.id}")]


class Runs:
    """Starts runs, and listens for their ends for as long as there are any."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open: dict[str, tuple[Run, bool, Any]] = {}
        self._subscription: Subscription | None = None
        self._listener: asyncio.Task[None] | None = None
        self._subscribing = asyncio.Lock()
        self._is_closed = False

    async def start(self, run: Run, is_long_running: bool) -> None:
        """Publishes the start of a run once its end will be heard."""
        run.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        start = persistent(run.body, run.message_id, new_trace())
        entry = (run, is_long_running, start)

        async def listen_and_publish() -> None:
            subscription = await self._listening()
            for exchange, pattern in run.bindings:
                await subscription.bind(exchange, pattern)
            self._open[run.run_id] = entry
            await self._publish(entry)

        try:
            await self._broker.persist(listen_and_publish)
        except BaseException:
            self._open.pop(run.run_id, None)
            raise

    async def _publish(self, entry: tuple[Run, bool, Any]) -> None:
        key = "start.long-running" if entry[1] else "start.terminating"
        await self._broker.publish("jobs", key, entry[2])

    async def _listening(self) -> Subscription:
        async with self._subscribing:
            if self._subscription is None:
                bindings = [REFUSALS, *(binding for run, _, _ in self._open.values() for binding in run.bindings)]
                self._subscription = await self._broker.subscribe(bindings)
            if self._listener is None or self._listener.done():
                self._listener = asyncio.create_task(self._listen())
            return self._subscription

    async def _listen(self) -> None:
        try:
            while not self._is_closed:
                subscription = await self._broker.persist(self._listening)
                try:
                    while not self._is_closed:
                        message = await subscription.next()
                        await self._take(message.body, subscription)
                        await subscription.ack(message)
                except Lost:
                    self._subscription = None
                    await self._broker.persist(self._again)
        except Exception as error:  # whoever waits must hear of it, whatever it is
            self._subscription = None
            for run, _, _ in self._open.values():
                if not run.ended.done():
                    run.ended.set_exception(error)
            self._open.clear()

    async def _again(self) -> None:
        await self._listening()
        for entry in list(self._open.values()):
            await self._publish(entry)

    async def _take(self, body: bytes, subscription: Subscription) -> None:
        try:
            event = json.loads(body)
            data, kind = event["data"], event["type"]
        except (ValueError, KeyError, TypeError):
            return
        run = self._run_of(event)
        if run is None:
            return
        if kind == "longshore.job.result.v1":
            if not run.ended.done():
                run.ended.set_result(cast(ResultEvent, event))
        elif data.get("state") == "duplicate" and not str(data.get("message", "")).endswith(f"run {run.run_id}"):
            if not run.ended.done():
                run.ended.set_exception(AlreadyActive(f"{run.id} was not started: {data.get('message')}"))
        else:
            return
        self._open.pop(run.run_id, None)
        if all(run.id != other.id for other, _, _ in self._open.values()):
            for exchange, pattern in run.bindings:
                await subscription.unbind(exchange, pattern)

    def _run_of(self, event: dict[str, Any]) -> Run | None:
        """Whose event it is. Anybody may name our run in a bad message, so a refusal counts by its id alone."""
        if event["id"].startswith("refused/"):
            return next((run for run, _, _ in self._open.values() if run.refusal == event["id"]), None)
        entry = self._open.get(event["data"].get("run_id") or "")
        return entry[0] if entry and entry[0].id == event["data"].get("id") else None

    async def close(self) -> None:
        """Stops listening. Whoever waits for a result gets `CancelledError`."""
        self._is_closed = True
        if self._listener is not None:
            # The library turns a cancellation that meets a lost connection into an error of its own.
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=CLOSE_SECONDS)
        for run, _, _ in self._open.values():
            run.ended.cancel()
        self._open.clear()
