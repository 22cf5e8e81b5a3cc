//! Which variables of `env` are refused by name. Pure.
//!
//! A start message may say how code runs, but must not run other code before it. `code_sha256` pins
//! the code, and a publisher is not always allowed to write code. So a variable is refused if it
//! makes the shell, the dynamic loader or an interpreter run or load other code before the script.
//! Everything else passes.

use serde_json::{Value, json};

/// What the container's environment says already.
const OURS: [&str; 18] = [
    "ID",
    "CONFIG",
    "CONFIG_FILE",
    "ENTRYPOINT_TYPE",
    "CODE_MOUNT_DIR",
    "SCRIPT_PATH",
    "IS_LONG_RUNNING",
    "BOT_ID",
    "BOT_CONFIG",
    "BACKTEST_ID",
    "BACKTEST_CONFIG",
    "PYTHONDONTWRITEBYTECODE",
    "NODE_HEAP_MB",
    "ARTIFACTS_DIR",
    "ARTIFACTS_MAX_MB",
    "ARTIFACTS_MAX_FILES",
    "STATE_FILE",
    "STATE_MAX_KB",
];

/// What the dynamic loader and the C library load, and what a shell runs when it starts.
const REFUSED_PREFIXES: [&str; 2] = ["LD_", "BASH_"];

/// The same by full name: variables of the shell, the C library, Python, Node.js and OpenSSL.
const REFUSED: [&str; 30] = [
    "BASHOPTS",
    "CDPATH",
    "ENV",
    "IFS",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PS4",
    "SHELLOPTS",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "PYTHONBREAKPOINT",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHON_PRESITE",
    "NODE_CHANNEL_FD",
    "NODE_COMPILE_CACHE",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "NODE_UNIQUE_ID",
    "OPENSSL_CONF",
    "OPENSSL_CONF_INCLUDE",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
];

/// Python imports what follows the first colon of one of these.
const WARNINGS: &str = "PYTHONWARNINGS";

/// Why a variable with this name and value is refused, as the end of a sentence; `None` if it is
/// allowed.
pub(super) fn refusal(name: &str, value: &str) -> Option<&'static str> {
    if OURS.contains(&name) {
        Some("is set by Longshore itself")
    } else if REFUSED.contains(&name)
        || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        Some(
            "is not allowed: it makes the shell, the loader or the interpreter run or load something before \
             the script; do that in the script instead",
        )
    } else if name == WARNINGS && value.contains(':') {
        Some(
            "may only name actions, such as ignore: Python imports what stands after a colon; use \
             warnings.filterwarnings in the script for more",
        )
    } else {
        None
    }
}

/// The names that are allowed, as a JSON Schema.
pub(super) fn names_schema() -> Value {
    let whole = OURS.iter().chain(&REFUSED).copied().collect::<Vec<_>>().join("|");
    let prefixes = REFUSED_PREFIXES.join("|");
    json!({
        "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
        "not": {"pattern": format!("^(({whole})$|({prefixes}))")},
    })
}

/// What the values of some variables must look like, as a JSON Schema.
pub(super) fn values_schema() -> Value {
    json!({(WARNINGS): {"type": "string", "pattern": "^[^:]*$"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_run_code_before_the_script_is_refused_by_name() {
        for name in [
            "BASH_ENV",
            "BASH_XTRACEFD",
            "BASH_FUNC_python",
            "BASHOPTS",
            "SHELLOPTS",
            "ENV",
            "PS4",
            "PROMPT_COMMAND",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "LD_AUDIT",
            "GCONV_PATH",
            "GLIBC_TUNABLES",
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONSTARTUP",
            "PYTHONINSPECT",
            "PYTHONBREAKPOINT",
            "PYTHONUSERBASE",
            "NODE_OPTIONS",
            "NODE_PATH",
            "OPENSSL_CONF",
            "OPENSSL_MODULES",
        ] {
            let why = refusal(name, "x").unwrap_or_default();
            assert!(why.starts_with("is not allowed"), "{name}: {why}");
        }
    }

    #[test]
    fn ours_are_refused_and_say_so() {
        for name in OURS {
            assert_eq!(refusal(name, ""), Some("is set by Longshore itself"), "{name}");
        }
    }

    #[test]
    fn other_variables_pass() {
        for name in [
            "PATH",
            "HOME",
            "TZ",
            "LANG",
            "LC_ALL",
            "PS1",
            "BASH",
            "LD",
            "ENVIRONMENT",
            "MY_LD_PRELOAD",
            "ld_preload",
            "API_KEY",
            "HOSTALIASES",
            "HTTPS_PROXY",
            "SSL_CERT_FILE",
            "OMP_NUM_THREADS",
            "MALLOC_ARENA_MAX",
            "PYTHONUNBUFFERED",
            "PYTHONHASHSEED",
            "PYTHONUTF8",
            "PYTHONOPTIMIZE",
            "PYTHONPATHS",
            "NODE_ENV",
            "NODE_EXTRA_CA_CERTS",
            "NODE_TLS_REJECT_UNAUTHORIZED",
        ] {
            assert_eq!(refusal(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn pythons_warnings_may_name_actions_and_import_nothing() {
        for value in ["ignore", "error,default", ""] {
            assert_eq!(refusal("PYTHONWARNINGS", value), None, "{value}");
        }
        for value in ["all:0:antigravity.x:0:0", "ignore::DeprecationWarning"] {
            assert!(refusal("PYTHONWARNINGS", value).is_some(), "{value}");
        }
    }
}
