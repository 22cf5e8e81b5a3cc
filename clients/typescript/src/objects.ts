// What goes into a run and comes out of it beside code and result: data sets, artifacts, series.

import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { DataError, NotStored } from './errors.js';
import type { Artifact, Input } from './models.js';
import type { Result } from './result.js';
import { Missing, type Store } from './store.js';

const SERIES = /^(\d+)\.jsonl$/;

/** A run: a Result, or a Job that goes on. */
export interface AnyRun {
  readonly id?: string | undefined;
  readonly runId?: string | undefined;
}

/** A point of a series. */
export interface Point {
  /** The attempt in which it was measured. */
  attempt: number;
  /** Its number in that attempt. The first is 0. */
  n: number;
  /** What was measured. */
  value: number;
  /** Where on its axis it is, if the program said it: a number, or a time as RFC 3339. */
  at?: number | string;
  /** When the engine received it: RFC 3339, in UTC. */
  time: string;
}

/** Stores a file, unless the store has the same bytes under the key. */
export async function putData(store: Store, file: string, options: { key?: string; path?: string }): Promise<Input> {
  const { key = basename(file), path = `data/${basename(file)}` } = options;
  if (!key || key.endsWith('/') || key.includes('\\')) {
    throw new DataError(`the key ${JSON.stringify(key)} ends in a slash, has a backslash, or is empty`);
  }
  const body = await readFile(file).catch((error: unknown) => {
    throw new DataError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  });
  const sha256 = hash(body);
  await store.putData(key, body, sha256);
  return { key, path, sha256 };
}

/** The bytes of one artifact. */
export async function readArtifact(store: Store, result: Result, path: string): Promise<Uint8Array> {
  const artifact = result.artifacts.find((one) => one.path === path);
  if (!artifact) throw new NotStored(`${result.id} has no artifact ${path}`);
  return read(store, artifact);
}

/** Writes all of them below a directory. */
export async function saveArtifacts(store: Store, result: Result, to: string): Promise<string[]> {
  const saved: string[] = [];
  for (const artifact of result.artifacts) {
    const { path } = artifact;
    // A program chose it.
    if (isAbsolute(path) || path.includes('\\') || path.split('/').includes('..')) {
      throw new NotStored(`the artifact ${JSON.stringify(path)} lies outside the directory of artifacts`);
    }
    const [body, place] = [await read(store, artifact), join(to, path)];
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, body);
    saved.push(place);
  }
  return saved;
}

async function read(store: Store, { key, sha256 }: Artifact): Promise<Uint8Array> {
  const body = await store.getBytes(store.settings.resultsBucket, key).catch((error: unknown) => {
    if (!(error instanceof Missing)) throw error;
    throw new NotStored(`${key} is no longer in the store (ARTIFACT_RETENTION_DAYS)`);
  });
  if (hash(body) !== sha256) throw new NotStored(`${key} in the store is not what the run stored there`);
  return body;
}

/** The stored points of a run by the names of its series, those of earlier attempts first. */
export async function readSeries(store: Store, { id, runId }: AnyRun): Promise<Map<string, Point[]>> {
  const [bucket, prefix] = [store.settings.resultsBucket, `${id}/${runId}/series/`];
  const names = (await store.list(bucket, prefix)).map((key) => SERIES.exec(key.slice(prefix.length))?.[1]);
  const attempts = names.filter((name) => name !== undefined).map(Number).sort((a, b) => a - b);
  const series = new Map<string, Point[]>();
  for (const attempt of attempts) {
    for (const line of (await text(store, bucket, `${prefix}${attempt}.jsonl`)).split('\n')) {
      if (!line) continue;
      const { name, n, value, at, time } = JSON.parse(line) as Omit<Point, 'attempt'> & { name: string };
      const points = series.get(name) ?? [];
      points.push({ attempt, n, value, ...(at === undefined ? {} : { at }), time });
      series.set(name, points);
    }
  }
  return series;
}

/** An object as text, or none where it has become too old meanwhile. */
async function text(store: Store, bucket: string, key: string): Promise<string> {
  return store.get(bucket, key).catch((error: unknown) => {
    if (error instanceof Missing) return '';
    throw error;
  });
}

function hash(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}
