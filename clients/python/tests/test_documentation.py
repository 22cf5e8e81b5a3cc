"""What the pages show of the client is what works."""

import re
from pathlib import Path

import pytest
from conftest import NAMESPACE

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
def test_a_program_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    block = next(block for block in blocks if "import Client" in block)
    code = tmp_path / "my-strategy"
    code.mkdir()
    (code / "backtest.py").write_text("def main(id, config): return config")
    (code / "start.json").write_text(f'{{"id": "{NAMESPACE}-page"}}')
    printed: list[object] = []
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {"print": printed.append})
    assert printed == [{"fast": 10, "slow": 30}]
