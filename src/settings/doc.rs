//! `docs/settings.md`, made from the table.

use std::fmt::Write as _;

use super::table::{self, Fallback, Setting};
use crate::job::Runtimes;

/// The tables of `longshore.toml`, and what each is about.
const SECTIONS: [(&str, &str); 9] = [
    ("broker", "RabbitMQ"),
    ("store", "Object store"),
    ("runner", "Containers"),
    ("runtimes", "Runtimes"),
    ("pack", "Packages and local runs, for authors"),
    ("worker", "Worker"),
    ("logs", "Container logs"),
    ("http", "Health"),
    ("telemetry", "The program's own log"),
];

const HEAD: &str = "\
# Settings

Longshore reads its settings once, when it starts, from three places. A later place wins:

1. the defaults below,
2. a TOML file: `--config FILE`, or the file in `LONGSHORE_CONFIG`, or `longshore.toml` in the
   current directory,
3. environment variables. An empty variable counts as not set.

The program reports all mistakes together and exits with code 2. An unknown key in the file is a
mistake. An unknown variable is not, except the spelling that other programs use for one of ours
(`MINIO_USE_SSL`, `MINIO_USE_TLS`, `MINIO_SECURE`, `MINIO_TLS` for `MINIO_SSL`).

`longshore worker --print-settings` prints the effective settings and where each comes from, with secrets
masked. A worker needs every required setting, and so do `doctor` and `segments`. Other commands need
less: `start`, `stop` and `watch` need only the broker (`start DIR` also the store), `logs` only the
store (`logs --follow` also the broker), `run` and `ps` neither.

Numbers carry their unit in the name. MB and KB are binary: 1 MB is 1,048,576 bytes. Lists are
comma-separated in a variable; in the file they may also be arrays.

```toml
[broker]
url = \"amqp://user:password@rabbitmq:5672/%2f\"

[store]
endpoint = \"http://seaweedfs:8333\"

[runner]
memory_limit_mb = 1024
allowed_networks = [\"bridge\", \"none\"]
network = \"bridge\"
```

The program generates this page: `longshore schema --settings-doc > docs/settings.md`.
";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (section, title) in SECTIONS {
        page.push_str(&format_section(section, title));
        if section == "runtimes" {
            page.push_str(&runtimes());
        }
    }
    page
}

/// What follows the only setting of the runtimes: those that are built in.
fn runtimes() -> String {
    let mut text = RUNTIMES.to_owned();
    for runtime in Runtimes::default().iter() {
        let command: Vec<_> = runtime.command.iter().map(|word| format!("`{word}`")).collect();
        let extensions: Vec<_> = runtime.extensions.iter().map(|one| format!("`{one}`")).collect();
        let row = writeln!(
            text,
            "| `{runtime}` | `{}` | `{}` | {} | {} |",
            runtime.image,
            runtime.launcher.as_str(),
            command.join(" "),
            extensions.join(", ")
        );
        debug_assert!(row.is_ok(), "writing to a String cannot fail");
    }
    text.push_str(OWN_RUNTIMES);
    text
}

/// What the table of the built-in runtimes begins with.
const RUNTIMES: &str = "
A message names a runtime, and a worker that does not have it rejects the message. These are built in:

| Runtime | Image | Launcher | Program | Extensions |
| --- | --- | --- | --- | --- |
";

/// How an operator adds one.
const OWN_RUNTIMES: &str = "
An operator adds others, each as a table of its own in the file, and changes these in the same way:

```toml
[runtimes.\"java21\"]
image = \"eclipse-temurin:21-jre\"
launcher = \"exec\"            # python, node or exec
command = [\"java\", \"-jar\"]  # exec alone: the script's path follows; without it, the script is the program
extensions = [\"jar\"]         # of scripts whose message leaves the runtime open

[runtimes.\"python3.13\"]
image = \"registry.example/ours/python:3.13\"
warm = 0                      # not for exec: containers that wait, in place of WARM_CONTAINERS; at most 64
```

A new runtime needs `image` and `launcher`; where a built-in one is changed, what is left out stays as it is. The images of
`python3.11` and `nodejs20` are `PYTHON_IMAGE` and `NODE_IMAGE`. The same in a variable:

```sh
BOT_RUNTIMES='{\"java21\": {\"image\": \"eclipse-temurin:21-jre\", \"launcher\": \"exec\", \"command\": [\"java\", \"-jar\"]}}'
```

The launchers `python` and `node` need `bash` and `sh` in the image, and the interpreter as `python` or `node`. `exec` needs
nothing in it but the program. [runtimes.md](runtimes.md) says what a program finds.
";

fn format_section(section: &str, title: &str) -> String {
    let mut text = format!(
        "\n## {title}: `[{section}]`\n\n\
         | Variable | Key | Default | Allowed | What it is |\n\
         | --- | --- | --- | --- | --- |\n"
    );
    for setting in table::ALL.iter().filter(|setting| setting.section() == section) {
        let name = setting
            .key
            .split_once('.')
            .map_or("`[runtimes.\"NAME\"]`".to_owned(), |(_, name)| format!("`{name}`"));
        let row = writeln!(
            text,
            "| `{}` | {name} | {} | {} | {} |",
            setting.variable,
            default_of(setting),
            setting.kind.allowed(),
            setting.doc()
        );
        debug_assert!(row.is_ok(), "writing to a String cannot fail");
    }
    text
}

fn default_of(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => "**required**".to_owned(),
        Fallback::Unset(meaning) => meaning.to_owned(),
        Fallback::HostName => "the host's name".to_owned(),
        Fallback::Value(text) => format!("`{text}`"),
    }
}
