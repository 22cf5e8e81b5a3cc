"""What src/runner/script/launch.py promises, tried in a job directory of its own.

    python3 -m unittest discover tests/launchers
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "src/runner/script"
EXAMPLES = REPOSITORY / "examples"
SUCCESS = {"status": "success", "message": "Backtest executed successfully"}
TERMINATED = {"status": "terminated", "message": "Backtest execution terminated by signal"}


class Ended:
    def __init__(self, root, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout.decode(), stderr.decode()
        file = root / "result.json"
        self.text = file.read_bytes().decode() if file.exists() else None
        self.leftovers = [path.name for path in root.iterdir() if "tmp" in path.name]

    @property
    def result(self):
        return json.loads(self.text, parse_constant=lambda name: f"not JSON: {name}")

    @property
    def last_line(self):
        return self.stdout.splitlines()[-1]


class LauncherCase(unittest.TestCase):
    is_warm = False  # whether the launcher is started before its job comes

    def setUp(self):
        self.root = Path(tempfile.mkdtemp(prefix="launcher-"))
        self.addCleanup(shutil.rmtree, self.root)
        (self.root / ".longshore").mkdir()
        for file in SCRIPTS.glob("*.py"):
            shutil.copy(file, self.root / ".longshore")

    def write(self, name, source):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))

    def start(self, source, *, script="main.py", config=None, long_running=False, entrypoint="backtest", env=None):
        if source is not None:
            self.write(script, source)
        config_file = self.root / ".longshore/config.json"
        config_file.write_text(json.dumps({} if config is None else config))
        job = {
            "ID": "job-1",
            "ENTRYPOINT_TYPE": entrypoint,
            "CODE_MOUNT_DIR": entrypoint,
            "SCRIPT_PATH": str(self.root / script),
            "CONFIG_FILE": str(config_file),
            "IS_LONG_RUNNING": "true" if long_running else "false",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }
        read, write = os.pipe()
        at_start = {"LONGSHORE_WARM": str(read)} if self.is_warm else job
        process = subprocess.Popen(
            [sys.executable, "-u", str(self.root / ".longshore/launch.py")],
            cwd="/tmp",
            env=os.environ | at_start,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[read] if self.is_warm else [],
        )
        os.close(read)
        with open(write, "wb") as pipe:
            if self.is_warm:
                pipe.write(b"".join(f"{name}={value}\0".encode() for name, value in job.items()))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def end(self, process):
        stdout, stderr = process.communicate(timeout=30)
        return Ended(self.root, process.returncode, stdout, stderr)

    def run_main(self, source, **options):
        return self.end(self.start(source, **options))

    def terminate(self, source, *, signals=1, **options):
        """Starts it, sends SIGTERM once it has made the file `ready`, and again after `again`."""
        process = self.start(source, **options)
        for name in ["ready", "again"][:signals]:
            deadline = time.monotonic() + 20
            while not (self.root / name).exists():
                self.assertLess(time.monotonic(), deadline, f"the script never made {name}")
                self.assertIsNone(process.poll(), "the script ended early")
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
        return self.end(process)


class Results(LauncherCase):
    def test_main_gets_id_and_config_and_its_value_is_the_result(self):
        ended = self.run_main(
            "def main(id, config):\n    print('hello')\n    return {'id': id, 'fast': config['fast'], 'word': 'größe'}",
            config={"fast": 5},
        )
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual(ended.result, {"id": "job-1", "fast": 5, "word": "größe"})
        self.assertIn("größe", ended.text)
        self.assertEqual(ended.stdout.splitlines(), ["hello", ended.text])
        self.assertEqual(ended.leftovers, [])

    def test_nothing_returned_is_success(self):
        self.assertEqual(self.run_main("def main(id, config): pass").result, SUCCESS)

    def test_a_scheduled_bot_speaks_of_a_bot(self):
        ended = self.run_main("def main(id, config): pass", entrypoint="bot")
        self.assertEqual(ended.result, {"status": "success", "message": "Bot executed successfully"})

    def test_the_result_may_be_any_json(self):
        self.assertEqual(self.run_main("def main(id, config): return [1, 'two', None, False]").text, '[1,"two",null,false]')

    def test_the_result_is_printed_after_what_threads_and_atexit_print(self):
        ended = self.run_main(
            """
            import atexit, threading, time
            def main(id, config):
                atexit.register(print, 'at exit')
                threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()
                return {'a': 1}
            """
        )
        self.assertEqual(ended.stdout.splitlines(), ["thread", "at exit", '{"a":1}'])

    def test_the_result_is_printed_to_the_real_stdout(self):
        ended = self.run_main("import io, sys\ndef main(id, config):\n    sys.stdout = io.StringIO()")
        self.assertEqual(json.loads(ended.stdout), SUCCESS)

    def test_an_old_result_is_not_taken_for_this_runs(self):
        self.write("result.json", '{"profit": 1e9}')
        ended = self.run_main("import os\ndef main(id, config): os._exit(9)")
        self.assertEqual((ended.code, ended.text), (9, ""))

    def test_a_result_that_cannot_be_written_is_a_failure(self):
        (self.root / "result.json").mkdir()
        process = self.start("def main(id, config): pass")
        _, stderr = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"cannot write", stderr)

    def test_nan_and_infinity_become_null_at_any_depth(self):
        ended = self.run_main(
            "def main(id, config): return {'a': float('nan'), 'b': [1.5, (float('inf'), {'c': -float('inf')})]}"
        )
        self.assertEqual(ended.result, {"a": None, "b": [1.5, [None, {"c": None}]]})

    def test_numbers_and_arrays_of_other_libraries(self):
        ended = self.run_main(
            """
            from decimal import Decimal
            class Float32:
                def __float__(self): return float('nan')
            class Int64:
                def __index__(self): return 7
                def __float__(self): return 7.0
            class Array:
                def tolist(self): return [1.0, float('nan'), Int64()]
            class LongDouble:
                def tolist(self): return self
                def __float__(self): return 0.5
            def main(id, config): return [Float32(), Int64(), Array(), LongDouble(), Decimal('1.25')]
            """
        )
        self.assertEqual(ended.result, [None, 7, [1.0, None, 7], 0.5, 1.25])
        self.assertEqual(ended.text, "[null,7,[1.0,null,7],0.5,1.25]")

    def test_keys_that_are_not_strings_become_strings_as_in_json(self):
        ended = self.run_main("def main(id, config): return {1: 'a', None: 'b', True: float('nan'), 2.5: 'd'}")
        self.assertEqual(ended.result, {"1": None, "null": "b", "2.5": "d"})

    def test_what_is_not_json_is_named_with_its_place(self):
        for value, place, rest in [
            ("{'trades': [1, {'at': open}]}", "result.trades[1].at is a builtin_function_or_method", {"trades": [1, {"at": None}]}),
            ("{'lock': threading.Lock()}", "result.lock is of type lock", {"lock": None}),
            ("threading.Lock()", "result is of type lock", None),
            ("{'by': {1j: 3}}", "result.by has a key of type complex: 1j", {"by": {"1j": 3}}),
        ]:
            with self.subTest(value):
                ended = self.run_main(f"import threading\ndef main(id, config): return {value}")
                self.assertEqual(ended.code, 1)
                told = {"status": "error", "message": f"the result is not JSON: {place}"}
                self.assertEqual(ended.result, told | ({"result": rest} if rest else {}))
                self.assertIn(place, ended.stderr)
                self.assertEqual(ended.last_line, ended.text)

    def test_a_result_that_contains_itself(self):
        ended = self.run_main("def main(id, config):\n    a = []\n    a.append(a)\n    return a")
        self.assertEqual(ended.code, 1)
        self.assertIn("contains itself", ended.result["message"])

    def test_half_a_surrogate_pair_is_still_utf8(self):
        self.assertEqual(self.run_main("def main(id, config): return ['\\ud800']").result, ["?"])

    def test_a_large_result_arrives_whole(self):
        ended = self.run_main("def main(id, config): return ['x' * 1000] * 5000")
        self.assertEqual(len(ended.result), 5000)
        self.assertEqual(ended.last_line, ended.text)


class Failures(LauncherCase):
    def test_an_exception(self):
        ended = self.run_main("def main(id, config):\n    return helper()\ndef helper():\n    raise ValueError('no prices')")
        self.assertEqual(ended.code, 1)
        self.assertEqual(ended.result, {"status": "error", "message": "ValueError: no prices"})
        self.assertIn("in helper", ended.stderr)
        self.assertNotIn("launch.py", ended.stderr)
        self.assertEqual(ended.last_line, ended.text)

    def test_an_exception_while_the_script_is_loaded(self):
        ended = self.run_main("import there_is_no_such_module\ndef main(id, config): pass")
        self.assertEqual(ended.code, 1)
        self.assertEqual(ended.result["message"], "ModuleNotFoundError: No module named 'there_is_no_such_module'")
        self.assertIn("main.py", ended.stderr)
        self.assertNotIn("importlib", ended.stderr)

    def test_sys_exit_keeps_its_code(self):
        ended = self.run_main("import sys\ndef main(id, config): sys.exit(3)")
        self.assertEqual(ended.code, 3)
        self.assertEqual(ended.result, {"status": "error", "message": "exited with code 3"})

    def test_sys_exit_beyond_a_byte_says_what_the_system_sees(self):
        ended = self.run_main("import sys\ndef main(id, config): sys.exit(-1)")
        self.assertEqual((ended.code, ended.result["message"]), (255, "exited with code 255"))

    def test_sys_exit_without_a_failure_is_success(self):
        for code in ["0", "None", ""]:
            ended = self.run_main(f"import sys\ndef main(id, config): sys.exit({code})")
            self.assertEqual((ended.code, ended.result), (0, SUCCESS))

    def test_sys_exit_with_a_text(self):
        ended = self.run_main("import sys\ndef main(id, config): sys.exit('no such market')")
        self.assertEqual(ended.code, 1)
        self.assertEqual(ended.result, {"status": "error", "message": "no such market"})
        self.assertEqual(ended.stderr, "no such market\n")

    def test_sys_exit_in_an_asynchronous_main(self):
        ended = self.run_main("import sys\nasync def main(id, config): sys.exit(3)")
        self.assertEqual((ended.code, ended.result["message"]), (3, "exited with code 3"))

    def test_a_missing_script(self):
        ended = self.run_main(None)
        self.assertEqual(ended.code, 1)
        self.assertEqual(ended.result, {"status": "error", "message": f"there is no script at {self.root}/main.py"})
        self.assertEqual(ended.stderr, f"there is no script at {self.root}/main.py\n")

    def test_no_callable_main(self):
        for source in ["x = 1", "main = 'text'"]:
            ended = self.run_main(source)
            self.assertEqual(ended.code, 1)
            self.assertEqual(ended.result["message"], f"{self.root}/main.py has no function main(id, config)")

    def test_a_syntax_error(self):
        ended = self.run_main("def main(id, config):\n    return (\n\nx = 1")
        self.assertEqual(ended.code, 1)
        self.assertIn(f"SyntaxError in {self.root}/main.py, line 2", ended.result["message"])
        self.assertNotIn("Traceback", ended.stderr)

    def test_a_syntax_error_in_an_imported_file_names_that_file(self):
        self.write("helper.py", "x = = 1")
        ended = self.run_main("import helper\ndef main(id, config): pass")
        self.assertIn(f"SyntaxError in {self.root}/helper.py, line 1", ended.result["message"])


class Surroundings(LauncherCase):
    def test_work_directory_path_and_arguments(self):
        self.write("vendor/both.py", "where = 'vendor'")
        self.write("both.py", "where = 'root'")
        self.write("other.py", "where = 'root'")
        ended = self.run_main(
            """
            import both, os, other, sys
            def main(id, config): return [os.getcwd(), sys.path[:2], sys.argv, both.where, other.where, ".longshore" in str(sys.path)]
            """
        )
        root = str(self.root)
        self.assertEqual(ended.result, [root, [f"{root}/vendor", root], [f"{root}/main.py"], "vendor", "root", False])

    def test_a_script_in_a_subdirectory_finds_its_neighbours(self):
        self.write("strategies/near.py", "x = 1")
        self.write("far.py", "y = 2")
        ended = self.run_main(
            "import far, near, sys\ndef main(id, config): return [near.x, far.y, sys.path[2], sys.modules['run'].__file__]",
            script="strategies/run.py",
        )
        folder = f"{self.root}/strategies"
        self.assertEqual(ended.result, [1, 2, folder, f"{folder}/run.py"])

    def test_the_main_guard_does_not_fire(self):
        ended = self.run_main("def main(id, config): return __name__\nif __name__ == '__main__':\n    raise SystemExit(9)")
        self.assertEqual(ended.result, "main")

    def test_a_script_named_like_a_standard_module(self):
        ended = self.run_main("import json\ndef main(id, config): return [__name__, json.dumps(1)]", script="queue.py")
        self.assertEqual(ended.result, ["queue_script", "1"])

    def test_a_config_of_a_megabyte_with_every_awkward_character(self):
        config = {"text": "it's \"$(x)\" `y` \\ \n ü \u2028", "big": "x" * 1_000_000}
        ended = self.run_main("def main(id, config): return [config['text'], len(config['big'])]", config=config)
        self.assertEqual(ended.result, [config["text"], 1_000_000])

    def test_processes_and_threads(self):
        for method in ["fork", "spawn"]:
            with self.subTest(method):
                ended = self.run_main(
                    f"""
                    import multiprocessing, threading
                    from concurrent.futures import ThreadPoolExecutor
                    def square(n): return n * n
                    def main(id, config):
                        with multiprocessing.get_context({method!r}).Pool(2) as pool, ThreadPoolExecutor() as threads:
                            return pool.map(square, [1, 2, 3]) + list(threads.map(square, [4, 5]))
                    """
                )
                self.assertEqual(ended.result, [1, 4, 9, 16, 25], ended.stderr)
                self.assertEqual((ended.stderr, ended.stdout), ("", "[1,4,9,16,25]\n"))

    def test_a_forked_child_writes_no_result_and_dies_of_a_signal(self):
        ended = self.run_main(
            """
            import os, signal, time
            def main(id, config):
                if os.fork() == 0:
                    return 'child'
                _, first = os.wait()
                child = os.fork()
                if child == 0:
                    time.sleep(20)
                    os._exit(0)
                os.kill(child, signal.SIGTERM)
                _, second = os.wait()
                return [os.path.getsize('result.json'), first, second]
            """
        )
        self.assertEqual(ended.stdout, f"[0,0,{int(signal.SIGTERM)}]\n")

    def test_output_appears_while_the_script_runs(self):
        process = self.start("import time\ndef main(id, config):\n    print('first')\n    time.sleep(20)")
        self.assertEqual(process.stdout.readline(), b"first\n")


class Asynchronous(LauncherCase):
    def test_a_coroutine_is_run(self):
        ended = self.run_main("import asyncio\nasync def main(id, config):\n    await asyncio.sleep(0)\n    return [id]")
        self.assertEqual(ended.result, ["job-1"])

    def test_any_awaitable_is_awaited(self):
        ended = self.run_main(
            "class Later:\n    def __await__(self):\n        return 7\n        yield\ndef main(id, config): return Later()"
        )
        self.assertEqual(ended.result, 7)

    def test_an_exception(self):
        ended = self.run_main("async def main(id, config): raise ValueError('late')")
        self.assertEqual((ended.code, ended.result["message"]), (1, "ValueError: late"))

    def test_its_own_cancellation_is_an_error(self):
        ended = self.run_main("import asyncio\nasync def main(id, config): asyncio.current_task().cancel(); await asyncio.sleep(1)")
        self.assertEqual((ended.code, ended.result["status"]), (1, "error"))

    def test_sigterm_cancels_it_and_its_clean_up_may_await(self):
        ended = self.terminate(
            """
            import asyncio, pathlib
            async def main(id, config):
                try:
                    pathlib.Path('ready').touch()
                    await asyncio.sleep(20)
                finally:
                    await asyncio.sleep(0.05)
                    print('cleaned up')
            """
        )
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))
        self.assertEqual(ended.stdout.splitlines()[0], "cleaned up")
        self.assertEqual(ended.stderr, "")

    def test_sigterm_reaches_a_main_that_never_awaits(self):
        ended = self.terminate("import pathlib\nasync def main(id, config):\n    pathlib.Path('ready').touch()\n    while True: pass")
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))

    def test_sigterm_with_the_users_own_asyncio_run(self):
        ended = self.terminate(
            """
            import asyncio, pathlib
            async def busy():
                while True: await asyncio.sleep(0)
            async def work():
                task = asyncio.create_task(busy())
                try:
                    pathlib.Path('ready').touch()
                    await asyncio.sleep(20)
                finally:
                    print('cleaned up')
            def main(id, config): asyncio.run(work())
            """
        )
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))
        self.assertIn("cleaned up", ended.stdout)

    def test_sigterm_takes_no_step_of_a_task_with_it(self):
        for _ in range(10):
            ended = self.terminate(
                """
                import asyncio, pathlib
                async def busy():
                    while True: await asyncio.sleep(0)
                async def work():
                    tasks = [asyncio.create_task(busy()) for _ in range(30)]
                    pathlib.Path('ready').touch()
                    await asyncio.gather(*tasks)
                def main(id, config): asyncio.run(work())
                """
            )
            self.assertEqual((ended.code, ended.result), (143, TERMINATED))
            (self.root / "ready").unlink()

    def test_a_main_that_finishes_despite_the_cancellation(self):
        ended = self.terminate(
            """
            import asyncio, pathlib
            async def main(id, config):
                try:
                    pathlib.Path('ready').touch()
                    await asyncio.sleep(20)
                except asyncio.CancelledError:
                    return {'partial': True}
            """
        )
        self.assertEqual((ended.code, ended.result), (0, {"partial": True}))

    def test_a_signal_handler_on_the_loop_wins(self):
        ended = self.terminate(
            """
            import asyncio, pathlib, signal
            async def main(id, config):
                stop = asyncio.Event()
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
                pathlib.Path('ready').touch()
                await stop.wait()
                return {'stopped': True}
            """
        )
        self.assertEqual((ended.code, ended.result), (0, {"stopped": True}))


SLEEP = """
import pathlib, time
def main(id, config):
    try:
        pathlib.Path('ready').touch()
        time.sleep(20)
    finally:
        print('cleaned up')
"""


class Sigterm(LauncherCase):
    def test_finally_runs_and_the_result_says_terminated(self):
        ended = self.terminate(SLEEP)
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))
        self.assertEqual(ended.stdout.splitlines(), ["cleaned up", ended.text])
        self.assertEqual(ended.stderr, "")

    def test_except_exception_does_not_swallow_it(self):
        ended = self.terminate(
            """
            import pathlib, time
            def main(id, config):
                while True:
                    try:
                        pathlib.Path('ready').touch()
                        time.sleep(20)
                    except Exception:
                        pass
            """
        )
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))

    def test_while_the_script_is_loaded(self):
        ended = self.terminate("import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(20)\ndef main(id, config): pass")
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))

    def test_the_users_handler_wins(self):
        ended = self.terminate(
            """
            import pathlib, signal, time
            stopping = False
            def stop(*_):
                global stopping
                stopping = True
            def main(id, config):
                signal.signal(signal.SIGTERM, stop)
                pathlib.Path('ready').touch()
                while not stopping: time.sleep(0.01)
                return {'stopped': stopping}
            """
        )
        self.assertEqual((ended.code, ended.result), (0, {"stopped": True}))

    def test_a_second_signal_ends_at_once(self):
        ended = self.terminate(
            """
            import pathlib, time
            def main(id, config):
                try:
                    pathlib.Path('ready').touch()
                    time.sleep(20)
                finally:
                    pathlib.Path('again').touch()
                    time.sleep(20)
            """,
            signals=2,
        )
        self.assertEqual((ended.code, ended.result), (143, TERMINATED))
        self.assertEqual(ended.last_line, ended.text)

    def test_the_result_of_main_counts_when_only_threads_are_left(self):
        ended = self.terminate(
            """
            import pathlib, threading, time
            def linger():
                while not pathlib.Path('result.json').stat().st_size: time.sleep(0.01)
                time.sleep(0.1)
                pathlib.Path('ready').touch()
                time.sleep(20)
            def main(id, config):
                threading.Thread(target=linger).start()
                return {'a': 1}
            """
        )
        self.assertEqual((ended.code, ended.result, ended.stdout), (143, {"a": 1}, '{"a":1}\n'))


class Bots(LauncherCase):
    def run_bot(self, source):
        return self.run_main(source, long_running=True, entrypoint="bot")

    def test_returning_ends_it_without_a_result(self):
        ended = self.run_bot("def main(id, config): print('done'); return {'a': 1}")
        self.assertEqual((ended.code, ended.text, ended.stdout, ended.stderr), (0, None, "done\n", ""))

    def test_an_exception(self):
        ended = self.run_bot("def main(id, config): raise ValueError('lost connection')")
        self.assertEqual((ended.code, ended.text, ended.stdout), (1, None, ""))
        self.assertIn("ValueError: lost connection", ended.stderr)
        self.assertIn("Traceback", ended.stderr)

    def test_sys_exit(self):
        self.assertEqual(self.run_bot("import sys\ndef main(id, config): sys.exit(3)").code, 3)

    def test_sigterm(self):
        ended = self.terminate(SLEEP, long_running=True, entrypoint="bot")
        self.assertEqual((ended.code, ended.text, ended.stdout), (143, None, "cleaned up\n"))

    def test_its_own_files_are_left_alone(self):
        self.write("result.json", "{}")
        self.assertEqual(self.run_bot("def main(id, config): pass").text, "{}")


class Examples(LauncherCase):
    def lay_out(self, name):
        shutil.copytree(EXAMPLES / name, self.root, dirs_exist_ok=True)
        return json.loads((EXAMPLES / name / "start.json").read_text())

    def test_the_backtest(self):
        start = self.lay_out("ma-crossover")
        ended = self.run_main(None, script=start["entrypoint_files"]["backtest"], config=start["config"])
        self.assertEqual(ended.code, 0, ended.stderr)
        self.assertEqual((ended.result["trades"], ended.result["final_equity"]), (9, 10101.74))

    def test_the_backtest_does_not_look_ahead(self):
        start = self.lay_out("ma-crossover")
        prices = self.root / "prices.csv"
        lines = prices.read_text().splitlines()
        logs = []
        for last in ["1.00", "9999.00"]:  # what the last close is must not change any decision before it
            prices.write_text("\n".join([*lines[:300], f"2030-01-01,100.00,{last}"]) + "\n")
            ended = self.run_main(None, script="backtest.py", config=start["config"])
            logs.append([line for line in ended.stdout.splitlines() if " buy " in line or " sell " in line][:6])
        self.assertEqual(logs[0], logs[1])
        self.assertEqual(len(logs[0]), 6)

    def test_the_backtest_costs_what_fees_cost(self):
        self.lay_out("ma-crossover")
        options = {"script": "backtest.py"}
        free = self.run_main(None, config={"fee_bps": 0}, **options).result
        dear = self.run_main(None, config={"fee_bps": 50}, **options).result
        self.assertEqual(free["trades"], dear["trades"])
        paid = ((1 - 0.005) / (1 + 0.005)) ** free["trades"]
        self.assertAlmostEqual(dear["final_equity"] / free["final_equity"], paid, places=4)

    def test_the_backtest_refuses_a_wrong_config(self):
        self.lay_out("ma-crossover")
        ended = self.run_main(None, script="backtest.py", config={"fast": 30, "slow": 10})
        self.assertEqual(ended.code, 1)
        self.assertIn("fast must be above 0 and below slow", ended.result["message"])

    def test_the_bot_ticks_and_says_goodbye(self):
        start = self.lay_out("ticker-bot")
        config = start["config"] | {"interval_seconds": 0.01}
        process = self.start(None, config=config, long_running=True, entrypoint="bot")
        lines = [process.stdout.readline().decode() for _ in range(4)]
        self.assertIn("DEMO tick 3", lines[3])
        process.send_signal(signal.SIGTERM)
        ended = self.end(process)
        self.assertEqual((ended.code, ended.text, ended.stderr), (143, None, ""))
        self.assertTrue(ended.stdout.endswith("job-1: goodbye\n"), ended.stdout)


# All the same where the launcher was started before the job came.
class WarmResults(Results):
    is_warm = True


class WarmFailures(Failures):
    is_warm = True


class WarmSurroundings(Surroundings):
    is_warm = True


class WarmAsynchronous(Asynchronous):
    is_warm = True


class WarmSigterm(Sigterm):
    is_warm = True


class WarmWithoutJob(LauncherCase):
    def test_a_launcher_whose_helper_ends_without_a_job_ends_too(self):
        read, write = os.pipe()
        os.close(write)
        launcher = [sys.executable, "-u", str(self.root / ".longshore/launch.py")]
        env = os.environ | {"LONGSHORE_WARM": str(read)}
        ended = subprocess.run(launcher, env=env, pass_fds=[read], capture_output=True, timeout=30)
        os.close(read)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (143, b"", b""))


if __name__ == "__main__":
    unittest.main()
