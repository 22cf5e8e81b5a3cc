// Reading a job's log: the daily logs, then the chunks that are not in them yet, each line once.

import { Unavailable } from './errors.js';
import { Missing, type Store } from './store.js';

const RANGE = /(?<run>[^./]+)\.(?<attempt>\d+)\.(?<first>\d+)-(?<last>\d+)\.[^./]+/;
const CHUNK = new RegExp(`^(?<day>\\d{8})/${RANGE.source}\\.log$`);
const WHOLE_RANGE = new RegExp(`^${RANGE.source}$`);
const DAILY = /^(?<day>\d{8})(?:\.(?<part>\d+))?\.log$/;
// How often a day is read again because a worker merged its chunks meanwhile.
const RESTARTS = 5;

/** A line of a program's output. */
export interface LogLine {
  /** When the engine received it: RFC 3339, in UTC with nanoseconds. Empty if the line has another form. */
  time: string;
  /** `stdout` or `stderr`. Empty if the line has another form. */
  stream: string;
  text: string;
}

/** The pieces `first` to `last` of the output of one container. */
export interface Range {
  origin: string;
  first: number;
  last: number;
  key: string;
}

/** All stored lines of a job, the oldest first. */
export async function* readLog(store: Store, id: string): AsyncGenerator<LogLine, void> {
  const names = await namesOf(store, id, '');
  const days = names.map((name) => CHUNK.exec(name)?.groups?.day ?? DAILY.exec(name)?.groups?.day);
  for (const day of [...new Set(days)].sort()) if (day) yield* await linesOf(store, id, day);
}

async function namesOf(store: Store, id: string, day: string): Promise<string[]> {
  const prefix = `logs/${id}/`;
  const keys = await store.list(store.settings.logsBucket, prefix + day);
  return keys.map((key) => key.slice(prefix.length));
}

async function linesOf(store: Store, id: string, day: string): Promise<LogLine[]> {
  for (let attempt = 0; attempt <= RESTARTS; attempt++) {
    try {
      return (await textsOf(store, id, day)).flatMap(parse);
    } catch (error) {
      if (!(error instanceof Missing)) throw error; // else a listed chunk is in the daily log by now
    }
  }
  throw new Unavailable(`the log of ${id} of ${day} kept changing while it was read`);
}

/** The texts of a day, in order. Chunks are read before the daily log, whose record says what was merged. */
async function textsOf(store: Store, id: string, day: string): Promise<string[]> {
  const get = (name: string) => store.get(store.settings.logsBucket, `logs/${id}/${name}`);
  const found = (await namesOf(store, id, day)).map((name) => rangeOf(CHUNK.exec(name), name));
  const chunks: { range: Range; text: string }[] = [];
  for (const range of onceEach(found.filter((range) => range !== undefined))) {
    chunks.push({ range, text: await get(range.key) });
  }
  const parts = (await namesOf(store, id, day)).filter((name) => DAILY.test(name));
  parts.sort((a, b) => partOf(a) - partOf(b));
  const dailies: string[] = [];
  for (const part of parts) dailies.push(await get(part));

  const covered = new Map<string, number>();
  for (const { origin, last } of dailies.flatMap(merged)) covered.set(origin, Math.max(covered.get(origin) ?? -1, last));
  const begins = new Map<string, string>();
  for (const { range, text } of chunks) {
    if (!begins.has(range.origin)) begins.set(range.origin, text.slice(0, text.indexOf(' ')));
  }
  const order = ({ origin }: Range) => `${begins.get(origin)} ${origin}`;
  const left = chunks.filter(({ range }) => range.last > (covered.get(range.origin) ?? -1));
  left.sort((a, b) => (order(a.range) < order(b.range) ? -1 : order(a.range) > order(b.range) ? 1 : 0) || a.range.first - b.range.first);
  return [...dailies, ...left.map(({ text }) => text)];
}

function partOf(name: string): number {
  return Number(DAILY.exec(name)?.groups?.part ?? 1);
}

function rangeOf(match: RegExpExecArray | null, key = ''): Range | undefined {
  const groups = match?.groups;
  if (!groups) return undefined;
  return { origin: `${groups.run}.${groups.attempt}`, first: Number(groups.first), last: Number(groups.last), key };
}

/** What the records of a daily log say was merged into it. */
function merged(daily: string): Range[] {
  const records = daily.split('\n').map((line) => line.split(' ')).filter((words) => words[1] === 'longshore');
  const ranges = records.flatMap((words) => words.slice(2).map((word) => rangeOf(WHOLE_RANGE.exec(word))));
  return ranges.filter((range) => range !== undefined);
}

/** Those that hold every piece once. They overlap only where two workers stored the output of one container. */
export function onceEach(ranges: Range[]): Range[] {
  const chosen: Range[] = [];
  for (const origin of new Set(ranges.map((range) => range.origin))) {
    const own = ranges.filter((range) => range.origin === origin);
    const picked: Range[] = [];
    let next = best(own, (a, b) => a.last - b.last || a.first - b.first);
    while (next) {
      picked.push(next);
      const { first } = next;
      const earlier = own.filter((range) => range.first < first);
      const adjoining = earlier.filter((range) => range.last + 1 >= first);
      next = adjoining.length
        ? best(adjoining, (a, b) => b.last - a.last || b.first - a.first)
        : best(earlier, (a, b) => a.last - b.last || b.first - a.first);
    }
    chosen.push(...picked.reverse());
  }
  return chosen;
}

function best(ranges: Range[], compare: (a: Range, b: Range) => number): Range | undefined {
  return [...ranges].sort(compare).at(-1);
}

function parse(text: string): LogLine[] {
  if (!text) return [];
  const lines: LogLine[] = [];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const [, time = '', stream = '', rest = ''] = /^([^ ]*) (stdout|stderr|longshore)(?: (.*))?$/s.exec(line) ?? [];
    if (stream === 'longshore') continue;
    lines.push(stream ? { time, stream, text: rest } : { time: '', stream: '', text: line });
  }
  return lines;
}
