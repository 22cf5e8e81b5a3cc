// Runs a backtest with several configs at once and prints the best: the whole program.
//
//   npm install ../../../clients/typescript
//   node compare.js ../../ma-crossover
//
// AMQP_URL, MINIO_ENDPOINT and their like say where broker and store are.

import { argv, env } from 'node:process';
import { Client } from 'longshore';

const configs = [5, 10].flatMap((fast) => [20, 30].map((slow) => ({ fast, slow })));
// Several programs may run side by side: each names its jobs.
const prefix = env.JOB_PREFIX ?? 'compare';

const client = new Client();
try {
  const runs = configs.map(async (config) => {
    const id = `${prefix}-${config.fast}-${config.slow}`;
    const { value } = await client.run(argv[2], config, { id, timeout: 300 });
    return { value, config };
  });
  const results = await Promise.all(runs);
  results.sort((a, b) => b.value.total_return - a.value.total_return);
  for (const { value, config } of results) console.log(value.total_return.toFixed(4), JSON.stringify(config));
} finally {
  await client.close();
}
