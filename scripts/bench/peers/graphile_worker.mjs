// graphile-worker: install | work count | work time | client. See README.md.
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { handlerOf, ready, serveClient } from "./node_queue.mjs";

const CONCURRENCY = 24;
const [role, mode] = process.argv.slice(2);
const worker = {
  connectionString: process.env.DATABASE_URL,
  maxPoolSize: CONCURRENCY + 1,
  preparedStatements: true,
  logger: new Logger(() => (level, message) => level === "error" && console.error(message)),
};

if (role === "work") {
  const handler = handlerOf(mode);
  await run({
    preset: {
      worker: {
        ...worker,
        concurrentJobs: CONCURRENCY,
        localQueue: { size: mode === "count" ? 500 : CONCURRENCY + 1 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    parsedCronItems: [],
    taskList: { bench: () => handler() },
  });
  ready(mode);
} else {
  const utils = await makeWorkerUtils({ preset: { worker } });
  await utils.migrate();
  if (role === "client") {
    const spec = { identifier: "bench", payload: {} };
    await serveClient(() => utils.addJob("bench", {}), (count) => utils.addJobs(Array(count).fill(spec)));
  }
  await utils.release();
}
