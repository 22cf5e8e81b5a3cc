"""The asyncio client, with a connection that is cut again and again."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import NAMESPACE, PATIENCE
from proxy import Proxy

from longshore import AsyncClient, Refused, Settings, SettingsError, Unavailable

Directory = Callable[[str], Path]
NewId = Callable[[str], str]


def wait(work: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work, PATIENCE)

    return asyncio.run(limited())


def test_a_result_that_came_while_the_connection_was_lost_is_not_missed(
    settings: Settings, directory: Directory, new_id: NewId
) -> None:
    async def body() -> None:
        proxy = Proxy(settings)
        async with AsyncClient(await proxy.listen(settings)) as client, AsyncClient(settings) as steady:
            job = await client.submit(directory("def main(id, config): return 7"), id=new_id("cut"))
            proxy.is_open = False
            proxy.cut()
            while True:  # it ends while nobody listens
                try:
                    assert (await steady.result(job.id)).value == 7
                    break
                except Exception:
                    await asyncio.sleep(0.1)
            proxy.is_open = True
            assert (await job.result(PATIENCE)).value == 7
            assert proxy.connections >= 2
            # And once more, on the new connection.
            proxy.cut()
            result = await client.run(directory("def main(id, config): return 8"), id=new_id("cut"), timeout=PATIENCE)
            assert result.value == 8

    wait(body())


def test_a_run_that_goes_on_while_the_connection_is_cut_runs_once(
    settings: Settings, directory: Directory, new_id: NewId
) -> None:
    async def body() -> None:
        proxy = Proxy(settings)
        async with AsyncClient(await proxy.listen(settings)) as client:
            source = (
                "import time\ndef main(id, config):\n    print('began', flush=True)\n    time.sleep(4)\n    return 1"
            )
            job = await client.submit(directory(source), id=new_id("goes-on"))
            for _ in range(3):
                await asyncio.sleep(1)
                proxy.cut()
            result = await job.result(PATIENCE)
            assert result.value == 1 and result.data["attempt"] == 1
            assert [line.text async for line in job.logs()].count("began") == 1

    wait(body())


def test_a_durable_queue_loses_no_event(settings: Settings, directory: Directory, new_id: NewId) -> None:
    queue = f"{NAMESPACE}.py-{uuid.uuid4().hex[:6]}"

    async def body() -> None:
        proxy = Proxy(settings)
        cut_settings = await proxy.listen(settings)
        async with AsyncClient(cut_settings) as client, AsyncClient(settings) as steady:
            ids = [new_id("queue") for _ in range(3)]
            found: list[str] = []

            async def listen() -> None:
                async with aclosing(client.events(results="succeeded.#", queue=queue)) as events:
                    async for event in events:
                        found.append(str(event["data"].get("id")))
                        if found[-1] == ids[-1]:
                            return

            listener = asyncio.create_task(listen())
            await asyncio.sleep(1)
            code = directory("def main(id, config): return 1")
            for id in ids:
                await steady.run(code, id=id, timeout=PATIENCE)
                proxy.cut()
            await listener
            assert [id for id in found if id in ids] == ids

    wait(body())


def test_a_broker_that_is_away_is_an_error_after_a_while(settings: Settings) -> None:
    async def body() -> None:
        away = replace(settings, amqp_url="amqp://u:p@127.0.0.1:1/", patience_seconds=0.5)
        async with AsyncClient(away) as client:
            with pytest.raises(Unavailable, match="patience_seconds"):
                await client.stop("x")

    wait(body())


def test_the_first_node_that_answers_is_taken(settings: Settings) -> None:
    async def body() -> None:
        urls = f"amqp://u:p@127.0.0.1:1/,{settings.amqp_url}"
        async with AsyncClient(replace(settings, amqp_url=urls)) as client:
            await client.stop(f"{NAMESPACE}-nothing")

    wait(body())


def test_refusals_of_the_broker_and_missing_settings_are_said_at_once(settings: Settings) -> None:
    async def body() -> None:
        wrong = settings.amqp_url.replace("://longshore:longshore@", "://longshore:wrong@")
        assert wrong != settings.amqp_url
        for changed in [{"amqp_url": wrong}, {"namespace": "no-worker-was-here"}]:
            async with AsyncClient(replace(settings, **changed)) as client:  # type: ignore[arg-type]
                with pytest.raises(Refused):
                    await client.stop("x")
        async with AsyncClient(Settings()) as client:
            with pytest.raises(SettingsError, match="AMQP_URL is not set"):
                await client.stop("x")

    wait(body())
