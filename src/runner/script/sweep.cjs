// Runs many configs of a sweep: loaded by launch.mjs. What it reads and writes is as in sweep.py.
//
// Nothing of the user runs in this process. It starts others (sweep-host.cjs), as many as configs may run at a
// time, and gives each of them one config after the other. So whatever a config breaks, this process knows
// which config it was, and writes its row. A config that is late, and all that it started, is killed with its
// process, and the next config gets a new one.

'use strict';

const { spawn } = require('node:child_process');
const { randomBytes } = require('node:crypto');
const fs = require('node:fs');
const { constants, availableParallelism } = require('node:os');
const path = require('node:path');

const KILLS = ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control'];
const MOST_PIDS = ['/sys/fs/cgroup/pids.max', '/sys/fs/cgroup/pids/pids.max'];
const THREADS = 12; // of a process with one config: nine of Node.js's own, and a few of the script's
const MIN_HEAP_MB = 16; // with less, Node.js does not get as far as the script
const MAX_STILLBORN = 5; // processes in a row that end before they take a config
const PATIENCE_MS = 500; // for the rest of the output of a process that has ended
const LONGEST_MS = 2 ** 31 - 1; // a longer timer would end at once
const ABORTED = [132, 133, 134]; // as V8 ends a process whose heap is full
const LAST_WORDS = 8192; // bytes in which Node.js says why it ended
const HEAP_FULL = /FATAL ERROR: [^]*(?:JavaScript heap|process) out of memory/;

/** Runs them all. Rejects with a sentence where the sweep as a whole fails. */
exports.run = (own) => new Promise((resolve, reject) => new Sweep(own, resolve, reject).begin());

class Sweep {
  constructor(own, resolve, reject) {
    Object.assign(this, { own, resolve, reject });
    this.lines = lines(path.join(own, 'sweep'));
    const asked = JSON.parse(this.lines.next().value);
    this.rows = fs.openSync(path.join(own, 'rows'), fs.constants.O_WRONLY | fs.constants.O_APPEND);
    this.asked = asked;
    [this.bytesLeft, this.failuresLeft] = [asked.max_bytes, asked.failures_left ?? Infinity];
    const processors = availableParallelism();
    this.parallel = withinPids(asked.parallel ?? Math.max(1, Math.min(processors, asked.processors ?? processors)));
    const heap = Number(process.env.NODE_HEAP_MB);
    this.heapMb = heap ? Math.max(MIN_HEAP_MB, Math.floor(heap / this.parallel)) : undefined;
    this.hosts = new Set();
    this.kills = kills();
    this.count = 0;
    this.stillborn = 0;
    this.hasLoaded = false; // the script, once
    this.isOver = false;
  }

  begin() {
    process.on('exit', () => this.killAll());
    this.next = this.lines.next();
    for (let slot = 0; slot < this.parallel && !this.next.done; slot += 1) this.startHost();
    this.look();
  }

  startHost() {
    this.hosts.add(new Host(this));
  }

  /** The next config, as its line. */
  take() {
    if (this.isOver || this.next.done || this.failuresLeft <= 0) return undefined;
    const line = this.next.value;
    this.next = this.lines.next();
    return line;
  }

  look() {
    if (this.isOver || this.hosts.size > 0) return;
    this.isOver = true;
    this.resolve({ status: 'success', message: `ran ${this.count} configs` });
  }

  /** A host has ended, and its config, if it had one, has its row. */
  gone(host, problem) {
    this.hosts.delete(host);
    this.stillborn = host.isReady ? 0 : this.stillborn + 1;
    if (this.stillborn >= MAX_STILLBORN && this.hosts.size === 0) return this.fail(`no process can be started for a config: ${problem}`);
    // Where there is no room for one more process, those that there are do the work.
    const isNeeded = !this.isOver && !this.next.done && this.failuresLeft > 0;
    if (isNeeded && (host.isReady || this.hosts.size === 0)) this.startHost();
    return this.look();
  }

  fail(message) {
    if (this.isOver) return;
    this.isOver = true;
    this.killAll();
    this.reject(message);
  }

  killAll() {
    for (const host of this.hosts) host.kill();
  }

  end(config, told, text) {
    if (this.isOver) return;
    const seconds = Number(process.hrtime.bigint() - config.began) / 1e9;
    const size = told.bytes ?? 0;
    const head = {
      index: config.index,
      exit_code: told.code,
      seconds: Math.round(seconds * 1e6) / 1e6,
      timed_out: told.timedOut ?? false,
      oom: told.oom ?? false,
      heap_mb: told.heap ? this.heapMb : undefined,
      result_bytes: size,
      output: config.output,
    };
    this.write(`${JSON.stringify(head)}\t${(text ?? '').replaceAll('\n', ' ')}\n`);
    this.count += 1;
    if (told.code !== 0 || size > this.asked.max_result_bytes) this.failuresLeft -= 1;
  }

  write(line) {
    const bytes = Buffer.from(line);
    this.bytesLeft -= bytes.length;
    if (this.bytesLeft < 0) return this.fail('the rows take more than SWEEP_MAX_MB: return less, or print less');
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.rows, bytes, at);
    return undefined;
  }

  /** Whether the kernel has killed one more process for lack of memory. */
  isOfMemory() {
    const now = kills();
    if (now === undefined || this.kills === undefined) return true;
    if (now <= this.kills) return false;
    this.kills += 1;
    return true;
  }
}

/** A process that runs one config at a time. */
class Host {
  constructor(sweep) {
    this.sweep = sweep;
    this.isReady = false;
    this.config = undefined; // that runs
    this.mark = `\n${randomBytes(16).toString('hex')}\n`; // ends the output of a config
    this.said = Buffer.alloc(0);
    this.ending = undefined; // what the host told, until its output is there, too
    this.isDrained = false;
    const { asked, heapMb, own } = sweep;
    const flags = ['--v8-pool-size=1', ...(heapMb && asked.isolation === 'process' ? [`--max-old-space-size=${heapMb}`] : [])];
    const order = { isolation: asked.isolation, heapMb, most: asked.max_result_bytes, mark: this.mark };
    // A shell, so that what goes to stdout and stderr comes in its order.
    this.child = spawn('/bin/sh', ['-c', 'exec "$@" 2>&1', 'sh', process.execPath, ...flags, path.join(own, 'sweep-host.cjs'), JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      detached: true, // a process group of its own
    });
    this.child.on('message', (told) => this.hear(told));
    this.child.stdout?.on('data', (data) => this.read(data));
    this.child.on('error', (error) => this.child.pid === undefined && this.over(undefined, undefined, error.message));
    this.child.on('exit', (code, signal) => {
      this.kill(); // what it left behind
      // `close` comes after all that it wrote and told, unless something that it started still holds them open.
      const over = () => this.over(code, signal);
      this.child.once('close', over);
      setTimeout(over, PATIENCE_MS).unref();
    });
  }

  kill() {
    try {
      if (this.child.pid) process.kill(-this.child.pid, 'SIGKILL');
    } catch {} // it is gone
  }

  hear(told) {
    if (told?.longshore === 'ready' && !this.isReady) {
      this.isReady = true;
      this.give();
    } else if (told?.longshore === 'ended' && told.index === this.config?.index) {
      this.ending = told;
      this.settle();
    }
  }

  give() {
    const line = this.sweep.take();
    if (line === undefined) {
      this.child.send(null, () => {}); // which ends it. After a disconnect() from here, no `close` would come
      return;
    }
    const tab = line.indexOf('\t');
    const { timeout_seconds: timeout } = this.sweep.asked;
    this.config = { index: Number(line.slice(0, tab)), began: process.hrtime.bigint() };
    [this.said, this.isDrained, this.ending] = [Buffer.alloc(0), false, undefined];
    if (timeout) this.timer = setTimeout(() => this.late(), Math.min(timeout * 1000, LONGEST_MS));
    this.child.send({ index: this.config.index, patch: line.slice(tab + 1) }, () => {});
  }

  late() {
    this.config.isLate = true;
    this.kill();
  }

  read(data) {
    this.said = Buffer.concat([this.said, data]);
    const end = this.config ? this.said.indexOf(this.mark) : -1;
    if (end >= 0) {
      this.said = this.said.subarray(0, end);
      this.isDrained = true;
      this.settle();
    } else {
      this.said = this.said.subarray(-(Math.max(this.sweep.asked.output_bytes, LAST_WORDS) + this.mark.length));
    }
  }

  output() {
    const most = this.sweep.asked.output_bytes;
    return most ? this.said.subarray(-most).toString() : '';
  }

  settle() {
    const { config, ending, sweep } = this;
    if (!config || !ending || !this.isDrained) return;
    clearTimeout(this.timer);
    this.config = undefined;
    sweep.hasLoaded ||= ending.loaded;
    config.output = this.output();
    // Without any config, it would fail as well.
    if (!sweep.hasLoaded && ending.code !== 0 && ending.problem) {
      process.stderr.write(config.output);
      sweep.fail(ending.problem);
      return;
    }
    sweep.end(config, ending, ending.text);
    if (sweep.asked.isolation !== 'process') this.give();
  }

  /** The process has ended, and with it the config that it ran. */
  over(exitCode, signal, problem) {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.timer);
    const { config, ending, sweep } = this;
    this.config = undefined;
    const code = signal ? 128 + constants.signals[signal] : (exitCode ?? 1);
    if (config) {
      config.output = this.output();
      if (ending) {
        sweep.end(config, ending, ending.text);
      } else {
        const wasKilled = signal === 'SIGKILL';
        const heap = ABORTED.includes(code) && HEAP_FULL.test(this.said.toString());
        const oom = wasKilled && !config.isLate && sweep.isOfMemory();
        sweep.end(config, { code, timedOut: wasKilled && config.isLate, oom, heap });
      }
    }
    sweep.gone(this, problem ?? this.output().trim());
  }
}

/** The lines of a file, which is read bit by bit. */
function* lines(file) {
  const from = fs.openSync(file, 'r');
  const piece = Buffer.alloc(1 << 16);
  let rest = Buffer.alloc(0);
  for (;;) {
    const length = fs.readSync(from, piece);
    if (length === 0) break;
    rest = Buffer.concat([rest, piece.subarray(0, length)]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
    }
  }
  fs.closeSync(from);
  if (rest.length > 0) yield rest.toString();
}

/** So many at a time, or fewer: a thread that cannot be had would end a config that has done nothing wrong. */
function withinPids(parallel) {
  const most = Math.max(1, Math.floor(Number(firstOf(MOST_PIDS, /^(\d+)$/m) ?? Infinity) / THREADS) - 1); // without this process
  if (most >= parallel) return parallel;
  process.stderr.write(`longshore: ${most} configs run at a time, not ${parallel}: the number of threads and processes is bounded by limits.pids of the start message and BOT_PIDS_LIMIT\n`);
  return most;
}

/** How many processes of this container the kernel has killed for lack of memory; undefined where unknown. */
function kills() {
  const found = firstOf(KILLS, /^oom_kill (\d+)$/m);
  return found && Number(found);
}

/** What the first of these files says that says it. */
function firstOf(files, pattern) {
  for (const file of files) {
    try {
      const found = pattern.exec(fs.readFileSync(file, 'utf8'));
      if (found) return found[1];
    } catch {}
  }
  return undefined;
}
