"""A TCP proxy before the broker that can cut all connections."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from longshore import Settings


class Proxy:
    def __init__(self, settings: Settings) -> None:
        target = urlsplit(settings.amqp_url)
        self.target = (target.hostname or "127.0.0.1", target.port or 5672)
        self.writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.is_open = True

    async def listen(self, settings: Settings) -> Settings:
        """Starts it, and returns settings that lead through it."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1")
        port = self.server.sockets[0].getsockname()[1]
        url = settings.amqp_url.replace(f"{self.target[0]}:{self.target[1]}", f"127.0.0.1:{port}")
        assert url != settings.amqp_url
        return replace(settings, amqp_url=url)

    def cut(self) -> None:
        """Ends all connections."""
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        self.writers.discard(writer)
        writer.close()
