// What a strict program sees of the package: it is compiled, and not run.

import { Client, type Event, type Input, type LogLine, type Point, type Result, RunFailed, type StartMessage, type Verdict } from 'longshore';

export async function program(client: Client): Promise<Verdict> {
  const options: Partial<StartMessage> = { timeout_seconds: 60, limits: { memory_mb: 256 } };
  const result: Result = await client.run('my-strategy', { fast: 10 }, options);
  const value: unknown = result.value;
  // @ts-expect-error: there is no such field
  await client.run('my-strategy', {}, { surprise: 1 });
  for await (const event of client.events({ results: 'failed.#' })) {
    const one: Event = event;
    if (one.type === 'longshore.job.status.v1') console.log(one.data.state, value);
    else console.log(one.data.exit_code);
  }
  const lines: AsyncGenerator<LogLine> = client.logs('x');
  await lines.return(undefined);
  const data: Input = await client.putData('prices.csv', { key: 'prices/btc.csv' });
  await client.run('my-strategy', {}, { inputs: [data], artifacts: {} });
  const bytes: Uint8Array = await client.artifact(result, 'equity.png');
  const places: string[] = await client.artifacts(result, 'out');
  const values: number[] | undefined = (await client.series(result)).get('equity')?.map((point: Point) => point.value);
  console.log(bytes.length, places, values);
  try {
    return (await client.result('x')).require().verdict;
  } catch (error) {
    if (error instanceof RunFailed) return error.result.verdict;
    throw error;
  }
}
