"""Programs as their authors wrote them for a plain Python: what works there works under the launcher.

python3 -m unittest discover tests/launchers
"""

import json
import os
import subprocess
import time
import unittest

import test_python_launcher as launcher

LauncherCase, SUCCESS, TERMINATED = launcher.LauncherCase, launcher.SUCCESS, launcher.TERMINATED
PROMPT = 15  # seconds: a stop that waits for something takes 20 or more
READY = "import pathlib, threading, time\nready = pathlib.Path('ready').touch\n"


class Children(LauncherCase):
    def test_vendored_packages_are_found_by_child_interpreters(self):
        self.write("vendor/mod.py", "X = 7")
        self.write("near.py", "X = 8")
        self.write("tool/__main__.py", "import mod, near\nprint(mod.X, near.X)")
        self.write("lib/helper.py", "import mod, near\nprint(mod.X, near.X)")
        ended = self.run_main(
            """
            import subprocess, sys
            def main(id, config):
                def run(*words): return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd="/tmp").stdout
                return [run("-c", "import mod, near; print(mod.X, near.X)"), run("-m", "tool"), run(config["root"] + "/lib/helper.py")]
            """,
            config={"root": str(self.root)},
        )
        self.assertEqual(ended.result, ["7 8\n"] * 3)

    def test_a_pythonpath_of_the_image_is_kept(self):
        os.environ["PYTHONPATH"] = "/opt/image"
        self.addCleanup(os.environ.pop, "PYTHONPATH")
        ended = self.run_main("import os, sys\ndef main(id, config): return [os.environ['PYTHONPATH'].split(':')[-1], sys.path[2]]")
        self.assertEqual(ended.result, ["/opt/image", "/opt/image"])

    POOL = """
        import multiprocessing, sys
        from concurrent.futures import ProcessPoolExecutor
        class Order:
            def __init__(self, size): self.size = size
        def double(order): return Order(order.size * 2)
        def main(id, config):
            context = multiprocessing.get_context(config["method"])
            with context.Pool(2) as pool, ProcessPoolExecutor(2, mp_context=context) as executor:
                return [it.size for it in pool.map(double, [Order(1), Order(2)])] + [it.size for it in executor.map(double, [Order(3)])]
        """

    def test_multiprocessing_works_whatever_the_script_is_called(self):
        self.write("vendor/strategy/__init__.py", "")
        for script in ["my.strategy.v2.py", "src/pkg/run.py", "a-b c.py"]:
            for method in ["spawn", "forkserver", "fork"]:
                with self.subTest(script=script, method=method):
                    ended = self.run_main(self.POOL, script=script, config={"method": method})
                    self.assertEqual(ended.result, [2, 4, 6], ended.stderr)
            (self.root / script).unlink()

    def test_children_import_a_script_with_relative_imports(self):
        self.write("src/pkg/sizes.py", "def double(n): return 2 * n")
        ended = self.run_main(
            """
            import multiprocessing
            from .sizes import double
            def twice(n): return double(double(n))
            def main(id, config):
                with multiprocessing.get_context("spawn").Pool(1) as pool: return pool.map(twice, [1, 2])
            """,
            script="src/pkg/run.py",
        )
        self.assertEqual(ended.result, [4, 8], ended.stderr)

    def test_a_pickle_made_by_a_plain_script_finds_its_classes(self):
        source = """
            import pickle
            class Model:
                def __init__(self): self.weights = [1, 2]
            def main(id, config): return pickle.load(open("model.pkl", "rb")).weights
            """
        self.write("train.py", source)
        with (self.root / "train.py").open("a") as file:
            file.write("pickle.dump(Model(), open('model.pkl', 'wb'))\n")
        subprocess.run(["python3", "train.py"], cwd=self.root, check=True)
        self.assertEqual(self.run_main(source).result, [1, 2])


class Modules(LauncherCase):
    def test_relative_imports_at_the_top(self):
        self.write("near.py", "x = 1")
        self.write("lib/__init__.py", "")
        self.write("lib/far.py", "from . import z\ny = 2")
        self.write("lib/z.py", "")
        ended = self.run_main("from .near import x\nfrom .lib.far import y\nfrom . import near\ndef main(id, config): return [x, y, near.x]")
        self.assertEqual(ended.result, [1, 2, 1], ended.stderr)

    def test_relative_imports_in_a_package(self):
        self.write("src/common.py", "x = 1")
        self.write("src/pkg/__init__.py", "y = 2")
        self.write("src/pkg/near.py", "z = 3")
        ended = self.run_main(
            "from ..common import x\nfrom . import y\nfrom .near import z\ndef main(id, config): return [x, y, z, __name__, __file__]",
            script="src/pkg/run.py",
        )
        self.assertEqual(ended.result, [1, 2, 3, "run", f"{self.root}/src/pkg/run.py"], ended.stderr)

    def test_a_folder_that_is_no_package_name(self):
        self.write("my strategies/near.py", "x = 1")
        ended = self.run_main("from .near import x\ndef main(id, config): return x", script="my strategies/run.py")
        self.assertEqual(ended.result, 1, ended.stderr)


class Calls(LauncherCase):
    def test_main_gets_what_it_takes(self):
        config = {"fast": 5}
        for source, expected in {
            "def main(): return 'none'": "none",
            "def main(config): return config": config,
            "def main(cfg): return cfg": config,
            "def main(bot_id): return bot_id": "job-1",
            "def main(job, cfg): return [job, cfg]": ["job-1", config],
            "def main(config, id): return [config, id]": [config, "job-1"],
            "def main(id, config=None): return [id, config]": ["job-1", config],
            "def main(id, config, extra=3): return [id, config, extra]": ["job-1", config, 3],
            "def main(symbol='BTC', days=30): return [symbol, days]": ["BTC", 30],
            "def main(verbose=False): return verbose": False,
            "def main(*args): return args": ["job-1", config],
            "def main(*args, **named): return [args, named]": [["job-1", config], {}],
            "def main(**named): return named": {"id": "job-1", "config": config},
            "def main(*, config): return config": config,
            "def main(*, id, config, deep=1): return [id, config, deep]": ["job-1", config, 1],
            "def main(id, *, config): return [id, config]": ["job-1", config],
            "def main(id, /, config): return [id, config]": ["job-1", config],
            "async def main(config): return config": config,
            "main = lambda config: config": config,
            "from functools import partial\ndef run(days, id, config): return [days, id, config]\nmain = partial(run, 3)": [3, "job-1", config],
            "class Bot:\n    def run(self, config): return config\nmain = Bot().run": config,
            "class Bot:\n    def __call__(self, id, config): return id\nmain = Bot()": "job-1",
            "import functools\ndef logged(f):\n    @functools.wraps(f)\n    def call(*a, **k): return f(*a, **k)\n    return call\n"
            "@logged\ndef main(config): return config": config,
            # as a command of click
            "class Command:\n    callback = print\n    def make_context(self): pass\n    def __call__(self, args, **named): return [args, named]\nmain = Command()": [[], {"standalone_mode": False}],
            "main = dict.fromkeys": None,
        }.items():
            with self.subTest(source):
                ended = self.run_main(source, config=config)
                if expected is not None:
                    self.assertEqual((ended.code, ended.result), (0, expected), ended.stderr)

    def test_a_main_that_wants_more_says_what(self):
        for source, more in [("def main(id, config, data): pass", "data"), ("def main(id, *, broker): pass", "broker")]:
            ended = self.run_main(source)
            self.assertEqual((ended.code, ended.result["message"]), (1, f"main takes {more} as well: it is called as main(id, config)"))

    def test_a_script_without_main_is_told_before_it_runs(self):
        for source in ["x = 1", "import unittest\nif __name__ == '__main__': unittest.main()", "def run():\n    main = 1", "class A:\n    pass"]:
            with self.subTest(source):
                ended = self.run_main(f"import pathlib\npathlib.Path('ran').touch()\n{source}")
                message = f"{self.root}/main.py has no function main(id, config)"
                if "main = 1" not in source:
                    self.assertFalse((self.root / "ran").exists())
                self.assertEqual((ended.code, ended.result), (1, {"status": "error", "message": message}))
                (self.root / "ran").unlink(missing_ok=True)

    def test_a_main_from_elsewhere_is_found(self):
        self.write("strategy.py", "def main(id, config): return 7\nrun = main")
        for source in [
            "from strategy import main",
            "from strategy import run as main",
            "from strategy import *",
            "import strategy\nmain = strategy.run",
            "import strategy\nglobals()['main'] = strategy.run",
            "import strategy\nsetattr(__import__('sys').modules[__name__], 'ma' + 'in', strategy.run)",
            "try:\n    from nowhere import main\nexcept ImportError:\n    from strategy import main",
            "import strategy\ndef __getattr__(name): return strategy.run",
            "import strategy\nif (main := strategy.run): pass",
            "def make():\n    global main\n    from strategy import main\nmake()",
        ]:
            with self.subTest(source):
                self.assertEqual(self.run_main(source).text, "7")

    def test_a_generator_is_run_to_its_end(self):
        for source, expected in [
            ("def main(id, config):\n    yield 1\n    yield 2", [1, 2]),
            ("def main(id, config):\n    yield 1\n    return {'pnl': 2}", {"pnl": 2}),
            ("async def main(id, config):\n    yield 1\n    yield 2", [1, 2]),
            ("async def fetch(): return 7\nasync def main(id, config): return fetch()", 7),
            ("async def fetch(): return 7\ndef main(id, config): return fetch()", 7),
        ]:
            with self.subTest(source):
                self.assertEqual(self.run_main(source).result, expected)
        ended = self.run_main("def main(id, config):\n    yield 1\n    print('ran')\n    return 3", long_running=True, entrypoint="bot")
        self.assertEqual((ended.code, ended.stdout), (0, "ran\n"))


class OwnResult(LauncherCase):
    OWN = {"status": "success", "message": "12 trades", "data": {"pnl": 3.5}}

    def test_a_result_that_the_program_wrote_itself_is_kept(self):
        for path in ["result.json", f"{self.root}/result.json"]:
            text = json.dumps(self.OWN, indent=2)
            ended = self.run_main(f"def main(id, config):\n    open({path!r}, 'w').write({text!r})")
            self.assertEqual((ended.code, ended.text), (0, text))
            self.assertEqual(json.loads(ended.last_line), self.OWN)

    def test_a_returned_value_counts_more(self):
        self.assertEqual(self.run_main("def main(id, config):\n    open('result.json', 'w').write('[1]')\n    return 2").text, "2")

    def test_an_exit_with_success_keeps_it(self):
        self.assertEqual(self.run_main("import sys\ndef main(id, config):\n    open('result.json', 'w').write('[1]')\n    sys.exit(0)").text, "[1]")

    def test_its_own_error_is_kept_when_it_exits(self):
        error = {"status": "error", "message": "no such market"}
        ended = self.run_main(f"import json, sys\ndef main(id, config):\n    json.dump({error!r}, open('result.json', 'w'))\n    sys.exit(2)")
        self.assertEqual((ended.code, ended.result), (2, error))
        ended = self.run_main("import sys\ndef main(id, config):\n    open('result.json', 'w').write('[1]')\n    sys.exit(2)")
        self.assertEqual((ended.code, ended.result["message"]), (2, "exited with code 2"))

    def test_nan_in_it_becomes_null(self):
        ended = self.run_main("import json\ndef main(id, config): json.dump({'a': float('nan')}, open('result.json', 'w'))")
        self.assertEqual((ended.code, ended.text), (0, '{"a":null}'))

    def test_what_is_no_json_is_said(self):
        ended = self.run_main("def main(id, config): open('result.json', 'w').write('{12 trades')")
        self.assertEqual(ended.code, 1)
        self.assertIn("the result.json that the program wrote is not valid JSON: Expecting property name", ended.result["message"])

    def test_a_script_without_main_that_writes_its_result_runs_as_a_plain_script(self):
        ended = self.run_main("import json\nif __name__ == '__main__':\n    json.dump([1], open('result.json', 'w'))")
        self.assertEqual((ended.code, ended.result), (0, [1]), ended.stderr)
        ended = self.run_main("if __name__ != '__main__':\n    open('result.json', 'w')")
        self.assertEqual(ended.code, 1)
        self.assertIn("has no function main(id, config), and wrote no result.json", ended.result["message"])


class Values(LauncherCase):
    def result(self, value, setup="", **options):
        ended = self.run_main(f"{setup}\ndef main(id, config): return {value}", **options)
        self.assertEqual(ended.code, 0, ended.stderr)
        return ended

    def test_integers_of_any_size_in_order(self):
        config = {"zeta": 1, "wei": 123456789012345678901, "alpha": -(10**400), "huge": 7**6000}
        import sys

        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        self.addCleanup(sys.set_int_max_str_digits, limit)
        ended = self.result("[type(config['wei']).__name__, config]", config=config)
        self.assertEqual(ended.text, json.dumps(["int", config], separators=(",", ":")))
        self.assertEqual(list(ended.result[1]), ["zeta", "wei", "alpha", "huge"])

    def test_values_of_the_standard_library(self):
        setup = """
import collections, dataclasses, datetime as dt, decimal, enum, fractions, ipaddress, pathlib, types, uuid
class Side(enum.Enum): BUY = 'buy'
class Flag(enum.IntFlag): A = 1
@dataclasses.dataclass
class Trade:
    at: dt.date
    side: Side
Point = collections.namedtuple('Point', 'x y')
class NaTType(dt.datetime):
    def isoformat(self): return 'NaT'
"""
        for value, expected in {
            "dt.date(2024, 1, 2)": "2024-01-02",
            "dt.datetime(2024, 1, 2, 3, tzinfo=dt.timezone.utc)": "2024-01-02T03:00:00+00:00",
            "dt.time(3, 4)": "03:04:00",
            "dt.timedelta(days=1, microseconds=500)": "PT86400.0005S",
            "-dt.timedelta(seconds=1)": "-PT1S",
            "dt.timezone.utc": "UTC",
            "NaTType(2024, 1, 1)": None,
            "[Side.BUY, Flag.A]": ["buy", 1],
            "{3, 1, 2}": [1, 2, 3],
            "frozenset('a')": ["a"],
            "len({1, 'a'}) and sorted(map(str, {1, 'a'}))": ["1", "a"],
            "uuid.UUID(int=1)": "00000000-0000-0000-0000-000000000001",
            "pathlib.Path('/tmp/a')": "/tmp/a",
            "b'text'": "text",
            "bytearray(b'\\xff\\x00')": "/wA=",
            "Trade(dt.date(2024, 1, 2), Side.BUY)": {"at": "2024-01-02", "side": "buy"},
            "Point(1, {2})": [1, [2]],
            "{dt.date(2024, 1, 2): 1.5}": {"2024-01-02": 1.5},
            "{Side.BUY: {1}, ('BTC', 1): 2}": {"buy": [1], '["BTC",1]': 2},
            "{uuid.UUID(int=1): {1}}": {"00000000-0000-0000-0000-000000000001": [1]},
            "collections.deque([1, {2}])": [1, [2]],
            "collections.Counter('aab')": {"a": 2, "b": 1},
            "types.MappingProxyType({'a': 1})": {"a": 1},
            "types.SimpleNamespace(a={1})": {"a": [1]},
            "{'a': 1}.items()": [["a", 1]],
            "[range(2), (n for n in [1]), map(str, [1]), zip([1], [2])]": [[0, 1], [1], ["1"], [[1, 2]]],
            "fractions.Fraction(1, 2)": 0.5,
            "ipaddress.ip_address('::1')": "::1",
            "[ValueError('no prices'), KeyError()]": ["ValueError: no prices", "KeyError"],
        }.items():
            with self.subTest(value):
                self.assertEqual(self.result(value, setup).result, expected)

    def test_a_decimal_keeps_its_digits(self):
        ended = self.result("[D('0.10'), D('123456789012345678.901234567890'), D('1E+3'), D('NaN'), {D('0.1'): {1}}]", "from decimal import Decimal as D")
        self.assertEqual(ended.text, '[0.10,123456789012345678.901234567890,1E+3,null,{"0.1":[1]}]')

    def test_what_cannot_be_told_is_named_and_the_rest_is_kept(self):
        ended = self.run_main(
            """
            import threading, datetime
            async def fetch(): pass
            def main(id, config):
                loop = {"at": datetime.date(2024, 1, 2)}
                loop["self"] = loop
                return {"pnl": 3.5, "bad": [threading.Lock(), fetch(), main, loop, 1j]}
            """
        )
        self.assertEqual(ended.code, 1)
        self.assertEqual(
            ended.result["message"],
            "the result is not JSON: result.bad[0] is of type lock; result.bad[1] is a coroutine that was not awaited; "
            "result.bad[2] is a function; result.bad[3].self contains itself; result.bad[4] is of type complex",
        )
        self.assertEqual(ended.result["result"], {"pnl": 3.5, "bad": [None, None, None, {"at": "2024-01-02", "self": None}, None]})
        self.assertEqual(ended.last_line, ended.text)

    def test_the_same_object_twice_is_no_circle(self):
        self.assertEqual(self.result("[a, a]", "a = {1}").text, "[[1],[1]]")

    def test_what_breaks_while_it_is_converted_is_said(self):
        ended = self.run_main("class A:\n    def __float__(self): raise ValueError('no price')\ndef main(id, config): return A()")
        self.assertEqual((ended.code, ended.result["message"]), (1, "the result is not JSON: result cannot be converted: ValueError: no price"))

    def test_what_breaks_while_it_is_converted_costs_nothing_else(self):
        ended = self.run_main("class A:\n    def to_dict(self): raise KeyError('bar')\ndef main(id, config): return {'pnl': 3.5, 'a': [A(), {1}]}")
        self.assertEqual((ended.code, ended.result["message"]), (1, "the result is not JSON: result.a[0] cannot be converted: KeyError: 'bar'"))
        self.assertEqual(ended.result["result"], {"pnl": 3.5, "a": [None, [1]]})

    def test_objects_that_say_what_they_hold(self):
        setup = """
class Figure:
    def to_dict(self): return {'data': [{2}]}
class Model:  # as of pydantic 1
    __fields__ = {'a': None}
    def dict(self): return {'a': {1}}
class Struct:  # as of msgspec
    __struct_fields__ = ('b',)
    b = {3}
class Scalar:  # as of pyarrow
    def as_py(self): return 4
"""
        self.assertEqual(self.result("[Figure(), Model(), Struct(), Scalar()]", setup).result, [{"data": [[2]]}, {"a": [1]}, {"b": [3]}, 4])

    def test_a_returned_exception_is_a_failure(self):
        ended = self.run_main("def main(id, config): return ValueError('no prices')")
        self.assertEqual((ended.code, ended.result["message"]), (1, "ValueError: no prices"))


class Reasons(LauncherCase):
    def message(self, body, setup=""):
        ended = self.run_main(f"{setup}\ndef main(id, config):\n" + "".join(f"    {line}\n" for line in body.splitlines()))
        self.assertEqual(ended.code, 1)
        return ended.result["message"]

    def test_the_first_cause_is_in_the_message(self):
        for body, expected in [
            ("try: raise ValueError('no prices')\nexcept ValueError as error: raise RuntimeError('backtest failed') from error", "RuntimeError: backtest failed (caused by ValueError: no prices)"),
            ("try: {}['btc']\nexcept KeyError: raise RuntimeError('no market')", "RuntimeError: no market (caused by KeyError: 'btc')"),
            ("try: {}['btc']\nexcept KeyError: raise RuntimeError('no market') from None", "RuntimeError: no market"),
            ("raise ExceptionGroup('two', [ValueError('first'), KeyError('second')])", "ExceptionGroup: two (2 sub-exceptions) (caused by ValueError: first)"),
            ("raise ExceptionGroup('a', [ExceptionGroup('b', [OSError('deep')])])", "ExceptionGroup: a (1 sub-exception) (caused by OSError: deep)"),
        ]:
            with self.subTest(body):
                self.assertEqual(self.message(body), expected)

    def test_an_error_in_a_pool_of_processes_is_told_without_its_traceback(self):
        setup = "def trade(n): raise ValueError('no prices')"
        for body in [
            "from concurrent.futures import ProcessPoolExecutor as E\nwith E(1) as pool: list(pool.map(trade, [1]))",
            "import multiprocessing\nwith multiprocessing.Pool(1) as pool: pool.map(trade, [1])",
        ]:
            with self.subTest(body):
                self.assertEqual(self.message(body, setup), "ValueError: no prices")

    def test_a_task_group_names_its_first_failure(self):
        ended = self.run_main(
            """
            import asyncio
            async def fetch(): raise ConnectionError('refused')
            async def main(id, config):
                async with asyncio.TaskGroup() as group: group.create_task(fetch())
            """
        )
        self.assertIn("(caused by ConnectionError: refused)", ended.result["message"])

    def test_notes_and_modules_are_told_as_a_traceback_tells_them(self):
        self.assertEqual(self.message("error = ValueError('a'); error.add_note('b'); raise error"), "ValueError: a\nb")
        self.assertIn("json.decoder.JSONDecodeError: Expecting value", self.message("import json\njson.loads('x')"))

    def test_an_error_of_a_read_only_place_says_where_one_may_write(self):
        code = "write to /tmp instead: {root} is read-only unless the worker's setting BOT_READ_ONLY_CODE is false"
        for body, expected in [
            ("raise OSError(30, 'Read-only file system', 'bot.log')", code),
            ("raise PermissionError(13, 'Permission denied', id and __file__)", code),
            ("import sqlite3\nraise sqlite3.OperationalError('unable to open database file')", code),
            ("try: raise OSError(30, 'Read-only file system', 'a.png')\nexcept OSError: raise RuntimeError('no plot')", code),
            ("raise OSError(30, 'Read-only file system', '/usr/lib/x')", "write to /tmp instead: all else is read-only unless the worker's setting BOT_READ_ONLY_ROOT is false"),
            ("raise OSError(28, 'No space left on device')", "its size is BOT_TMP_MB"),
            ("raise OSError(27, 'File too large')", "BOT_FILE_SIZE_LIMIT_MB"),
            ("raise OSError(24, 'Too many open files')", "BOT_OPEN_FILES_LIMIT"),
            ("raise RuntimeError(\"can't start new thread\")", "limits.pids"),
            ("import os\nos.rename", None),
        ]:
            with self.subTest(body):
                if expected:
                    self.assertIn(expected.format(root=self.root), self.message(body))

    def test_errors_elsewhere_are_told_without_advice(self):
        self.assertEqual(self.message("open('/nowhere/a')"), "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/a'")

    def test_the_users_own_hook_sees_the_error(self):
        ended = self.run_main("import sys\nsys.excepthook = lambda *it: print('reported', it[1])\ndef main(id, config): raise ValueError('x')")
        self.assertEqual(ended.stdout.splitlines()[0], "reported x")


class Stops(LauncherCase):
    def stop(self, source, **options):
        (self.root / "ready").unlink(missing_ok=True)
        process = self.start(READY + launcher.textwrap.dedent(source), **options)
        deadline = time.monotonic() + 20
        while not (self.root / "ready").exists():
            self.assertLess(time.monotonic(), deadline)
            self.assertIsNone(process.poll(), "the script ended early")
            time.sleep(0.01)
        process.terminate()
        began = time.monotonic()
        ended = self.end(process)
        self.assertLess(time.monotonic() - began, PROMPT)
        return ended

    FOREVER = {
        "a thread": "def main(id, config):\n    threading.Thread(target=feed).start()\n    ready()\n    while True: time.sleep(1)",
        "an executor": "from concurrent.futures import ThreadPoolExecutor as E\ndef main(id, config):\n    ready()\n    with E(2) as pool: list(pool.map(feed, range(2)))",
        "an executor of processes": "from concurrent.futures import ProcessPoolExecutor as E\ndef main(id, config):\n    with E(2) as pool:\n        it = pool.map(feed, range(2))\n        ready()\n        list(it)",
        "processes": "import multiprocessing\ndef main(id, config):\n    p = multiprocessing.Process(target=feed)\n    p.start()\n    ready()\n    p.join()",
        "deaf processes": "import multiprocessing, signal\ndef deaf():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    ready()\n    feed()\n"
        "def main(id, config):\n    p = multiprocessing.Process(target=deaf)\n    p.start()\n    p.join()",
        "a subprocess": "import subprocess\ndef main(id, config):\n    p = subprocess.Popen(['sleep', '60'])\n    ready()\n    while True: time.sleep(1)",
        "a bare except": "def main(id, config):\n    ready()\n    while True:\n        try: time.sleep(1)\n        except: pass",
        "a busy bare except": "def main(id, config):\n    ready()\n    while True:\n        try: sum(range(1000))\n        except BaseException: continue",
        "a bare except and a thread": "def main(id, config):\n    threading.Thread(target=feed).start()\n    ready()\n    while True:\n        try: time.sleep(1)\n        except: print('oops')",
        "a blocking call in asyncio": "import asyncio\nasync def main(id, config):\n    ready()\n    await asyncio.to_thread(feed)",
        "a task that takes no cancelling": "import asyncio\nasync def main(id, config):\n    ready()\n    while True:\n        try: await asyncio.sleep(1)\n        except BaseException: pass",
        "the user's own asyncio.run": "import asyncio\nasync def work():\n    ready()\n    await asyncio.to_thread(feed)\ndef main(id, config): asyncio.run(work())",
        "asyncio, and a thread": "import asyncio\nasync def main(id, config):\n    threading.Thread(target=feed).start()\n    ready()\n    await asyncio.sleep(60)",
        "a join that never ends": "def main(id, config):\n    t = threading.Thread(target=feed, daemon=True)\n    t.start()\n    ready()\n    t.join()",
        "an atexit that never ends": "import atexit\nready_ = atexit.register(lambda: time.sleep(60))\ndef main(id, config):\n    ready()\n    time.sleep(60)",
        "a subprocess whose output is read": "import subprocess\ndef main(id, config):\n    with subprocess.Popen(['sleep', '60'], stdout=subprocess.PIPE) as p:\n        ready()\n        for line in p.stdout: pass",
        "a subprocess that is run": "import subprocess\ndef main(id, config):\n    ready()\n    subprocess.run('sleep 60; true', shell=True, capture_output=True)",
        "a subprocess of asyncio": "import asyncio\nasync def main(id, config):\n    p = await asyncio.create_subprocess_exec('sleep', '60')\n    ready()\n    await p.wait()",
        "processes that are joined at the end": "import multiprocessing\ndef main(id, config):\n    p = multiprocessing.Process(target=feed)\n    p.start()\n    try:\n        ready()\n        time.sleep(60)\n    finally: p.join()",
        "spawned processes": "import multiprocessing\ndef main(id, config):\n    with multiprocessing.get_context('spawn').Pool(2) as pool:\n        it = pool.map_async(feed, range(2))\n        ready()\n        it.get()",
        "an executor of spawned processes": "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor as E\ndef main(id, config):\n"
        "    with E(2, mp_context=multiprocessing.get_context('spawn')) as pool:\n        it = pool.map(feed, range(2))\n        ready()\n        list(it)",
        "a manager": "import multiprocessing\ndef main(id, config):\n    with multiprocessing.Manager() as manager:\n        queue = manager.Queue()\n        ready()\n        queue.get()",
        "futures that are waited for": "from concurrent.futures import ThreadPoolExecutor as E, wait\ndef main(id, config):\n    pool = E(2)\n    futures = [pool.submit(feed) for _ in range(4)]\n    ready()\n    wait(futures)",
        "pending tasks of asyncio": "import asyncio\nasync def tick():\n    while True: await asyncio.sleep(1)\nasync def main(id, config):\n    for _ in range(20): asyncio.create_task(tick())\n    ready()\n    await asyncio.sleep(60)",
        "a loop of asyncio that runs for ever": "import asyncio\nasync def tick():\n    ready()\n    while True: await asyncio.sleep(1)\ndef main(id, config):\n    loop = asyncio.new_event_loop()\n    loop.create_task(tick())\n    loop.run_forever()",
        "an executor in asyncio": "import asyncio\nasync def main(id, config):\n    loop = asyncio.get_running_loop()\n    ready()\n    await asyncio.gather(*(loop.run_in_executor(None, feed) for _ in range(3)))",
        "what is suppressed": "import contextlib\ndef main(id, config):\n    ready()\n    while True:\n        with contextlib.suppress(BaseException): time.sleep(1)",
        "a socket": "import socket\ndef main(id, config):\n    s = socket.socket()\n    s.bind(('127.0.0.1', 0))\n    s.listen()\n    ready()\n    s.accept()",
        "a timer": "def main(id, config):\n    threading.Timer(60, feed).start()\n    ready()\n    signal.pause()".replace("def main", "import signal\ndef main"),
        "a queue": "import queue\ndef main(id, config):\n    ready()\n    queue.Queue().get()",
    }

    def test_nothing_that_a_program_left_behind_holds_up_a_stop(self):
        for name, source in self.FOREVER.items():
            with self.subTest(name):
                ended = self.stop(f"def feed(*_):\n    while True: time.sleep(.5)\nprint('begun')\n{source}")
                self.assertEqual((ended.code, ended.result), (143, TERMINATED), ended.stderr)
                self.assertEqual((ended.stdout.splitlines()[0], ended.last_line), ("begun", ended.text))

    def test_a_bot_stops_as_promptly(self):
        for name in ["a thread", "an executor", "a bare except"]:
            with self.subTest(name):
                source = f"def feed(*_):\n    while True: time.sleep(.5)\n{self.FOREVER[name]}"
                self.assertEqual(self.stop(source, long_running=True, entrypoint="bot").code, 143)

    def test_what_was_buffered_is_stored(self):
        ended = self.stop(
            """
            import sys
            def main(id, config):
                threading.Thread(target=time.sleep, args=[60]).start()
                sys.stdout = open(1, 'w', buffering=65536, closefd=False)
                sys.stdout.write('the last trade')
                ready()
                time.sleep(60)
            """
        )
        self.assertEqual(ended.code, 143)
        self.assertIn("the last trade", ended.stdout)

    def test_a_clean_up_of_some_seconds_is_not_cut(self):
        for name, source in {
            "finally": "def main(id, config):\n    try:\n        ready()\n        time.sleep(60)\n    finally:\n        time.sleep(2.5)\n        print('closed all positions')",
            "except": "def main(id, config):\n    try:\n        ready()\n        time.sleep(60)\n    except SystemExit:\n        time.sleep(2.5)\n        print('closed all positions')\n        raise",
            "with": "class Open:\n    def __enter__(self): pass\n    def __exit__(self, *_):\n        time.sleep(2.5)\n        print('closed all positions')\n"
            "def main(id, config):\n    with Open():\n        ready()\n        time.sleep(60)",
            "a join": "done = threading.Event()\ndef main(id, config):\n    t = threading.Thread(target=lambda: (done.wait(), time.sleep(2.5), print('closed all positions')))\n    t.start()\n"
            "    try:\n        ready()\n        time.sleep(60)\n    finally:\n        done.set()\n        t.join()",
            "asyncio": "import asyncio\nasync def main(id, config):\n    try:\n        ready()\n        await asyncio.sleep(60)\n    finally:\n        await asyncio.sleep(2.5)\n        print('closed all positions')",
            "asyncio tasks": "import asyncio\nasync def trade():\n    try:\n        await asyncio.sleep(60)\n    finally:\n        await asyncio.sleep(2.5)\n        print('closed all positions')\n"
            "async def main(id, config):\n    tasks = [asyncio.create_task(trade())]\n    await asyncio.sleep(0)\n    ready()\n    await asyncio.gather(*tasks)",
        }.items():
            with self.subTest(name):
                ended = self.stop(source)
                self.assertEqual((ended.code, ended.result), (143, TERMINATED), ended.stderr)
                self.assertEqual(ended.stdout.splitlines()[0], "closed all positions")

    def test_a_handler_of_the_users_own_takes_its_time(self):
        ended = self.stop(
            """
            import signal
            stop = threading.Event()
            def main(id, config):
                signal.signal(signal.SIGTERM, lambda *_: stop.set())
                ready()
                stop.wait()
                time.sleep(2.5)
                return 'closed all positions'
            """
        )
        self.assertEqual((ended.code, ended.result), (0, "closed all positions"))

    def test_a_thread_that_ends_in_a_moment_may_do_so(self):
        ended = self.stop(
            """
            done = threading.Event()
            def main(id, config):
                threading.Thread(target=lambda: (done.wait(), time.sleep(0.2), print('flushed'))).start()
                try:
                    ready()
                    time.sleep(60)
                finally:
                    done.set()
            """
        )
        self.assertEqual(ended.stdout.splitlines(), ["flushed", ended.text])


if __name__ == "__main__":
    unittest.main()
