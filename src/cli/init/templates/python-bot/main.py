"""A bot: looks at the next price at an interval, until it is stopped.

Longshore calls `main(id, config)` with the `config` of start.json. A stop ends `time.sleep` with an
exception that only `finally:` sees. Then the bot has 30 seconds to clean up.
"""

import csv
import time
from itertools import cycle
from pathlib import Path
from statistics import mean


def main(id, config):
    interval, window = config.get("interval_seconds", 1), config.get("window", 5)
    bot = Bot(window)
    try:
        # Replay the sample prices. A real bot would ask its exchange.
        for close in cycle(read_closes(Path(__file__).parent / "prices.csv")):
            action = bot.on_price(close)
            print(f"{id}: price {close:.2f}: {action}", flush=True)
            time.sleep(interval)
    finally:
        print(f"{id}: goodbye")  # here a real bot would cancel its orders


def read_closes(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [float(row["close"]) for row in csv.DictReader(file)]


class Bot:
    """Decides: buy above the mean of the last prices, sell below it."""

    def __init__(self, window):
        if window < 2:
            raise ValueError(f"window must be 2 or more, and it is {window}")
        self.window, self.closes, self.is_invested = window, [], False

    def on_price(self, close):
        self.closes = [*self.closes, close][-self.window :]
        is_wanted = len(self.closes) == self.window and close > mean(self.closes)
        if is_wanted == self.is_invested:
            return "hold" if is_wanted else "wait"
        self.is_invested = is_wanted
        return "buy" if is_wanted else "sell"
