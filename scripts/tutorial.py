#!/usr/bin/env python3
"""Runs what docs/tutorial.md shows, as a reader would: its shell commands in an empty directory, then its program.

    scripts/beside-worker.py PYTHON scripts/tutorial.py    PYTHON has Longshore's package
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("WORKER_BINARY", ROOT / "target/debug/longshore")).resolve()
# What a comment before a block marks stands for the reader's own servers: here they are set already. What is of a
# checkout finds the examples.
BLOCK = re.compile(r"(?:<!-- ([^>]*) -->\n)?```(sh|python)\n(.*?)```", re.DOTALL)
CHECKOUT = "in a checkout"
PATIENCE_SECONDS = 600
PAUSE_SECONDS = 5


def main():
    blocks = [(language, text) for marked, language, text in BLOCK.findall((ROOT / "docs/tutorial.md").read_text())
              if marked in ("", CHECKOUT)]
    shell = "\n".join(text for language, text in blocks if language == "sh")
    # A reader does not look at a bot, or stop it, in its first moment, before it has said anything.
    for verb in ["show", "stop"]:
        shell = shell.replace(f"\nlongshore {verb}", f"\nsleep {PAUSE_SECONDS}\nlongshore {verb}")
    env = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "examples", Path(folder) / "examples")
        for command in [["bash", "-euxo", "pipefail", "-c", shell]] + [
            [sys.executable, "-c", text] for language, text in blocks if language == "python"
        ]:
            subprocess.run(command, cwd=folder, env=env, check=True, timeout=PATIENCE_SECONDS)


if __name__ == "__main__":
    main()
