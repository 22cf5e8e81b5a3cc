//! The programs, and how each must end.

mod resources;
mod results;

pub(super) use resources::RESOURCES;
pub(super) use results::RESULTS;

/// A program that means no good.
#[derive(Clone, Copy)]
pub(super) struct Hostile {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) timeout_seconds: u64,
    pub(super) verdict: &'static str,
    pub(super) exit_code: Option<i64>,
    /// A part of the verdict's sentence.
    pub(super) says: &'static str,
    /// The result, where it matters.
    pub(super) result: Option<&'static str>,
}

const fn hostile(
    name: &'static str,
    verdict: &'static str,
    exit_code: i64,
    says: &'static str,
    source: &'static str,
) -> Hostile {
    let exit_code = Some(exit_code);
    Hostile { name, source, timeout_seconds: 60, verdict, exit_code, says, result: None }
}

const fn within(seconds: u64, hostile: Hostile) -> Hostile {
    Hostile { timeout_seconds: seconds, ..hostile }
}

const fn giving(result: &'static str, hostile: Hostile) -> Hostile {
    Hostile { result: Some(result), ..hostile }
}

/// Programs that do not end, end badly, write too much, or try to break out.
pub(super) const PYTHON: &[Hostile] = &[
    within(
        10,
        hostile(
            "deaf",
            "timed_out",
            137,
            "10 s",
            r"
import signal, time
def main(id, config):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(1)
",
        ),
    ),
    within(
        10,
        hostile(
            "busy",
            "timed_out",
            143,
            "10 s",
            r"
def main(id, config):
    while True: pass
",
        ),
    ),
    within(
        10,
        hostile(
            "stops-its-shell",
            "timed_out",
            137,
            "10 s",
            r"
import os, signal
def main(id, config):
    os.kill(os.getppid(), signal.SIGSTOP)
",
        ),
    ),
    hostile(
        "kills-all",
        "failed",
        137,
        "SIGKILL",
        r"
import os, signal
def main(id, config):
    os.kill(-1, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
",
    ),
    hostile(
        "kills-its-shell",
        "failed",
        137,
        "SIGKILL",
        r"
import os, signal, time
def main(id, config):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
",
    ),
    hostile(
        "segfault",
        "failed",
        139,
        "SIGSEGV",
        r"
import ctypes
def main(id, config): ctypes.string_at(0)
",
    ),
    giving(
        r#"{"left":"alone"}"#,
        hostile(
            "daemon",
            "succeeded",
            0,
            "",
            r"
import os, time
def main(id, config):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(1)
        os._exit(0)
    os.wait()
    return {'left': 'alone'}
",
        ),
    ),
    hostile(
        "open-files",
        "failed",
        1,
        "Too many open files",
        r"
def main(id, config):
    kept = []
    while True: kept.append(open('/dev/null'))
",
    ),
    giving(
        r#"{"lines":200000}"#,
        hostile(
            "output-flood",
            "succeeded",
            0,
            "",
            r"
import sys
def main(id, config):
    for number in range(200000): sys.stdout.write('x' * 99 + '\n')
    return {'lines': 200000}
",
        ),
    ),
    giving(
        "[1]",
        hostile(
            "output-of-rubbish",
            "succeeded",
            0,
            "",
            r#"
import os
def main(id, config):
    os.write(1, b'\x00\xff\xfe\x1b]0;title\x07\x1b[2J{"verdict":"succeeded"}\r\n' * 100)
    os.write(2, 'ä'.encode()[:1])
    return [1]
"#,
        ),
    ),
    giving(
        "[2]",
        hostile(
            "output-closed",
            "succeeded",
            0,
            "",
            r"
import os
def main(id, config):
    os.close(1)
    os.close(2)
    return [2]
",
        ),
    ),
    giving("[]", hostile("breaks-out", "succeeded", 0, "", BREAKS_OUT)),
    giving(
        r#"{"found":[]}"#,
        hostile(
            "looks-for-credentials",
            "succeeded",
            0,
            "",
            r"
import os
def main(id, config):
    found = [name for name in os.environ if name.startswith(('AMQP', 'MINIO', 'DOCKER', 'AWS', 'HTTP_'))]
    for path in ('/var/run/docker.sock', '/run/docker.sock', '/root/.docker', '/root/.aws', '/tmp/runtime'):
        if os.path.exists(path): found.append(path)
    with open('/proc/mounts') as file:
        for line in file:
            place = line.split()[1]
            known = ('/backtest', '/backtest/result.json', '/backtest/.longshore/exit-note', '/backtest/.longshore/init')
            if place.startswith('/backtest') and place not in known:
                found.append(place)
    return {'found': found}
",
        ),
    ),
];

pub(super) const NODE: &[Hostile] = &[
    within(
        10,
        hostile("node-deaf", "timed_out", 137, "10 s", "exports.main = () => { for (;;); };"),
    ),
    hostile(
        "node-memory-hog",
        "out_of_memory",
        137,
        "96 MiB",
        r"
exports.main = () => {
  const kept = [];
  for (;;) kept.push(Buffer.alloc(4 << 20, 1));
};",
    ),
    hostile(
        "node-never-settles",
        "failed",
        1,
        "main waits for a promise",
        "exports.main = () => new Promise(() => {});",
    ),
    hostile(
        "node-planted-result",
        "failed",
        1,
        "result.json",
        r"
const fs = require('fs');
exports.main = () => { fs.rmSync('/backtest/result.json'); };",
    ),
];

/// Tries one by one what no program may do; gives the names of what it could.
const BREAKS_OUT: &str = r"
import ctypes, os, resource, socket, stat, time
def main(id, config):
    libc = ctypes.CDLL(None, use_errno=True)
    def called(function, *args):
        if getattr(libc, function)(*args) != 0: raise OSError(ctypes.get_errno(), function)
    def write(path):
        with open(path, 'a') as file: file.write('x')
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    tries = {
        'is-root': lambda: None if os.getuid() == 0 or os.getgid() == 0 or 0 in os.getgroups() else 1 / 0,
        'setuid': lambda: os.setuid(0),
        'setgroups': lambda: os.setgroups([0]),
        'chroot': lambda: os.chroot('/tmp'),
        'chown': lambda: os.chown('/backtest/result.json', 0, 0),
        'mount': lambda: called('mount', b'none', b'/tmp', b'tmpfs', 0, None),
        'remount': lambda: called('mount', b'none', b'/backtest', None, 32 | 4096, None),
        'umount': lambda: called('umount', b'/backtest'),
        'unshare-user': lambda: called('unshare', 0x10000000),
        'unshare-mount': lambda: called('unshare', 0x00020000),
        'device': lambda: os.mknod('/tmp/disk', stat.S_IFBLK | 0o600, os.makedev(8, 0)),
        'raw-socket': lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        'packet-socket': lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3),
        'bind-low-port': lambda: socket.socket().bind(('127.0.0.1', 1)),
        'more-priority': lambda: os.nice(-5),
        'larger-files': lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard * 2, hard * 2)),
        'set-clock': lambda: time.clock_settime(time.CLOCK_REALTIME, 0),
        'core-pattern': lambda: write('/proc/sys/kernel/core_pattern'),
        'sysrq': lambda: write('/proc/sysrq-trigger'),
        'cgroup': lambda: write('/sys/fs/cgroup/cgroup.procs'),
        'cgroup-v1': lambda: write('/sys/fs/cgroup/memory/memory.limit_in_bytes'),
        'kernel-memory': lambda: open('/dev/mem', 'rb'),
        'kernel-log': lambda: called('klogctl', 3, None, 0) if libc.klogctl(10, None, 0) >= 0 else 1 / 0,
        'shadow': lambda: open('/etc/shadow'),
        'passwd': lambda: write('/etc/passwd'),
        'own-code': lambda: write('/backtest/backtest.py'),
        'launcher': lambda: write('/backtest/.longshore/launch.py'),
        'entry-script': lambda: write('/backtest/entrypoint.sh'),
        'helper': lambda: write('/backtest/.longshore/init'),
        'config': lambda: write('/backtest/.longshore/config.json'),
        'lease': lambda: write('/backtest/.longshore/lease'),
        'new-file-in-code': lambda: write('/backtest/new'),
        'rename-result': lambda: os.rename('/backtest/result.json', '/backtest/other'),
    }
    done = []
    for name, act in tries.items():
        try:
            act()
            done.append(name)
        except (OSError, ValueError, ZeroDivisionError):
            pass
    return done
";
