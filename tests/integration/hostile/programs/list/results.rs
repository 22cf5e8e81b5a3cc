//! Programs that leave a bad result.

use super::{Hostile, hostile};

pub(in crate::hostile::programs) const RESULTS: &[Hostile] = &[
    hostile(
        "result-filler",
        "failed",
        1,
        "File too large",
        r"
def main(id, config):
    with open('/backtest/result.json', 'wb') as file:
        while True: file.write(bytes(1 << 20)); file.flush()
",
    ),
    hostile(
        "result-oversized",
        "failed",
        0,
        "more than the 1048576 allowed",
        r"
def main(id, config):
    return 'x' * (2 << 20)
",
    ),
    hostile(
        "result-of-holes",
        "failed",
        0,
        "more than the 1048576 allowed",
        r"
import os
def main(id, config):
    os.truncate('/backtest/result.json', 10 << 20)
    os._exit(0)
",
    ),
    hostile(
        "result-too-deep",
        "failed",
        0,
        "result.json is nested more than 127 levels deep",
        r"
import os
def main(id, config):
    with open('/backtest/result.json', 'w') as file: file.write('[' * 100000 + ']' * 100000)
    os._exit(0)
",
    ),
    hostile(
        "result-no-unicode",
        "failed",
        0,
        "result.json is not valid JSON",
        r#"
import os
def main(id, config):
    with open('/backtest/result.json', 'wb') as file: file.write(b'"\xff\xfe"')
    os._exit(0)
"#,
    ),
    hostile(
        "result-two-values",
        "failed",
        0,
        "result.json is not valid JSON",
        r"
import os
def main(id, config):
    with open('/backtest/result.json', 'w') as file: file.write('{} {}')
    os._exit(0)
",
    ),
    hostile(
        "result-none",
        "failed",
        0,
        "wrote no result.json",
        r"
import os
def main(id, config): os._exit(0)
",
    ),
    hostile(
        "result-a-link",
        "failed",
        1,
        "Read-only file system",
        r"
import os
def main(id, config):
    os.symlink('/etc/passwd', '/backtest/link')
",
    ),
    hostile(
        "result-replaced",
        "failed",
        1,
        "result.json",
        r"
import os
def main(id, config):
    os.remove('/backtest/result.json')
",
    ),
    hostile(
        "verdict-forged",
        "failed",
        1,
        "exit code 1",
        r#"
import os
def main(id, config):
    with open('/backtest/result.json', 'w') as file: file.write('{"status": "success"}')
    with open('/backtest/.longshore/exit-note', 'wb') as file: file.write(b'\xff\xfe' * 100000)
    os._exit(1)
"#,
    ),
];
