"""A bot in Python: logs a tick at an interval until it is stopped.

What Longshore asks of a bot: a function `main(id, config)` that goes on until SIGTERM. The
signal ends `time.sleep` and everything else with an exception that only `finally:` needs to
know of; the bot then has 30 seconds before it is killed. An exception of your own ends the
bot as failed.
"""

import itertools
import time
from datetime import datetime, timezone


def main(id, config):
    interval = float(config.get("interval_seconds", 1))
    symbol = config.get("symbol", "DEMO")
    print(f"{id}: watching {symbol}, a tick every {interval:g} s")
    try:
        for number in itertools.count(1):
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            print(f"{now} {symbol} tick {number}")
            time.sleep(interval)
    finally:
        print(f"{id}: goodbye")  # here a real bot would cancel its orders
