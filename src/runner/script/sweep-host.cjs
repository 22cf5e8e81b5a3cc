// A process of a sweep that runs one config at a time: started by sweep.cjs.
//
// The config runs in a worker thread, or in this process itself where the isolation is `process`. What is said
// about its end comes from here, so that a thread that ends by itself is told of as well.

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { isolation, heapMb, most, mark } = JSON.parse(process.argv.pop()); // which the script need not see
const file = path.join(__dirname, 'sweep-config.cjs');
const OUT_OF_MEMORY = 134; // as a process ends whose heap is full
let thread; // that has loaded the script, where configs share one

try {
  fs.writeFileSync('/proc/self/oom_score_adj', '1000'); // the first that the kernel ends for lack of memory
} catch {}
process.on('disconnect', () => process.exit());
const send = process.send.bind(process);

if (isolation === 'process') {
  process.once('message', (given) => {
    if (!given) process.exit();
    process.channel.unref(); // else a main that nothing can wake up would wait for ever
    require(file).run(given, { most, isThread: false, tell: (told) => tell(given, told, () => process.reallyExit(told.code)) });
  });
} else {
  process.on('message', (given) => {
    if (!given) process.exit(); // there is no more to run
    else if (isolation === 'shared') share(given);
    else isolate(given);
  });
}
send({ longshore: 'ready' });

/** Tells how a config has ended, after the last that it wrote. */
function tell(given, told, then) {
  write(mark);
  send({ longshore: 'ended', index: given.index, ...told }, then);
}

function write(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

function isolate(given) {
  const worker = start({ given });
  let told;
  hear(worker, (it) => {
    told = it;
    worker.terminate(); // whatever timers and sockets it has left
  });
  follow(worker, (end) => tell(given, told ?? end));
}

function share(given) {
  if (!thread) {
    const worker = start({});
    thread = { worker, given: undefined, told: undefined };
    const own = thread;
    hear(worker, (told) => {
      if (told.code === 0 && !told.isLast) {
        const ended = own.given;
        own.given = undefined;
        tell(ended, told);
      } else {
        own.told = told;
        worker.terminate(); // what a failure leaves behind is not for the next config
      }
    });
    follow(worker, (end) => {
      if (thread === own) thread = undefined;
      if (own.given) tell(own.given, own.told ?? end);
    });
  }
  thread.given = given;
  thread.worker.postMessage(given);
}

function start(data) {
  return new Worker(file, {
    workerData: { longshore: { ...data, most, isShared: isolation === 'shared' } },
    resourceLimits: heapMb ? { maxOldGenerationSizeMb: heapMb } : {},
    trackUnmanagedFds: true, // files that it left open
  });
}

/** What our own code in a thread says: the script's may send messages, too. */
function hear(worker, then) {
  worker.on('message', (message) => message?.longshore && then(message.longshore));
}

/** Waits for the end of a thread, and says what that means where the thread itself has said nothing. */
function follow(worker, then) {
  let heap = false;
  worker.on('error', (error) => {
    heap ||= error?.code === 'ERR_WORKER_OUT_OF_MEMORY';
  });
  worker.on('exit', (code) => then(heap ? { code: OUT_OF_MEMORY, heap } : { code: code || 1 }));
}
