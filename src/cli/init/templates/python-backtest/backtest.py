"""A backtest: holds while the price is above its mean, and is out of the market while it is below.

Longshore calls `main(id, config)` with the `config` of start.json. What `main` returns is the result.
If it raises an exception, the run has failed, and the exception's text is the reason.
"""

import csv
from pathlib import Path
from statistics import mean


def main(id, config):
    window = config.get("window", 20)
    if window < 2:
        raise ValueError(f"window must be 2 or more, and it is {window}")
    closes = read_closes(Path(__file__).parent / "prices.csv")
    equity, trades = simulate(closes, window)
    print(f"{id}: {len(closes)} days, window {window}: {trades} trades")
    return {
        "days": len(closes),
        "trades": trades,
        "total_return": round(equity[-1] / equity[0] - 1, 4),
        "equity": [round(value, 4) for value in equity],
    }


def read_closes(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [float(row["close"]) for row in csv.DictReader(file)]


def simulate(closes, window):
    """The equity at each close, and how often we bought. We decide at a close, for the next day."""
    equity, trades, is_invested = [1.0], 0, False
    for day in range(1, len(closes)):
        change = closes[day] / closes[day - 1] if is_invested else 1.0
        equity.append(equity[-1] * change)
        is_wanted = day + 1 >= window and closes[day] > mean(closes[day + 1 - window : day + 1])
        trades += is_wanted and not is_invested
        is_invested = is_wanted
    return equity, trades
