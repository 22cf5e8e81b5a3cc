"""How fast the launcher runs configs, against a bare loop of fork and wait in the same container.

    python3 benches/sweeps/compare.py                # with Docker: in the runtime's image
    python3 benches/sweeps/compare.py --inside DIR   # what it runs there
    python3 benches/sweeps/compare.py --bare         # the bare loop alone, in rows a second

Rounds take turns, so that a busy machine slows both alike. It prints the medians and the ratio of each round.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = "def main(id, config):\n    return {'n': config['n']}\n"


def bare(count, parallel):
    """Forks a process for each number, and waits for it: nothing else."""
    began, running, started = time.monotonic(), 0, 0
    while started < count or running:
        while running < parallel and started < count:
            if os.fork() == 0:
                os._exit(0)
            started, running = started + 1, running + 1
        os.waitpid(-1, 0)
        running -= 1
    return count / (time.monotonic() - began)


def sweep(folder, count, parallel):
    """The same number of configs by the launcher, its start and import included."""
    own = folder / ".longshore"
    order = {
        "parallel": parallel, "processors": None, "timeout_seconds": 60, "max_result_bytes": 65536,
        "output_bytes": 4096, "max_bytes": 1 << 26, "failures_left": None, "isolation": "fork",
    }
    lines = [json.dumps(order), *(f'{n}\t{{"n":{n}}}' for n in range(count))]
    (own / "sweep").write_text("\n".join(lines) + "\n")
    (own / "rows").write_text("")
    env = os.environ | {
        "ID": "job", "ENTRYPOINT_TYPE": "backtest", "CODE_MOUNT_DIR": "backtest", "IS_LONG_RUNNING": "false",
        "SCRIPT_PATH": str(folder / "backtest.py"), "CONFIG_FILE": str(own / "config.json"),
    }
    began = time.monotonic()
    subprocess.run([sys.executable, "-u", own / "launch.py"], env=env, check=True)
    seconds = time.monotonic() - began
    rows = (own / "rows").read_text().splitlines()
    assert len({json.loads(row.split("\t")[0])["index"] for row in rows}) == len(rows) == count
    return count / seconds


def inside(folder, count, parallel, rounds):
    (folder / "backtest.py").write_text(PROGRAM)
    (folder / ".longshore/config.json").write_text("{}")
    pairs = [(bare(count, parallel), sweep(folder, count, parallel)) for _ in range(rounds)]
    ratios = [ours / theirs for theirs, ours in pairs]
    for name, rates in zip(("bare fork and wait", "sweep"), zip(*pairs)):
        print(f"{name:20} {statistics.median(rates):8.0f} rows/s  ({min(rates):.0f}-{max(rates):.0f})")
    print(f"{'ratio':20} {statistics.median(ratios):8.2f}         ({min(ratios):.2f}-{max(ratios):.2f})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--inside", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--image", default="python:3.11-slim")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    if asked.bare:
        return print(bare(asked.count, asked.parallel))
    if asked.inside:
        return inside(asked.inside, asked.count, asked.parallel, asked.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder, scripts = Path(name), Path(__file__).parents[2] / "src/runner/script"
        shutil.copytree(scripts, folder / ".longshore", ignore=lambda _, names: [it for it in names if not it.endswith(".py")])
        shutil.copy(__file__, folder / "compare.py")
        numbers = [f"--{field}={getattr(asked, field)}" for field in ("count", "parallel", "rounds")]
        mounts = ["-v", f"{folder}:/backtest", "--network=none"]
        command = ["python", "/backtest/compare.py", "--inside", "/backtest", *numbers]
        subprocess.run(["docker", "run", "--rm", *mounts, asked.image, *command], check=True)


if __name__ == "__main__":
    main()
