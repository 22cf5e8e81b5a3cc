//! `BashEntrypointFactory`: the shell script that a container runs first.

use std::path::Path;

use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};
use crate::job::Runtime;

/// Where the shell script stands, relative to the job's directory.
const USUAL: &str = "entrypoint.sh";
/// Where it stands when the archive brings a file of that name.
const OUT_OF_THE_WAY: &str = ".longshore/entrypoint.sh";

/// The script up to the interpreter. POSIX, for Alpine's shell runs it too. It finds the job's
/// directory from its own place, in which it may stand one folder deeper.
const BODY: &str = r#"# Written by Longshore. The job's data comes by environment and file, and is not part of this text.
#
# The shell stays and passes SIGTERM on: where it is process 1 the interpreter would not hear one that
# comes before it listens, for the kernel drops what process 1 has no handler for.
child=
interrupted=
deaf=
read -r this_shell </proc/$$/comm
# SIGTERM for all processes that the interpreter began, directly or not.
tell_children() {
    parents=$child
    all=
    while [ -n "$parents" ]; do
        found=
        for parent in $parents; do
            more=
            read -r more <"/proc/$parent/task/$parent/children"
            found=$found${more:+ $more}
        done
        all=$all$found
        parents=$found
    done
    for one in $all; do kill -TERM "$one"; done
}
terminate() {
    [ -n "$child" ] || exit 143
    interrupted=yes
    # Until the interpreter has taken its place the child is a copy of this shell, which would swallow
    # the signal.
    looks=0
    while [ "$looks" -lt 200 ] && read -r its_name </proc/"$child"/comm && [ "$its_name" = "$this_shell" ]; do
        sleep 0.01
        looks=$((looks + 1))
    done 2>/dev/null
    kill -TERM "$child" 2>/dev/null
    # A launcher whose program has no handler of its own bears this name until it has heard the signal. In a
    # loop that never comes back to its interpreter it would not, where without us the signal would end it. It
    # may wait for a child, as in os.system or execSync: that is told to end first.
    looks=0
    while [ "$looks" -lt 15 ] && read -r its_name </proc/"$child"/comm && [ "$its_name" = longshore:job ]; do
        sleep 0.2
        looks=$((looks + 1))
        if [ "$looks" -eq 4 ]; then tell_children; fi
    done 2>/dev/null
    if [ "$looks" -eq 15 ]; then
        deaf=yes
        kill -KILL "$child" 2>/dev/null
    fi
}
trap terminate TERM INT

# Notes what the kernel counted in this container: which of the files there are depends on the version of
# control groups. No program is started for it.
note_exit() {
    for file in cpu.stat memory.peak cpuacct/cpuacct.usage memory/memory.max_usage_in_bytes; do
        if read -r figure <"/sys/fs/cgroup/$file"; then echo "$file $figure"; fi
    done
    for file in memory.events memory/memory.oom_control; do
        while read -r name count; do
            if [ "$name" = oom_kill ]; then echo "$name $count"; fi
        done <"/sys/fs/cgroup/$file"
    done
} 2>/dev/null >>"$root/.longshore/exit-note"

case "$0" in
*/*) here=${0%/*} ;;
*) here=. ;;
esac
root=$(cd "$here" && pwd) || exit 70
root=${root%/.longshore}
echo begun >>"$root/.longshore/exit-note"

case "$ENTRYPOINT_TYPE" in
bot)
    kind=Bot
    export BOT_ID="$ID"
    if [ -n "${CONFIG+set}" ]; then export BOT_CONFIG="$CONFIG"; fi
    ;;
backtest)
    kind=Backtest
    export BACKTEST_ID="$ID"
    if [ -n "${CONFIG+set}" ]; then export BACKTEST_CONFIG="$CONFIG"; fi
    ;;
*)
    echo "ENTRYPOINT_TYPE is '$ENTRYPOINT_TYPE', neither 'bot' nor 'backtest'" >&2
    exit 64
    ;;
esac
"#;

/// Before the interpreter: how the lease is to be watched where there is one.
const BEFORE: &str = r#"# Two seconds, without another process where the shell can wait by itself: code that has used up its
# processes must not end the watch. Nobody ever writes into the pipe.
lease=$root/.longshore/lease
pipe=/tmp/.longshore-$$
alone=
if [ -e "$lease" ] && mkfifo "$pipe"; then
    exec 9<>"$pipe"
    rm -f "$pipe"
    read -r -t 0.01 _ <&9
    [ $? -eq 2 ] || alone=yes # a shell that knows no -t says 2
fi 2>/dev/null
pause() {
    if [ -n "$alone" ]; then read -r -t 2 _ <&9; else sleep 2; fi
}
"#;

/// Watches the lease where there is one, in a process of its own: the bot's worker writes it anew for
/// as long as it can show that the job is its own. The time is the kernel's, read without another
/// process; a text that has not changed runs out however the clock is set. Where this is the worker's
/// kernel, the lease says when it ends in that time; where `/proc/uptime` tells another time all the same,
/// as in a container that is made to look like a machine, its end would be far away, and does not count.
const WATCH: &str = r#"watch_lease() {
    seen=
    boot=
    { read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
    while :; do
        read -r now _ </proc/uptime
        now=${now%%.*}
        if { read -r stamp seconds && read -r until its_boot again; } 2>/dev/null <"$lease" &&
            [ "$stamp" != "$seen" ] && [ "$stamp" = "$again" ]; then
            seen=$stamp
            ends=$((now + seconds))
            if [ "$its_boot" = "$boot" ] && [ "$until" -le $((ends + 3)) ]; then ends=$until; fi
        fi
        if [ -z "$seen" ] || [ "$now" -lt $((ends - 3)) ]; then
            pause
            continue
        fi
        echo "lease expired" >>"$root/.longshore/exit-note"
        echo "longshore: this bot ends itself, for its worker has not been heard of for too long" >&2
        kill -TERM "$1" 2>/dev/null
        pause
        kill -KILL "$1" 2>/dev/null
        return
    done
}
watcher=
if [ -e "$lease" ]; then
    watch_lease "$child" &
    watcher=$!
fi
"#;

/// The end of the script: waits for the interpreter, and once more where a signal came between, for
/// then `wait` gives the signal's number and not the interpreter's exit code.
const WAIT: &str = r#"while :; do
    interrupted=
    wait "$child" 2>/dev/null # some shells say how it was killed
    code=$?
    [ -n "$interrupted" ] || break
done
[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
if [ -n "$deaf" ]; then
    code=143
    if [ "$IS_LONG_RUNNING" != true ] && [ ! -s "$root/result.json" ]; then
        result="{\"status\":\"terminated\",\"message\":\"$kind execution terminated by signal\"}"
        printf %s "$result" >"$root/result.json"
        printf '%s\n' "$result"
    fi
fi
note_exit
exit "$code"
"#;

/// Writes `entrypoint.sh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BashEntrypointFactory;

impl BashEntrypointFactory {
    /// The shell script of a runtime, the same for all its jobs.
    #[must_use]
    pub fn text(self, runtime: Runtime) -> String {
        let RuntimeScripts { shell, interpreter, launcher_name, .. } = RuntimeScripts::of(runtime);
        let launcher = format!("\"$root/.longshore/{launcher_name}\"");
        let start = format!("{interpreter} {launcher} 9>&- &\nchild=$!\n");
        let shell = shell.join(" ");
        format!("#!{shell}\n{BODY}{BEFORE}{start}{WATCH}{WAIT}")
    }

    /// Writes the shell script, beside `.longshore/` or in it; answers its place in `root`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written.
    pub fn write(self, runtime: Runtime, root: &Path) -> Result<&'static str, ScriptError> {
        let is_taken = root.join(USUAL).symlink_metadata().is_ok();
        let place = if is_taken { OUT_OF_THE_WAY } else { USUAL };
        write_new(&root.join(place), self.text(runtime).as_bytes(), 0o755)?;
        Ok(place)
    }
}
