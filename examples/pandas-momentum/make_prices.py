"""Writes prices.csv: the closes of four made-up assets over three years, the same each time."""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

ASSETS, DAYS = {"AAA": 0.0004, "BBB": 0.0002, "CCC": 0.0006, "DDD": -0.0001}, 756


def rows(seed=11):
    dice = random.Random(seed)
    day, closes = date(2022, 1, 3), dict.fromkeys(ASSETS, 100.0)
    trends = dict.fromkeys(ASSETS, 0.0)
    for _ in range(DAYS):
        for asset, drift in ASSETS.items():
            # Trends last for a while, so that there is something to follow.
            trends[asset] = 0.97 * trends[asset] + dice.gauss(0, 0.0004)
            closes[asset] *= 1 + dice.gauss(drift + trends[asset], 0.011)
        yield [day.isoformat(), *(f"{close:.2f}" for close in closes.values())]
        day += timedelta(days=3 if day.weekday() == 4 else 1)  # no weekends


if __name__ == "__main__":
    with open(Path(__file__).parent / "prices.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["date", *ASSETS])
        writer.writerows(rows())
