"""Reading a job's log: the daily logs, then the chunks that are not in them yet, each line once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from .errors import Unavailable
from .store import Missing, Store

RANGE = r"(?P<run>[^./]+)\.(?P<attempt>\d+)\.(?P<first>\d+)-(?P<last>\d+)\.(?P<place>[^./]+)"
KEY = re.compile(rf"(?P<day>\d{{8}})(\.(?P<part>\d+)\.log|(?P<whole>\.log)|/{RANGE}\.log)")
# How often a day is read again because a worker merged its chunks meanwhile.
RESTARTS = 5


@dataclass(frozen=True)
class LogLine:
    """A line of a program's output."""

    time: str
    """When the engine received it: RFC 3339, in UTC with nanoseconds. Empty if the line has another form."""
    stream: str
    """``stdout`` or ``stderr``. Empty if the line has another form."""
    text: str


@dataclass(frozen=True)
class _Range:
    """The pieces ``first`` to ``last`` of the output of one container."""

    run: str
    attempt: int
    first: int
    last: int
    key: str = ""

    @property
    def origin(self) -> tuple[str, int]:
        return self.run, self.attempt


async def read(store: Store, id: str) -> AsyncIterator[LogLine]:
    """All stored lines of a job, the oldest first."""
    days = sorted({match["day"] for match, _ in await _keys(store, id)})
    for day in days:
        for line in await _day(store, id, day):
            yield line


async def _keys(store: Store, id: str, day: str = "") -> list[tuple[re.Match[str], str]]:
    prefix = f"logs/{id}/"
    keys = await store.list(store.settings.logs_bucket, prefix + day)
    found = [(KEY.fullmatch(key.removeprefix(prefix)), key) for key in keys]
    return [(match, key) for match, key in found if match]


async def _day(store: Store, id: str, day: str) -> list[LogLine]:
    for _ in range(RESTARTS + 1):
        try:
            return [line for text in await _texts(store, id, day) for line in _lines(text)]
        except Missing:  # a listed chunk is in the daily log by now
            continue
    raise Unavailable(f"the log of {id} of {day} kept changing while it was read")


async def _texts(store: Store, id: str, day: str) -> list[str]:
    """The texts of a day, in order. Chunks are read before the daily log, whose record says what was merged."""
    ranges = [_range(match, key) for match, key in await _keys(store, id, day) if match["run"]]
    chunks = {one: await _text(store, one.key) for one in once_each(ranges)}
    parts = [(int(match["part"] or 1), key) for match, key in await _keys(store, id, day) if not match["run"]]
    dailies = [await _text(store, key) for _, key in sorted(parts)]
    covered: dict[tuple[str, int], int] = defaultdict(lambda: -1)
    for daily in dailies:
        for one in _merged(daily):
            covered[one.origin] = max(covered[one.origin], one.last)
    begins: dict[tuple[str, int], str] = {}
    for one, text in chunks.items():
        begins.setdefault(one.origin, text.split(" ", 1)[0])
    left = [one for one in chunks if one.last > covered[one.origin]]
    left.sort(key=lambda one: (begins[one.origin], one.origin, one.first))
    return [*dailies, *(chunks[one] for one in left)]


async def _text(store: Store, key: str) -> str:
    return (await store.get(store.settings.logs_bucket, key)).decode(errors="replace")


def _range(match: re.Match[str], key: str = "") -> _Range:
    return _Range(match["run"], int(match["attempt"]), int(match["first"]), int(match["last"]), key)


def _merged(daily: str) -> Iterable[_Range]:
    """What the records of a daily log say was merged into it."""
    for line in daily.split("\n"):
        words = line.split(" ")
        if len(words) > 2 and words[1] == "longshore":
            yield from (_range(match) for match in map(re.compile(RANGE).fullmatch, words[2:]) if match)


def once_each(ranges: Iterable[_Range]) -> list[_Range]:
    """Those that hold every piece once. They overlap only where two workers stored the output of one container."""
    chosen: list[_Range] = []
    by_origin: dict[tuple[str, int], list[_Range]] = defaultdict(list)
    for one in ranges:
        by_origin[one.origin].append(one)
    for of_one in by_origin.values():
        best = max(of_one, key=lambda one: (one.last, one.first))
        picked = [best]
        while earlier := [one for one in of_one if one.first < picked[-1].first]:
            adjoining = [one for one in earlier if one.last + 1 >= picked[-1].first]
            if adjoining:
                picked.append(min(adjoining, key=lambda one: (one.last, one.first)))
            else:
                picked.append(max(earlier, key=lambda one: (one.last, -one.first)))
        chosen.extend(reversed(picked))
    return chosen


def _lines(text: str) -> Iterable[LogLine]:
    for line in text.removesuffix("\n").split("\n") if text else ():
        words = line.split(" ", 2)
        if len(words) > 1 and words[1] == "longshore":
            continue
        if len(words) > 1 and words[1] in ("stdout", "stderr"):
            yield LogLine(words[0], words[1], words[2] if len(words) > 2 else "")
        else:
            yield LogLine("", "", line)
