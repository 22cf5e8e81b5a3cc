"""Runs many configs: the script is imported once, and each config runs in a process forked from there.

Loaded by launch.py for a sweep. {own}/sweep says how in its first line, and has one config on each other
line: its number, a tab, and what differs from the job's config. For each config that has ended, {own}/rows
gets a line: how it ended as JSON, a tab, and its result. What a config breaks is its own: it has its own
process group, its own output, and its own file in memory for the result.
"""

import errno
import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import time

COMPACT = {"ensure_ascii": False, "separators": (",", ":")}
KILLS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
PIPE = 1 << 16  # bytes that are read of an output at a time
PATIENCE = 10.0  # seconds until it counts as a failure that no process can be had
PAUSE = 0.05


def run(launcher, main, own):
    """Runs the configs of this container; in a fresh interpreter, just the one of this argument."""
    if launcher.arguments:
        return one(launcher, main, int(launcher.arguments[0]))
    return Sweep(launcher, main, own).run()


def one(launcher, main, file):
    """The config that stands in an open file, which then gets the result."""
    index, _, patch = os.pread(file, os.fstat(file).st_size, 0).partition(b"\t")
    os.ftruncate(file, 0)
    launcher.set_handler(signal.SIGTERM, signal.SIG_DFL)
    settle_in(int(index))
    leave(lambda: called(launcher, main, launcher.read_config(), patch, file))


def called(launcher, main, config, patch, file):
    """The exit code of a call of main, whose result goes to an open file."""
    launcher.wants_result, launcher.result = True, f"/proc/self/fd/{file}"
    launcher.prints = False
    given = laid_over(config, json.loads(patch))
    return launcher.settle(*launcher.outcome(lambda: launcher.give(main, given)))


def leave(work):
    """Ends this process with the exit code of its work. Threads that are left do not hold it up."""
    code = 1
    try:
        code = work()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def laid_over(value, patch):
    """RFC 7396: objects are merged, any other value replaces the one there, and null removes it."""
    if not isinstance(patch, dict):
        return patch
    value = value if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            value.pop(key, None)
        else:
            value[key] = laid_over(value.get(key), item)
    return value


def settle_in(index):
    """Makes this process the first that the kernel ends for lack of memory, with random numbers of its own."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
    random.seed(f"longshore:{index}")
    number = random.getrandbits(32)
    for module, name in (("numpy.random", "seed"), ("torch", "manual_seed")):
        seed = getattr(sys.modules.get(module), name, None)
        if seed is not None:
            seed(number)
    random.seed(f"longshore:{index}")


class Config:
    """A config that runs."""

    def __init__(self, index, timeout):
        self.index = index
        self.result = os.memfd_create("result")
        self.output, self.writes = os.pipe()
        os.set_blocking(self.output, False)
        self.said = b""
        self.pid = None
        self.timed_out = False
        self.began = time.monotonic()
        self.deadline = self.began + timeout if timeout else None

    def read(self, most):
        """Reads what it has written, of which the end is kept; False at the end."""
        try:
            while True:
                said = os.read(self.output, PIPE)
                if not said:
                    return False
                self.said = (self.said + said)[-most:] if most else b""
        except BlockingIOError:
            return True

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass

    def close(self):
        for file in (self.result, self.output, self.writes):
            if file is not None:
                os.close(file)


class Sweep:
    def __init__(self, launcher, main, own):
        self.launcher, self.main, self.own, self.pid = launcher, main, own, os.getpid()
        self.configs = open(f"{own}/sweep", "rb")
        asked = json.loads(self.configs.readline())
        self.rows = os.open(f"{own}/rows", os.O_WRONLY | os.O_APPEND)
        self.timeout = asked["timeout_seconds"]
        self.result_bytes, self.output_bytes = asked["max_result_bytes"], asked["output_bytes"]
        self.bytes_left, self.failures_left = asked["max_bytes"], asked["failures_left"]
        processors = len(os.sched_getaffinity(0))
        self.parallel = asked["parallel"] or max(1, min(processors, asked["processors"] or processors))
        self.forks = asked["isolation"] == "fork"
        self.running = {}  # by process
        self.by_output = {}
        self.waiting = None  # a config for which there was no process
        self.without_process = None  # since when
        self.kills = kills()
        self.count = 0
        launcher.prints = False  # what it gives is only for the verdict

    def run(self):
        threads = len(os.listdir("/proc/self/task"))
        if self.forks and threads > 1:
            print(f"longshore: the script has {threads} threads once it is imported, so each config gets a fresh interpreter", file=sys.stderr)
            self.forks = False
        if self.forks:
            self.config = self.launcher.read_config()
            gc.collect()
            gc.freeze()  # or a collection in each child would copy all that is shared
        self.listen()
        try:
            while True:
                while len(self.running) < self.parallel and self.start():
                    pass
                if not self.running:
                    break
                self.wait()
        finally:
            for config in self.running.values():
                config.kill()
        return {"status": "success", "message": f"ran {self.count} configs"}

    def listen(self):
        self.poll = select.poll()
        self.woken, wakes = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wakes, False)
        self.poll.register(self.woken, select.POLLIN)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self.launcher.set_handler(signal.SIGCHLD, lambda *_: None)
        self.launcher.set_handler(signal.SIGTERM, self.stop)
        self.launcher.bear("python")

    def stop(self, *_):
        if os.getpid() != self.pid:
            os._exit(128 + signal.SIGTERM)
        raise self.launcher.Terminated(128 + signal.SIGTERM)

    def start(self):
        """Starts the next config. False where there is none, or no process can be had now."""
        if self.waiting is None:
            line = self.configs.readline()
            if not line or self.failures_left == 0:
                return False
            self.waiting = line
        index, _, patch = self.waiting.partition(b"\t")
        config = Config(int(index), self.timeout)
        try:
            config.pid = self.fork(config, patch) if self.forks else self.spawn(config)
        except OSError as error:
            config.close()
            if error.errno not in (errno.EAGAIN, errno.ENOMEM) or self.lacks_process():
                raise
            return False
        self.waiting = self.without_process = None
        os.close(config.writes)
        config.writes = None
        self.running[config.pid] = self.by_output[config.output] = config
        self.poll.register(config.output, select.POLLIN)
        return True

    def lacks_process(self):
        """Whether no process could be had for long, although none of ours is running."""
        now = time.monotonic()
        self.without_process = self.without_process or now
        if self.running:
            return False
        time.sleep(PAUSE)
        return now - self.without_process > PATIENCE

    def fork(self, config, patch):
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            try:
                os.setpgid(pid, pid)  # whoever comes first
            except OSError:
                pass
            return pid
        leave(lambda: self.child(config, patch))

    def child(self, config, patch):
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        launcher = self.launcher
        launcher.set_handler(signal.SIGCHLD, signal.SIG_DFL)
        launcher.set_handler(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(config.writes, 1)
        os.dup2(config.writes, 2)
        for other in (config, *self.running.values()):
            os.close(other.output)
            if other is not config:
                os.close(other.result)
        for file in (config.writes, self.rows, self.woken, self.configs.fileno()):
            os.close(file)
        settle_in(config.index)
        return called(launcher, self.main, self.config, patch, config.result)

    def spawn(self, config):
        os.write(config.result, self.waiting)
        process = subprocess.Popen(
            [sys.executable, "-u", f"{self.own}/launch.py", str(config.result)],
            stdin=subprocess.DEVNULL,
            stdout=config.writes,
            stderr=config.writes,
            pass_fds=[config.result],
            start_new_session=True,  # and with it a process group
        )
        process.returncode = 0  # it is waited for below
        return process.pid

    def wait(self):
        """Waits until something happens, and deals with it."""
        deadlines = [it.deadline for it in self.running.values() if it.deadline and not it.timed_out]
        wait = None if self.waiting is None else PAUSE * 1000
        if deadlines:
            left = max(0.0, min(deadlines) - time.monotonic()) * 1000 + 1
            wait = left if wait is None else min(wait, left)
        for file, _ in self.poll.poll(wait):
            if file == self.woken:
                try:
                    os.read(file, PIPE)
                except BlockingIOError:
                    pass
            elif not self.by_output[file].read(self.output_bytes):
                self.forget(file)
        now = time.monotonic()
        for config in self.running.values():
            if config.deadline and now >= config.deadline and not config.timed_out:
                config.timed_out = True
                config.kill()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.running:
                self.end(self.running.pop(pid), status)

    def end(self, config, status):
        seconds = time.monotonic() - config.began
        config.kill()  # what it left behind
        config.read(self.output_bytes)
        if config.output in self.by_output:
            self.forget(config.output)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        size = os.fstat(config.result).st_size
        result = os.pread(config.result, size, 0) if size <= self.result_bytes else b""
        config.close()
        told = {
            "index": config.index,
            "exit_code": code,
            "seconds": round(seconds, 6),
            "timed_out": config.timed_out and code == 128 + signal.SIGKILL,
            "oom": code == 128 + signal.SIGKILL and not config.timed_out and self.is_of_memory(),
            "result_bytes": size,
            "output": config.said.decode("utf-8", "replace"),
        }
        head = json.dumps(told, **COMPACT).encode("utf-8", "replace")
        self.write(head + b"\t" + result.replace(b"\n", b" ") + b"\n")
        self.count += 1
        if (code or size > self.result_bytes) and self.failures_left:
            self.failures_left -= 1

    def forget(self, output):
        """Waits for an output no more: its number may be another file's next."""
        self.poll.unregister(output)
        del self.by_output[output]

    def is_of_memory(self):
        """Whether the kernel has killed one more process for lack of memory."""
        now = kills()
        if now is None or self.kills is None:
            return True
        if now > self.kills:
            self.kills += 1
            return True
        return False

    def write(self, line):
        self.bytes_left -= len(line)
        if self.bytes_left < 0:
            sys.exit("the rows take more than SWEEP_MAX_MB: return less, or print less")
        while line:
            line = line[os.write(self.rows, line):]


def kills():
    """How many processes of this container the kernel has killed for lack of memory; None where unknown."""
    for path in KILLS:
        try:
            with open(path) as file:
                counts = dict(line.split() for line in file)
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            pass
    return None
