// What the queues on Node share: the words between make bench and a programme (README.md), on stdin and stdout.
import { createInterface } from "node:readline";

const now = () => Number(process.hrtime.bigint()) / 1e9; // CLOCK_MONOTONIC, as Python's time.monotonic()
const say = (...words) => process.stdout.write(words.join(" ") + "\n");

let first = 0, handled = 0;

/** The handler of a worker that counts its jobs, or tells of each. */
export const handlerOf = (mode) => (mode === "time" ? () => say("at", now()) : count);

function count(jobs = 1) {
  first ||= now();
  handled += jobs;
}

/** The worker has been started: from now on it tells every 20 ms how many jobs there were, and since when. */
export function ready(mode) {
  say("ready");
  if (mode === "count") setInterval(() => say("handled", handled, first), 20);
}

/** Serve the client's words: `bulk`, `produce`, `one`; `add` enqueues one job, `addMany` many in one call. */
export async function serveClient(add, addMany) {
  say("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, count, producers] = line.split(" ");
    const began = now();
    if (word === "bulk") await addMany(Number(count));
    if (word === "one") await add();
    if (word === "produce") {
      const each = Number(count) / Number(producers);
      const produce = async () => {
        for (let n = 0; n < each; n++) await add();
      };
      await Promise.all(Array.from({ length: Number(producers) }, produce));
    }
    say("done", began, now());
  }
}
