"""Packing and start messages: no server."""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from longshore import CodeError, Settings
from longshore.code import pack
from longshore.message import body_of, complete, refusal_id

EXAMPLES = Path(__file__).parents[3] / "schemas/examples"


def names(path: Path) -> list[str]:
    return sorted(pack(path).names)


def test_the_same_files_give_the_same_zip(tmp_path: Path) -> None:
    for name in ["a", "b"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("x = 1")
        (tmp_path / name / "run.sh").write_text("true")
    (tmp_path / "a/run.sh").chmod(0o700)
    (tmp_path / "b/run.sh").chmod(0o777)
    one = pack(tmp_path / "a")
    assert one == pack(tmp_path / "b")
    modes = {info.filename: info.external_attr >> 16 for info in zipfile.ZipFile(io.BytesIO(one.body)).infolist()}
    assert modes == {"main.py": 0o100644, "run.sh": 0o100755}
    (tmp_path / "b/main.py").write_text("x = 2")
    assert one.key != pack(tmp_path / "b").key


def test_secrets_and_what_is_ignored_stay_at_home(tmp_path: Path) -> None:
    for name in [
        "main.py",
        ".env",
        ".env.local",
        ".git/config",
        "lib/__pycache__/a.pyc",
        "lib/a.py",
        "data/big.csv",
        "vendor/numpy/__init__.py",
        "vendor/numpy/data/x",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("vendor/\ndata/\n")
    code = ["lib/a.py", "main.py", "vendor/numpy/__init__.py", "vendor/numpy/data/x"]
    assert names(tmp_path) == [".gitignore", *code]
    (tmp_path / ".longshoreignore").write_text("lib/\nvendor/\n.gitignore\n")
    assert names(tmp_path) == ["data/big.csv", "main.py"]


def test_packages_that_are_missing_are_installed_by_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, programs = tmp_path / "code", tmp_path / "programs"
    code.mkdir()
    programs.mkdir()
    (code / "main.py").write_text("x = 1")
    (code / "requirements.txt").write_text("# none yet\n\n")
    monkeypatch.setenv("PATH", str(programs), prepend=None)
    assert names(code) == ["main.py", "requirements.txt"]

    (code / "requirements.txt").write_text("pandas  # for the mean\n")
    with pytest.raises(CodeError, match=r"the packages of .*requirements.txt are not in the directory"):
        pack(code)
    assert list(pack(code, install=False).names) == ["main.py", "requirements.txt"]

    program = programs / "longshore"
    program.write_text(
        f"#!{sys.executable}\nimport sys, zipfile\n"
        "assert sys.argv[1] == 'pack' and sys.argv[3] == '--to', sys.argv\n"
        "if '--runtime' in sys.argv: sys.exit('longshore: no such runtime')\n"
        "with zipfile.ZipFile(sys.argv[4], 'w') as archive:\n"
        "    archive.writestr('main.py', 'x = 1')\n"
        "    archive.writestr('vendor/pandas/__init__.py', '')\n"
    )
    program.chmod(0o755)
    assert names(code) == ["main.py", "vendor/pandas/__init__.py"]
    with pytest.raises(CodeError, match="failed: longshore: no such runtime"):
        pack(code, runtime="cobol85")
    (code / "vendor").mkdir()
    (code / "vendor/mine.py").write_text("")
    assert names(code) == ["main.py", "requirements.txt", "vendor/mine.py"]


def test_links_are_followed_within_the_directory_only(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "outside.py").write_text("secret")
    (tmp_path / "code/main.py").write_text("x")
    (tmp_path / "code/same.py").symlink_to("main.py")
    assert names(tmp_path / "code") == ["main.py", "same.py"]
    (tmp_path / "code/out.py").symlink_to("../outside.py")
    with pytest.raises(CodeError, match="leaves the directory"):
        pack(tmp_path / "code")
    (tmp_path / "code/out.py").unlink()
    (tmp_path / "code/circle").symlink_to(".")
    with pytest.raises(CodeError, match="a folder it lies in"):
        pack(tmp_path / "code")


def test_what_is_no_code_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("x")
    for path, why in [("empty", "no file"), ("text.zip", "nor a zip"), ("missing", "cannot be read")]:
        with pytest.raises(CodeError, match=why):
            pack(tmp_path / path)


@pytest.mark.parametrize(
    "fields, files, expected",
    [
        ({}, ["backtest.py"], ("backtest", "backtest.py", "python3.11", False)),
        ({}, ["main.mjs"], ("backtest", "main.mjs", "nodejs20", False)),
        ({}, ["backtest.sh"], ("backtest", "backtest.sh", "shell", False)),
        ({}, ["backtest.sh", "main.py"], ("backtest", "main.py", "python3.11", False)),
        ({"is_long_running": True}, ["main.py", "bot.py"], ("bot", "bot.py", "python3.11", True)),
        ({"entrypoint": "bot"}, ["index.js"], ("bot", "index.js", "nodejs20", True)),
        ({"entrypoint_files": {"backtest": "a/b.py"}}, [], ("backtest", "a/b.py", "python3.11", False)),
    ],
)
def test_a_message_is_filled_in(fields: dict[str, Any], files: list[str], expected: tuple[Any, ...]) -> None:
    message = complete({"file_path": "x.zip", **fields}, files, "name")
    kind = message["entrypoint"]
    assert (kind, message["entrypoint_files"][kind], message["runtime"], message["is_long_running"]) == expected
    assert message["persist_results"] is not message["is_long_running"]
    required = json.loads((EXAMPLES.parent / "start.schema.json").read_text())["required"]
    assert set(required) <= set(message) and message["id"].startswith("name-")


def test_a_directory_without_a_script_says_what_was_looked_for() -> None:
    with pytest.raises(CodeError, match=r"looked for backtest.py, main.py.*found strategy.py"):
        complete({}, ["strategy.py"], "x")


def test_what_json_cannot_hold_is_refused() -> None:
    for config in [{"x": float("nan")}, {"x": object()}]:
        with pytest.raises(CodeError, match="cannot be written as JSON"):
            body_of({"config": config})


def test_a_refusal_is_named_as_workers_name_it() -> None:
    assert refusal_id("m", b"body") == "refused/f1fed98ac80d4c50ee5e823d75bbe271"


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_environment({"AMQP_NAMESPACE": "x", "MINIO_ENDPOINT": "s3:9000", "MINIO_SSL": "true"})
    assert (settings.namespace, settings.store_url, settings.code_bucket) == ("x", "https://s3:9000", "custom-bots")
