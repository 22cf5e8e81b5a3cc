//! Programs that take as much as they can: processes, memory, disk.

use super::{Hostile, giving, hostile, within};

pub(in crate::hostile::programs) const RESOURCES: &[Hostile] = &[
    within(
        10,
        hostile(
            "fork-bomb",
            "timed_out",
            137,
            "10 s",
            r"
import os, signal, time
def main(id, config):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            # Copies of the interpreter would take its memory first.
            if os.fork() == 0:
                os.execv('/bin/sleep', ['sleep', '600'])
        except OSError:
            time.sleep(0.01)
",
        ),
    ),
    hostile(
        "thread-bomb",
        "failed",
        1,
        "can't start new thread",
        r"
import threading, time
def main(id, config):
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
",
    ),
    giving(
        r#"{"buried":300}"#,
        hostile(
            "orphans",
            "succeeded",
            0,
            "",
            r"
import os, time
def main(id, config):
    # More orphans than processes are allowed: each is buried by whoever is process 1.
    for number in range(300):
        if os.fork() == 0:
            while True:
                try:
                    if os.fork() == 0:
                        os._exit(0)
                    os._exit(0)
                except OSError:
                    time.sleep(0.01)
        os.wait()
    return {'buried': 300}
",
        ),
    ),
    hostile(
        "memory-hog",
        "out_of_memory",
        137,
        "96 MiB",
        r"
def main(id, config):
    kept = []
    while True: kept.append(bytearray(4 << 20))
",
    ),
    hostile(
        "memory-hog-child",
        "out_of_memory",
        1,
        "in a process that it had started",
        r"
import subprocess, sys
def main(id, config):
    hog = 'kept = []\nwhile True: kept.append(bytearray(4 << 20))'
    subprocess.run([sys.executable, '-c', hog], check=True)
",
    ),
    hostile(
        "memory-in-shm",
        "failed",
        1,
        "No space left on device",
        r"
def main(id, config):
    for number in range(1000):
        with open(f'/dev/shm/{number}', 'wb') as file: file.write(bytes(8 << 20))
",
    ),
    hostile(
        "disk-filler-tmp",
        "failed",
        1,
        "No space left on device",
        r"
def main(id, config):
    for number in range(1000):
        with open(f'/tmp/{number}', 'wb') as file: file.write(bytes(1 << 20))
",
    ),
    hostile(
        "disk-filler-code",
        "failed",
        1,
        "Read-only file system",
        r"
def main(id, config):
    with open('/backtest/filler', 'wb') as file: file.write(bytes(1 << 20))
",
    ),
    hostile(
        "disk-filler-root",
        "failed",
        1,
        "Read-only file system",
        r"
def main(id, config):
    with open('/var/tmp/filler', 'wb') as file: file.write(bytes(1 << 20))
",
    ),
    hostile(
        "one-large-file",
        "failed",
        1,
        "File too large",
        r"
def main(id, config):
    with open('/tmp/large', 'wb') as file:
        for megabyte in range(14): file.write(bytes(1 << 20)); file.flush()
",
    ),
    hostile(
        "million-files",
        "failed",
        1,
        "No space left on device",
        r"
def main(id, config):
    for number in range(1000000): open(f'/tmp/{number}', 'w').close()
",
    ),
];
