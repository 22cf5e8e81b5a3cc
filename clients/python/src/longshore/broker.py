"""RabbitMQ: a connection that is made again, confirmed publishing, and subscriptions."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.exceptions import ChannelAccessRefused

from .errors import Refused, Unavailable
from .settings import Settings

CONNECT_SECONDS = 10.0
CONFIRM_SECONDS = 30.0
CLOSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 5.0
# How many events are in memory before the broker waits.
PREFETCH = 100

T = TypeVar("T")
# A pattern of routing keys, and the exchange to which it is bound.
Binding = tuple[str, str]


class Lost(Exception):
    """The connection has ended."""


class Broker:
    """A connection to the broker, made when it is needed, and again when it was lost."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._connection: AbstractConnection | None = None
        self._publisher: AbstractChannel | None = None
        self._connecting = asyncio.Lock()

    async def connection(self) -> AbstractConnection:
        """The connection that is open, or a new one."""
        async with self._connecting:
            if self._connection is None or self._connection.is_closed:
                self._connection = await self._connect()
                self._publisher = None
            return self._connection

    async def _connect(self) -> AbstractConnection:
        self.settings.require("amqp_url")
        urls = self.settings.amqp_urls
        random.shuffle(urls)
        problem: Exception = Lost("no URL")
        for url in urls:
            try:
                return await aio_pika.connect(
                    url,
                    timeout=CONNECT_SECONDS,
                    ssl_context=self.settings.tls() if url.startswith("amqps:") else None,
                    client_properties={"connection_name": "longshore client for Python"},
                )
            except (AuthenticationError, ProbableAuthenticationError) as error:
                raise Refused(f"the broker refused the user or password of AMQP_URL: {error}") from error
            except (TimeoutError, AMQPError, OSError) as error:
                problem = error
        raise Lost(f"no connection to the broker: {problem!r}") from problem

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new channel."""
        connection = await self.connection()
        try:
            channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
            await _whole(channel.initialize(CONFIRM_SECONDS))
            return channel
        except _LOST as error:
            # The library does not always notice that its connection has ended.
            if self._connection is connection:
                self._connection = None
            raise Lost(repr(error)) from error

    async def publish(self, exchange: str, key: str, message: Message, *, mandatory: bool = True) -> None:
        """Publishes, and waits for the broker's confirm."""
        if self._publisher is None or self._publisher.is_closed:
            self._publisher = await self.channel(confirms=True)
        name = f"{self.settings.namespace}.{exchange}"
        try:
            to = await self._publisher.get_exchange(name, ensure=False)
            await _whole(to.publish(message, key, mandatory=mandatory, timeout=CONFIRM_SECONDS))
        except PublishError as error:
            raise Refused(
                f"no queue takes {key} in the namespace {self.settings.namespace}: no worker has declared it "
                "yet (see AMQP_NAMESPACE)"
            ) from error
        except DeliveryError as error:
            self._publisher = None
            raise Lost(f"the broker could not store the message: {error!r}") from error
        except _REFUSED as error:
            raise self.refused(error) from error
        except _LOST as error:
            self._publisher = None
            raise Lost(repr(error)) from error

    async def subscribe(self, bindings: list[Binding], queue: str | None = None) -> Subscription:
        """Binds a queue: one of this connection's own, or a durable one that keeps what comes meanwhile."""
        channel = await self.channel()
        try:
            return await _whole(self._subscribe(channel, bindings, queue))
        except _REFUSED as error:
            raise self.refused(error) from error
        except _LOST as error:
            raise Lost(repr(error)) from error

    async def _subscribe(self, channel: AbstractChannel, bindings: list[Binding], queue: str | None) -> Subscription:
        await channel.set_qos(PREFETCH)
        if queue is None:
            declared = await channel.declare_queue(exclusive=True, timeout=CONFIRM_SECONDS)
        else:
            declared = await channel.declare_queue(
                queue, durable=True, arguments={"x-queue-type": "quorum"}, timeout=CONFIRM_SECONDS
            )
        subscription = Subscription(self, channel, declared)
        for exchange, pattern in bindings:
            await subscription.bind(exchange, pattern)
        channel.close_callbacks.add(subscription.on_close)
        await declared.consume(subscription.incoming.put, timeout=CONFIRM_SECONDS)
        return subscription

    def refused(self, error: Exception) -> Refused:
        """What the broker's refusal means."""
        hint = f" (has a worker run in the namespace {self.settings.namespace}?)"
        return Refused(f"the broker refused: {error}{hint if isinstance(error, ChannelNotFoundEntity) else ''}")

    async def persist(self, action: Callable[[], Awaitable[T]]) -> T:
        """Tries again while the broker cannot be reached, for as long as the settings allow."""
        end = time.monotonic() + self.settings.patience_seconds
        pause = 0.1
        while True:
            try:
                return await action()
            except Lost as error:
                if time.monotonic() + pause > end:
                    raise Unavailable(
                        f"the broker could not be reached for {self.settings.patience_seconds:g} s "
                        f"(patience_seconds): {error}"
                    ) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, MAX_PAUSE_SECONDS)

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None and not self._connection.is_closed:
            await _at_most(self._connection.close())


class Subscription:
    """A queue that is bound and consumed. It ends with its connection."""

    def __init__(self, broker: Broker, channel: AbstractChannel, queue: Any) -> None:
        self.incoming: asyncio.Queue[AbstractIncomingMessage | Lost] = asyncio.Queue()
        self._broker, self._channel, self._queue = broker, channel, queue

    def on_close(self, _: Any, error: BaseException | None = None) -> None:
        """Tells whoever waits that no more comes."""
        self.incoming.put_nowait(Lost(repr(error)))

    async def bind(self, exchange: str, pattern: str) -> None:
        """Adds a pattern of routing keys."""
        name = f"{self._broker.settings.namespace}.{exchange}"
        try:
            await _whole(self._queue.bind(name, pattern, timeout=CONFIRM_SECONDS))
        except _REFUSED as error:
            raise self._broker.refused(error) from error
        except _LOST as error:
            raise Lost(repr(error)) from error

    async def unbind(self, exchange: str, pattern: str) -> None:
        """Takes a pattern away again."""
        try:
            await self._queue.unbind(
                f"{self._broker.settings.namespace}.{exchange}", pattern, timeout=CONFIRM_SECONDS
            )
        except _LOST as error:
            raise Lost(repr(error)) from error

    async def next(self) -> AbstractIncomingMessage:
        """The next message, to be acknowledged. Raises `Lost`."""
        message = await self.incoming.get()
        if isinstance(message, Lost):
            raise message
        return message

    async def ack(self, message: AbstractIncomingMessage) -> None:
        """Acknowledges. One whose connection is lost comes again, if its queue lives on."""
        try:
            await _whole(message.ack())
        except _LOST as error:
            raise Lost(repr(error)) from error

    async def close(self) -> None:
        """Ends the subscription."""
        self._channel.close_callbacks.discard(self.on_close)
        if not self._channel.is_closed:
            await _at_most(self._channel.close())


async def _whole(request: Awaitable[T]) -> T:
    """Waits for a request. If the caller is cancelled, the request still comes to its end: half of one leaves a
    channel on which nothing else is ever answered."""
    return await asyncio.shield(asyncio.ensure_future(request))


async def _at_most(closing: Awaitable[None]) -> None:
    """Gives a connection or a channel a moment to close."""
    await asyncio.wait([asyncio.ensure_future(closing)], timeout=CLOSE_SECONDS)


def persistent(body: bytes, message_id: str, trace: str) -> Message:
    """A message that survives a restart of the broker."""
    return Message(
        body,
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=message_id,
        timestamp=int(time.time()),  # lets a stop tell whether it came before or after
        headers={"traceparent": trace},
    )


_REFUSED = (ChannelNotFoundEntity, ChannelAccessRefused, ChannelPreconditionFailed)
# The library raises a bare RuntimeError where a connection was lost.
_LOST = (AMQPError, OSError, asyncio.TimeoutError, RuntimeError)
