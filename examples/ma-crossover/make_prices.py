"""Writes prices.csv: 500 daily bars of a random walk. They are made up, and the same each time."""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

BARS, DRIFT, VOLATILITY, GAP = 500, 0.0004, 0.012, 0.003


def bars(seed=7):
    dice = random.Random(seed)
    day, close = date(2023, 1, 2), 100.0
    for _ in range(BARS):
        start = close * (1 + dice.gauss(0, GAP))
        close = start * (1 + dice.gauss(DRIFT, VOLATILITY))
        yield day.isoformat(), f"{start:.2f}", f"{close:.2f}"
        day += timedelta(days=3 if day.weekday() == 4 else 1)  # no weekends


if __name__ == "__main__":
    with open(Path(__file__).parent / "prices.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["date", "open", "close"])
        writer.writerows(bars())
