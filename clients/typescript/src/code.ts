// Packing a directory: the same files give the same zip, whenever and wherever.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { unzipSync, zipSync, type Zippable } from 'fflate';
import ignore from 'ignore';
import { CodeError } from './errors.js';

// Never packed: version control, compiled files, and the files in which secrets are kept.
const NEVER = [
  '.git/', '.hg/', '.svn/', '__pycache__/', '*.pyc', '.DS_Store', '.venv/', '.env', '.env.*', '.longshoreignore',
];
// The first of them that is there says what else is left out, as in Git.
const IGNORE_FILES = ['.longshoreignore', '.gitignore'];
// Git leaves dependencies out, and a run needs them.
const DEPENDENCIES = /^(vendor|node_modules)\//;
// The bounds of a worker with default settings (CODE_MAX_ENTRIES, CODE_MAX_EXTRACTED_MB, CODE_MAX_ARCHIVE_MB).
const MAX_FILES = 50_000;
const MAX_BYTES = 1024 ** 3;
const MAX_ARCHIVE_BYTES = 256 * 1024 ** 2;
const TIME = new Date(1980, 0, 1); // the earliest that a zip can name

/** A zip, ready to be stored. */
export interface Code {
  body: Uint8Array;
  /** Its files. */
  names: readonly string[];
  /** Its hash, in hexadecimal. */
  sha256: string;
  /** Where it is stored: the same bytes are stored once. */
  key: string;
}

/** Packs a directory, or reads a zip. */
export function pack(path: string): Code {
  let isDirectory: boolean;
  try {
    isDirectory = statSync(path).isDirectory();
  } catch (error) {
    throw new CodeError(`${path} cannot be read: ${(error as Error).message}`);
  }
  if (isDirectory) return packDirectory(path);
  const body = readFileSync(path);
  const names: string[] = [];
  try {
    unzipSync(body, { filter: ({ name }) => (names.push(name), false) });
  } catch (error) {
    throw new CodeError(`${path} is neither a directory nor a zip: ${(error as Error).message}`);
  }
  return made(body, names.filter((name) => !name.endsWith('/')), path);
}

function packDirectory(root: string): Code {
  const entries: Zippable = {};
  let size = 0;
  const files = [...filesIn(root)].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, file] of files) {
    const mode = statSync(file).mode & 0o111 ? 0o755 : 0o644;
    const content = readFileSync(file);
    size += content.length;
    if (size > MAX_BYTES || files.length > MAX_FILES) {
      throw new CodeError(
        `${root} has more than ${MAX_FILES} files or ${MAX_BYTES >> 20} MB: leave some out with a .longshoreignore`,
      );
    }
    entries[name] = [content, { mtime: TIME, os: 3, attrs: (0o100000 | mode) << 16 }];
  }
  if (files.length === 0) throw new CodeError(`there is no file to pack in ${root}`);
  return made(zipSync(entries), files.map(([name]) => name), root);
}

function made(body: Uint8Array, names: string[], place: string): Code {
  if (body.length > MAX_ARCHIVE_BYTES) {
    throw new CodeError(
      `${place} is ${body.length >> 20} MB as a zip, and workers take ${MAX_ARCHIVE_BYTES >> 20} MB by default ` +
        '(CODE_MAX_ARCHIVE_MB)',
    );
  }
  const sha256 = createHash('sha256').update(body).digest('hex');
  return { body, names, sha256, key: `code/${sha256}.zip` };
}

/** The files to pack, by name. Links are followed where they stay in the directory. */
function* filesIn(root: string): Generator<[string, string]> {
  const isIgnored = ignoredIn(root);
  const realRoot = realpathSync(root);
  const isWithin = (path: string) => path === realRoot || path.startsWith(realRoot + sep);
  const folders: { below: string; above: string[] }[] = [{ below: '', above: [realRoot] }];
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    for (const child of readdirSync(join(root, folder.below))) {
      const name = folder.below + child;
      const path = join(root, name);
      let real: string;
      try {
        real = realpathSync(path);
      } catch {
        if (isIgnored(name)) continue;
        throw new CodeError(`${path} is a link that leads nowhere`);
      }
      const about = statSync(path);
      if (isIgnored(about.isDirectory() ? `${name}/` : name)) continue;
      if (!isWithin(real)) throw new CodeError(`${path} is a link that leaves the directory`);
      if (about.isDirectory()) {
        if (folder.above.includes(real)) throw new CodeError(`${path} is a link to a folder it lies in`);
        folders.push({ below: `${name}/`, above: [...folder.above, real] });
      } else if (about.isFile()) {
        yield [name, path];
      }
    }
  }
}

/** Which names are left out. A folder's name ends in a slash. */
function ignoredIn(root: string): (name: string) => boolean {
  const never = ignore().add(NEVER);
  for (const file of IGNORE_FILES) {
    let patterns: string;
    try {
      patterns = readFileSync(join(root, file), 'utf8');
    } catch {
      continue; // it is not there
    }
    const also = ignore().add(patterns);
    const isKept = (name: string) => file === '.gitignore' && DEPENDENCIES.test(name);
    return (name) => never.ignores(name) || (!isKept(name) && also.ignores(name));
  }
  return (name) => never.ignores(name);
}
