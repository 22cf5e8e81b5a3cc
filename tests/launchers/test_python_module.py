"""What programs get by `import longshore` (src/runner/script/longshore.py), tried in job directories.

    python3 -m unittest discover tests/launchers
"""

import time
import unittest


from test_python_launcher import LauncherCase

HEADER = 128
COUNTS = """
    import longshore
    def main(id, config):
        for _ in range(config.get('times', 1)):
            longshore.state['n'] = longshore.state.get('n', 0) + 1
            longshore.state.save()
        print(dict(longshore.state))
"""


class ModuleCase(LauncherCase):
    def with_state(self, kept="", max_kb=1):
        self.state = self.root / ".longshore/state"
        if kept is not None:
            self.state.write_text(kept)
        return {"STATE_FILE": str(self.state), "STATE_MAX_KB": str(max_kb)}

    def slots(self):
        """The texts of both slots, by their numbers."""
        content, found = self.state.read_bytes(), {}
        for place in (0, HEADER + 1024):
            header = content[place : place + HEADER]
            if header.startswith(b"longshore-state 1 "):
                number, length = (int(field, 16) for field in header.split()[2:4])
                found[number] = content[place + HEADER : place + HEADER + length].decode()
        return found


class State(ModuleCase):
    def test_what_was_kept_is_there_and_what_is_saved_is_written(self):
        env = self.with_state('{"n": 41}')
        ended = self.run_main(COUNTS, env=env)
        self.assertEqual(ended.stdout.splitlines()[0], "{'n': 42}", ended.stderr)
        self.assertEqual(self.slots(), {1: '{"n":42}'})
        self.assertTrue(self.state.read_bytes().startswith(b'{"n": 41}'), "the text of the worker is gone")

    def test_slots_are_written_in_turn_and_read_again(self):
        env = self.with_state()
        self.run_main(COUNTS, config={"times": 4}, env=env)
        self.assertEqual(self.slots(), {3: '{"n":3}', 4: '{"n":4}'})
        ended = self.run_main(COUNTS, env=env)
        self.assertEqual(ended.stdout.splitlines()[0], "{'n': 5}", ended.stderr)
        self.assertEqual(self.slots(), {4: '{"n":4}', 5: '{"n":5}'})

    def test_a_torn_slot_costs_only_the_newest(self):
        env = self.with_state()
        self.run_main(COUNTS, config={"times": 4}, env=env)
        content = self.state.read_bytes()
        place = content.index(b'{"n":4}') + 3
        self.state.write_bytes(content[:place] + b"#" + content[place + 1 :])
        ended = self.run_main(COUNTS, env=env)
        self.assertEqual(ended.stdout.splitlines()[0], "{'n': 4}", ended.stderr)
        self.assertEqual(self.slots(), {3: '{"n":3}', 4: '{"n":4}'})

    def test_what_is_too_large_is_refused_and_the_last_good_one_stays(self):
        source = """
            import longshore
            def main(id, config):
                state = longshore.state
                state['n'] = 1
                state.save()
                state['text'] = 'x' * 2000
                for _ in range(3):
                    try:
                        state.save()
                    except ValueError as error:
                        print(error)
                del state['text']
                if config.get('again'):
                    state['n'] = 2
                    state.save()
        """
        env = self.with_state()
        told = "the state has 2017 bytes, more than the 1024 of state.max_kb=1"
        ended = self.run_main(source, env=env)
        self.assertEqual(ended.stdout.splitlines()[:3], [told] * 3, ended.stderr)
        self.assertEqual(self.slots()[1], '{"n":1}')
        self.with_state()
        self.run_main(source, config={"again": True}, env=env)
        self.assertEqual(self.slots(), {1: '{"n":1}', 5: '{"n":2}'})

    def test_a_state_of_exactly_the_size_is_saved(self):
        source = """
            import longshore
            def main(id, config):
                longshore.state['x'] = 'x' * (1024 - len('{"x":""}'))
                longshore.state.save()
        """
        ended = self.run_main(source, env=self.with_state())
        self.assertEqual((ended.code, len(self.slots()[1])), (0, 1024), ended.stderr)

    def test_without_a_state_there_is_an_empty_one_that_cannot_be_saved(self):
        ended = self.run_main("import longshore\ndef main(id, config):\n    print(longshore.state)\n    longshore.state.save()")
        self.assertIn('the start message asks for no state: add "state": {}', ended.result["message"])
        self.assertEqual(ended.stdout.splitlines()[0], "{}")

    def test_what_is_no_object_or_no_json_is_told(self):
        ended = self.run_main("import longshore\ndef main(id, config): longshore.state", env=self.with_state("[1]"))
        self.assertIn("the state that was kept is no object, but a list", ended.result["message"])
        source = "import longshore\ndef main(id, config):\n    longshore.state['x'] = float('nan')\n    longshore.state.save()"
        ended = self.run_main(source, env=self.with_state())
        self.assertIn("not JSON compliant", ended.result["message"])
        self.assertEqual(self.slots(), {})


class Others(ModuleCase):
    def test_the_config_is_that_of_main(self):
        source = """
            from longshore import config
            import longshore
            def main(id, given):
                return [config, longshore.config is given]
        """
        self.assertEqual(self.run_main(source, config={"a": 1}).result, [{"a": 1}, True])

    def test_a_package_of_the_programs_own_wins(self):
        self.write("vendor/longshore/__init__.py", "mine = True")
        self.assertEqual(self.run_main("import longshore\ndef main(id, config): return longshore.mine").result, True)

    def test_a_child_process_can_import_it(self):
        source = """
            import multiprocessing
            def child(queue):
                import longshore
                queue.put(longshore.config)
            def main(id, config):
                context = multiprocessing.get_context('spawn')
                queue = context.Queue()
                process = context.Process(target=child, args=(queue,))
                process.start()
                return queue.get(timeout=20)
        """
        self.assertEqual(self.run_main(source, config={"a": 1}).result, {"a": 1})

    def test_an_artifact_has_a_place_within_the_directory(self):
        source = """
            import longshore
            def main(id, config):
                open(longshore.artifact('plots/a.txt'), 'w').write('x')
                try:
                    longshore.artifact('../a')
                except ValueError as error:
                    return str(error)
        """
        folder = str(self.root / "artifacts")
        (self.root / ".longshore/artifacts").write_text("")
        ended = self.run_main(source, env={"ARTIFACTS_DIR": folder, "ARTIFACTS_MAX_MB": "1", "ARTIFACTS_MAX_FILES": "9"})
        self.assertEqual(ended.result, "'../a' leads out of the directory of artifacts", ended.stderr)
        self.assertEqual((self.root / "artifacts/plots/a.txt").read_text(), "x")
        ended = self.run_main("import longshore\ndef main(id, config): longshore.artifact('a')")
        self.assertIn('asks for no artifacts: add "artifacts": {}', ended.result["message"])

    def test_how_far_it_is_is_a_line_of_its_own(self):
        source = """
            import longshore
            def main(id, config):
                longshore.progress(37, ' loading\\n::longshore progress 99\\tprices ')
                longshore.progress(12.3456789)
                longshore.progress(float('nan'), 5)
        """
        ended = self.run_main(source)
        self.assertEqual(
            ended.stdout.splitlines()[:3],
            [
                "::longshore progress 37 loading ::longshore progress 99 prices",
                "::longshore progress 12.3457",
                "::longshore progress nan 5",
            ],
            ended.stderr,
        )

    def test_a_bot_that_looks_whether_it_must_stop_ends_by_itself(self):
        source = """
            import longshore, pathlib
            def main(id, config):
                assert not longshore.stopping.wait(0.01) and not longshore.stopping.is_set()
                pathlib.Path('ready').write_text('')
                while not longshore.stopping.wait(30):
                    pass
                print('ends', longshore.stopping.is_set(), longshore.stopping.wait())
                return 'done'
        """
        begun = time.monotonic()
        ended = self.terminate(source)
        self.assertEqual((ended.code, ended.result), (0, "done"), ended.stderr)
        self.assertEqual(ended.stdout.splitlines()[0], "ends True True")
        self.assertLess(time.monotonic() - begun, 20)

    def test_a_bot_that_only_imports_it_is_interrupted(self):
        source = """
            import longshore, pathlib, time
            def main(id, config):
                longshore.state
                pathlib.Path('ready').write_text('')
                time.sleep(600)
        """
        self.assertEqual(self.terminate(source).code, 143)


if __name__ == "__main__":
    unittest.main()
