"""A bot that remembers: it trades on paper, keeps its position, and goes on where it was.

Whatever ends it, a stop, a crash or the loss of its host, the next attempt or run finds in
`longshore.state` what was saved last. So save before you act on it: here, before the trade is said.

    longshore start examples/paper-trader
    longshore show paper-trader-demo          # its state, and what it measured
    longshore get paper-trader-demo --series

The prices are made up. `feed` is the place for a real exchange.
"""

import math
import random

import longshore


def main(id, config):
    stopping, state = longshore.stopping, longshore.state  # the first use of `stopping` is in the main thread
    stopping.is_set()
    if not state:
        state.update(tick=0, cash=float(config.get("cash", 10_000)), shares=0, prices=[])
        print(f"{id}: begins with {state['cash']:.2f}")
    else:
        print(f"{id}: goes on at tick {state['tick']} with {state['shares']} shares and {state['cash']:.2f}")

    while not stopping.wait(float(config.get("interval_seconds", 1))):
        price = feed(state["tick"], config.get("seed", 1))
        state["tick"] += 1
        state["prices"] = [*state["prices"], price][-int(config.get("window", 5)) :]
        side = decide(state, price)
        state.save()  # from here on, it happened
        if side:
            print(f"tick {state['tick']}: {side} at {price:.2f}")
        equity = state["cash"] + state["shares"] * price
        print(f"tick {state['tick']}: equity {equity:.2f}")
        longshore.metric("price", price)
        longshore.metric("equity", equity)
    print(f"{id}: stopped at tick {state['tick']}, nothing is lost")


def feed(tick, seed):
    """The price of a tick: the same each time, so that a bot that goes on sees no other past."""
    return 100 + 10 * math.sin(tick / 7) + random.Random(f"{seed}/{tick}").uniform(-1, 1)


def decide(state, price):
    """Buys below the average of the last prices, sells above it, one share at a time."""
    average = sum(state["prices"]) / len(state["prices"])
    if price < average * 0.995 and state["cash"] >= price:
        state["cash"] -= price
        state["shares"] += 1
        return "bought"
    if price > average * 1.005 and state["shares"]:
        state["cash"] += price
        state["shares"] -= 1
        return "sold"
    return None
