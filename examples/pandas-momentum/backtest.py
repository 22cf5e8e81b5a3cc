"""A backtest with pandas, NumPy and matplotlib: hold the assets that rose most, and change them once a month.

It says how far it is, measures its equity as a series, and leaves a plot as an artifact:

    longshore run examples/pandas-momentum --keep-results ./results
    longshore sweep examples/pandas-momentum --grid lookback=20:120:20 --grid hold=1,2,3 --max sharpe

The prices are bundled and made up (make_prices.py). Others come as an input of the same name and form, in place of
the file in this directory: see config.prices.
"""

from pathlib import Path

import longshore
import numpy as np
import pandas as pd

DAYS_PER_YEAR = 252


def main(id, config):
    lookback, hold = int(config.get("lookback", 60)), int(config.get("hold", 2))
    prices = pd.read_csv(Path(__file__).parent / config.get("prices", "prices.csv"), index_col="date", parse_dates=True)
    if not 0 < lookback < len(prices) or not 0 < hold <= prices.shape[1]:
        raise ValueError(f"lookback={lookback} and hold={hold} do not fit {len(prices)} days of {prices.shape[1]} assets")
    longshore.progress(10, f"{len(prices)} days of {prices.shape[1]} assets")

    weights = wanted_weights(prices, lookback, hold)
    longshore.progress(40, "weights")
    # Decided at a close, held from the next one on.
    held = weights.shift(1).fillna(0.0)
    turnover = held.diff().abs().sum(axis=1).fillna(0.0)
    costs = turnover * config.get("fee_bps", 10) / 10_000
    returns = (held * prices.pct_change().fillna(0.0)).sum(axis=1) - costs
    equity = config.get("cash", 10_000) * (1 + returns).cumprod()
    drawdown = equity / equity.cummax() - 1
    longshore.progress(80, "equity")

    if not config.get("is_quiet", False):
        for day, value in equity.iloc[::5].items():
            longshore.metric("equity", value, day)
            longshore.metric("drawdown", drawdown[day], day)
        draw(equity, drawdown)
    spread = returns.std()
    return {
        "days": len(prices),
        "total_return": round(equity.iloc[-1] / equity.iloc[0] - 1, 6),
        "max_drawdown": round(-drawdown.min(), 6),
        "sharpe": round(returns.mean() / spread * np.sqrt(DAYS_PER_YEAR), 4) if spread else None,
        "turnover": round(turnover.sum(), 2),
        "final_equity": round(equity.iloc[-1], 2),
        "last_weights": weights.iloc[-1],
    }


def wanted_weights(prices, lookback, hold):
    """The same weight for each of the strongest assets, chosen on the first day of a month."""
    momentum = prices.pct_change(lookback)
    strongest = momentum.rank(axis=1, ascending=False) <= hold
    chosen = (strongest & (momentum > 0)).astype(float) / hold
    months = prices.index.to_period("M")
    is_first = np.append(True, months[1:] != months[:-1])
    return chosen.where(pd.Series(is_first, index=prices.index), axis=0).ffill().fillna(0.0)


def draw(equity, drawdown):
    try:
        place = longshore.artifact("equity.png")
    except RuntimeError:  # the message asks for no artifacts
        return
    import matplotlib

    matplotlib.use("Agg")  # there is no screen
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(9, 5), height_ratios=[3, 1])
    above.plot(equity)
    above.set_title("Equity")
    below.fill_between(drawdown.index, drawdown * 100)
    below.set_title("Drawdown in %")
    figure.tight_layout()
    figure.savefig(place, dpi=90)
