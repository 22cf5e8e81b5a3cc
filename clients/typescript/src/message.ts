// The start message of a directory or a zip. Pure, except for reading start.json.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { CodeError } from './errors.js';
import type { Entrypoint, StartMessage } from './models.js';

/** Fields of a start message. */
export type Fields = Partial<StartMessage>;

// The runtime of a script by its extension.
const RUNTIMES: Record<string, StartMessage['runtime']> = {
  '.py': 'python3.11',
  '.js': 'nodejs20',
  '.mjs': 'nodejs20',
  '.cjs': 'nodejs20',
  '.sh': 'shell',
};
// The extensions that are looked for, one group after the other: a shell script is often a tool beside a program.
const EXTENSIONS = [['.py', '.js', '.mjs', '.cjs'], ['.sh']];
// Scripts that are found without being named, after the one that is called like its kind.
const USUAL_NAMES = ['main', 'index'];

/** A start message, filled in with what follows from the fields that are there and the files in the zip. */
export function complete(fields: Fields, names: readonly string[], defaultId: string): StartMessage {
  const isBot = fields.is_long_running ?? fields.entrypoint === 'bot';
  const kind = fields.entrypoint ?? (isBot ? 'bot' : 'backtest');
  const script = fields.entrypoint_files?.[kind] ?? findScript(kind, names);
  const runtime = fields.runtime ?? RUNTIMES[extname(script)];
  if (!runtime) throw new CodeError(`no runtime is known for ${script}: name one, such as runtime: 'python3.11'`);
  const made: Fields = {
    id: `${defaultId}-${randomBytes(6).toString('hex')}`,
    run_id: randomUUID().replaceAll('-', ''),
    config: {},
    persist_results: !isBot,
    ...withoutUndefined(fields),
    is_long_running: isBot,
    entrypoint: kind,
    entrypoint_files: { ...fields.entrypoint_files, [kind]: script },
    runtime,
  };
  if (made.file_path === undefined) throw new CodeError('there is no code: name a directory, a zip or a file_path');
  return made as StartMessage;
}

/** The script at the top of the zip that is meant, if none was named. */
function findScript(kind: Entrypoint, names: readonly string[]): string {
  const stems = [kind, ...USUAL_NAMES];
  const candidates = EXTENSIONS.flatMap((extensions) =>
    stems.flatMap((stem) => extensions.map((extension) => stem + extension)),
  );
  const script = candidates.find((candidate) => names.includes(candidate));
  if (script) return script;
  const found = [...names].sort().slice(0, 10).join(', ') || 'nothing';
  throw new CodeError(
    `there is no script for a ${kind}: looked for ${stems.map((stem) => `${stem}.js`).join(', ')} and the like, ` +
      `and found ${found}. Name it: entrypoint_files: { ${kind}: 'path/in/the/zip.js' }`,
  );
}

/** The fields of the directory's start.json, if it has one, that hold for every run of it. */
export function readStartFile(directory: string): Fields {
  const path = join(directory, 'start.json');
  if (!existsSync(path)) return {};
  let fields: unknown;
  try {
    fields = JSON.parse(readFileSync(path, 'utf8').replace(/^\ufeff/, ''));
  } catch (error) {
    throw new CodeError(`${path} is not JSON: ${(error as Error).message}`);
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new CodeError(`${path} is not a JSON object`);
  }
  const { file_path, code_sha256, run_id, ...rest } = fields as Fields;
  return rest;
}

/** A name that can begin a job's id. */
export function jobName(text: string): string {
  const name = text.replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[-_]+|[-_]+$/g, '');
  return name.slice(0, 100) || 'job';
}

/** The id of the event that refuses this message, and no other one. */
export function refusalId(messageId: string, body: Buffer): string {
  const name = Buffer.from(messageId);
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(name.length));
  const hash = createHash('sha256').update(Buffer.from([1])).update(length).update(name).update(body);
  return `refused/${hash.digest('hex').slice(0, 32)}`;
}

/** A new trace, as W3C Trace Context. */
export function newTrace(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

function withoutUndefined(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
