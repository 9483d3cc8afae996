// pg-boss: install | work count | work time | client. See README.md.
import { PgBoss } from "pg-boss";
import { handlerOf, ready, serveClient } from "./node_queue.mjs";

const [role, mode] = process.argv.slice(2);
const boss = new PgBoss({
  connectionString: process.env.DATABASE_URL, max: 10, useListenNotify: true,
  supervise: false, schedule: false, // maintenance and cron: not of the work that is measured
});
boss.on("error", (error) => console.error(error));
await boss.start();
if (!(await boss.getQueue("bench"))) await boss.createQueue("bench", { notify: true });

if (role === "work") {
  const handler = handlerOf(mode);
  await boss.work(
    "bench",
    { batchSize: 1000, burstWhenBatchFull: true, localConcurrency: mode === "count" ? 2 : 1, pollingIntervalSeconds: 0.5 },
    async (jobs) => handler(jobs.length),
  );
  ready(mode);
} else {
  if (role === "client") {
    await serveClient(
      () => boss.send("bench", {}),
      (count) => boss.insert("bench", Array(count).fill({ data: {} })),
    );
  }
  await boss.stop({ graceful: false });
}
