"""Draws what `make bench` measured: target/bench/compare.json as an SVG.

    python benches/compare/draw.py target/bench/compare.json docs/images/bench.svg
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"Longshore, warm": "#0b7285", "Longshore, cold": "#66a9b8", "Longshore": "#0b7285", "Celery + docker-py": "#b5651d"}
OTHERS = "#9aa0a6"


def bars(axes, series, title, value, unit):
    series = sorted(series, key=value, reverse=True)
    names, values = [one["name"] for one in series], [value(one) for one in series]
    drawn = axes.barh(names, values, color=[COLOURS.get(name, OTHERS) for name in names])
    axes.bar_label(drawn, labels=[f" {number:,.3g} {unit}" if number < 1000 else f" {number:,.0f} {unit}" for number in values])
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(0, max(values) * 1.35)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def main():
    source, target = map(Path, sys.argv[1:])
    measured = json.loads(source.read_text())
    parts = {}
    for one in measured["series"]:
        parts.setdefault(one["part"], []).append(one)
    celery = next((one for one in parts.get("throughput, 4 at a time", []) if one["name"].startswith("Celery")), None)
    wanted = [
        ("message to result", "One backtest, from message to result (p50; less is better)", "ms"),
        ("throughput, 4 at a time", "Backtests, 4 at a time, each in a container of its own (more is better)", "a second"),
        ("sweep of 1,000", "1,000 configs of one backtest (more is better)", "a second"),
    ]
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "longshore"})
    shown = [one for one in wanted if one[0] in parts]
    heights = [len(parts[part]) + 1 + (part.startswith("sweep") and celery is not None) for part, _, _ in shown]
    figure, all_axes = plt.subplots(len(shown), 1, figsize=(7.5, 0.38 * sum(heights)), height_ratios=heights, squeeze=False)
    for axes, (part, title, unit) in zip(all_axes[:, 0], shown):
        series = list(parts[part])
        if part.startswith("sweep") and celery is not None:
            series.append(celery)
        bars(axes, series, title, lambda one: one["median"], unit)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
