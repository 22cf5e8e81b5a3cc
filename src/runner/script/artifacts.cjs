// Packs what a program left in ARTIFACTS_DIR into the one file that the worker made for it.
//
// Loaded by launch.mjs where the start message asks for artifacts. The form of the file is in
// crates/longshore-job/src/artifacts.rs.

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { ARTIFACTS_DIR: folder, ARTIFACTS_MAX_MB: maxMb, ARTIFACTS_MAX_FILES: maxFiles } = process.env;
const SHOWN = 3; // of what was left out, this many are named

/** Makes the folder. Returns the function that packs it, which does so once. */
function begin(own) {
  fs.mkdirSync(folder, { recursive: true });
  let isPacked = false;
  return () => {
    if (isPacked) return;
    isPacked = true;
    try {
      pack(path.join(own, 'artifacts'));
    } catch (error) {
      process.stderr.write(`longshore: the artifacts cannot be packed: ${error.message}\n`);
    }
  };
}

function pack(file) {
  const out = fs.openSync(file, 'r+'); // in place: it is all that can be written here
  const write = (value) => fs.writeSync(out, `${JSON.stringify(value)}\n`);
  const refused = [];
  let [room, left] = [Number(maxMb) * 1024 * 1024, Number(maxFiles)];
  for (const name of found('').sort()) {
    try {
      const bytes = fs.readFileSync(path.join(folder, name), { flag: fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW });
      if (bytes.length > room || left === 0 || !isPlain(name)) {
        refused.push(name);
        continue;
      }
      write({ path: name, bytes: bytes.length });
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(out, bytes, at);
      room -= bytes.length;
      left -= 1;
    } catch (error) {
      if (error.syscall === 'write') throw error;
      refused.push(`${name} (${error.code ?? error.message})`);
    }
  }
  if (refused.length === 0) {
    write({ end: true });
  } else {
    const named = refused.slice(0, SHOWN).map((name) => JSON.stringify(name).slice(1, -1).slice(0, 100)).join(', ');
    const more = refused.length > SHOWN ? ' and more' : '';
    const said = `${refused.length} beyond artifacts.max_mb=${maxMb} or artifacts.max_files=${maxFiles}, or not readable: ${named}${more}`;
    write({ end: true, left_out: said });
    process.stderr.write(`longshore: artifacts were left out: ${said}\n`);
  }
  fs.closeSync(out);
}

/** The regular files below the folder, by their names there. */
function found(at) {
  return fs.readdirSync(path.join(folder, at), { withFileTypes: true }).flatMap((entry) => {
    const name = at ? `${at}/${entry.name}` : entry.name;
    if (entry.isDirectory()) return found(name);
    return entry.isFile() ? [name] : [];
  });
}

function isPlain(name) {
  return !/[\p{Cc}\p{Cs}\\\u2028\u2029]/u.test(name) && Buffer.byteLength(name) <= 512;
}

module.exports = { begin };
