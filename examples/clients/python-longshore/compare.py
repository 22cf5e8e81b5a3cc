"""Runs a backtest with several configs at once and prints the best: the whole program.

    pip install ../../../clients/python
    python compare.py ../../ma-crossover

AMQP_URL, MINIO_ENDPOINT and their like say where broker and store are.
"""

import asyncio
import os
import sys

from longshore import AsyncClient, Result

CONFIGS = [{"fast": fast, "slow": slow} for fast in (5, 10) for slow in (20, 30)]
# Several programs may run side by side: each names its jobs.
PREFIX = os.environ.get("JOB_PREFIX", "compare")


async def main(directory: str) -> None:
    async with AsyncClient() as client:

        async def run(config: dict[str, int]) -> Result:
            id = f"{PREFIX}-{config['fast']}-{config['slow']}"
            return await client.run(directory, config, id=id, timeout=300)

        results = await asyncio.gather(*(run(config) for config in CONFIGS))
    ranked = sorted(zip(results, CONFIGS, strict=True), key=lambda pair: pair[0].value["total_return"], reverse=True)
    for result, config in ranked:
        print(f"{result.value['total_return']:+.4f} {config}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
