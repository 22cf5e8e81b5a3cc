"""A backtest in Python: buy when the fast moving average is above the slow one, sell when it is not.

What Longshore asks of a backtest is only this: a function `main(id, config)`, whose value
becomes the result. Raise an exception, and the run has failed with its text.

The bars are bundled (prices.csv, a random walk: see make_prices.py). A decision is made at a
bar's close and carried out at the next bar's open, so nothing is traded on what is not known yet.
"""

import csv
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

BARS_PER_YEAR = 252


@dataclass
class Bar:
    date: str
    open: float
    close: float


@dataclass
class Settings:
    """What the start message's `config` may say."""

    fast: int = 10
    slow: int = 30
    fee_bps: float = 10.0  # of what is traded, at each buy and each sale
    cash: float = 10_000.0

    def __post_init__(self):
        if not 0 < self.fast < self.slow:
            raise ValueError(f"fast must be above 0 and below slow, and they are {self.fast} and {self.slow}")
        if self.fee_bps < 0 or self.cash <= 0:
            raise ValueError("fee_bps must not be negative, and cash must be above 0")


def main(id, config):
    settings = Settings(**config)
    bars = read_bars(Path(__file__).parent / "prices.csv")
    print(f"{id}: {len(bars)} bars from {bars[0].date} to {bars[-1].date}, {settings}")
    equity, trades = simulate(bars, wanted_positions(bars, settings), settings)
    result = metrics(bars, equity, trades, settings)
    print(f"{id}: {result['trades']} trades, return {result['total_return']:.2%}, Sharpe {result['sharpe']}")
    return result


def read_bars(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [Bar(row["date"], float(row["open"]), float(row["close"])) for row in csv.DictReader(file)]


def wanted_positions(bars, settings):
    """For each bar whether we want to be invested, knowing the closes up to and including it."""
    closes = [bar.close for bar in bars]
    wanted = []
    for seen in range(1, len(closes) + 1):
        known = seen >= settings.slow
        wanted.append(known and mean(closes[seen - settings.fast : seen]) > mean(closes[seen - settings.slow : seen]))
    return wanted


def simulate(bars, wanted, settings):
    """The equity at each close, and the return of each closed trade, fees included."""
    fee = settings.fee_bps / 10_000
    cash, shares, cost = settings.cash, 0.0, 0.0
    equity, trades = [], []

    def sell(price, date):
        nonlocal cash, shares
        cash = shares * price * (1 - fee)
        shares = 0.0
        trades.append(cash / cost - 1)
        print(f"{date} sell at {price:.2f}: {trades[-1]:+.2%}")

    for index, bar in enumerate(bars):
        invest = index > 0 and wanted[index - 1]  # decided at the close before
        if invest and not shares:
            cost, shares, cash = cash, cash / (bar.open * (1 + fee)), 0.0
            print(f"{bar.date} buy  at {bar.open:.2f}")
        elif shares and not invest:
            sell(bar.open, bar.date)
        equity.append(cash + shares * bar.close)
    if shares:  # what is still held at the end is sold there, so that every trade is counted
        sell(bars[-1].close, bars[-1].date)
        equity[-1] = cash
    return equity, trades


def metrics(bars, equity, trades, settings):
    curve = [settings.cash, *equity]
    returns = [after / before - 1 for before, after in zip(curve, curve[1:])]
    peak, drawdown = curve[0], 0.0
    for value in curve:
        peak = max(peak, value)
        drawdown = max(drawdown, 1 - value / peak)
    spread = stdev(returns)
    return {
        "trades": len(trades),
        "total_return": round(curve[-1] / curve[0] - 1, 6),
        "max_drawdown": round(drawdown, 6),
        "sharpe": round(mean(returns) / spread * sqrt(BARS_PER_YEAR), 4) if spread else None,
        "win_rate": round(sum(trade > 0 for trade in trades) / len(trades), 4) if trades else None,
        "final_equity": round(curve[-1], 2),
        "equity_tail": [
            {"date": bar.date, "equity": round(value, 2)} for bar, value in list(zip(bars, equity))[-10:]
        ],
    }
