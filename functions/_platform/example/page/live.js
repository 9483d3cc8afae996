// What the server tells by itself: the progress of one generation (EventSource), changes of rows (WebSocket).
import { ANON_KEY } from "./config.js";
import { api, token } from "./session.js";
export const ENDED = new Set(["completed", "failed", "cancelled"]);
const TOPIC = "realtime:gallery", HEARTBEAT_MS = 25_000, LONGEST_PAUSE_MS = 5_000;

// Calls `changed(row)` at each step of a generation until it has ended. Returns a function that stops it.
// An EventSource cannot send an Authorization header: a ticket in its address opens this one stream, for two minutes.
export function follow(id, changed) {
  const path = `/functions/v1/start-generation/${id}`;
  let stream, stopped = false;
  async function open() {
    const { ticket } = await api(`${path}/ticket`, { method: "POST" }).catch(() => ({})); // none: it is gone
    if (!ticket || stopped) return;
    stream = new EventSource(`${path}/events?ticket=${ticket}`);
    stream.addEventListener("status", ({ data }) => {
      const { generation_id, ...row } = JSON.parse(data);
      if (ENDED.has(row.status)) stream.close();
      changed({ id: generation_id, ...row });
    });
    // After a break the browser reconnects by itself. After a refusal it gives up: the ticket has expired.
    stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) setTimeout(open, 1000); };
  }
  open();
  return () => { stopped = true; stream?.close(); };
}

// Calls `changed({ type, record, old_record })` for each change of a row that this user may read, and `connected(true)`
// once changes are heard, `connected(false)` when they are not. Returns a function that stops it.
export function listen(table, changed, connected) {
  let socket, heartbeat, retry, answered, failures = 0, ref = 0;
  const stopped = new AbortController(), { signal } = stopped;
  const push = (topic, event, payload) => socket.send(JSON.stringify(["1", String(++ref), topic, event, payload]));
  async function open() {
    const access_token = await token().catch(() => null);
    if (signal.aborted) return;
    if (!access_token) return reopen();
    socket = new WebSocket(`/realtime/v1/websocket?apikey=${ANON_KEY}&vsn=2.0.0`);
    socket.onclose = reopen;
    socket.onopen = () => {
      const postgres_changes = [{ event: "*", schema: "public", table }];
      push(TOPIC, "phx_join", { config: { postgres_changes }, access_token });
      answered = true;
      heartbeat = setInterval(beat, HEARTBEAT_MS);
    };
    socket.onmessage = ({ data }) => {
      const [, , topic, event, payload] = JSON.parse(data);
      if (topic === "phoenix") answered = true;
      else if (event === "postgres_changes") changed(payload.data);
      else if (event === "system" && payload.status === "ok") { failures = 0; connected(true); }
      else if (event === "phx_close" || event === "phx_error" || payload.status === "error") reopen();
    };
  }
  async function beat() {
    const access_token = answered && await token().catch(() => null); // the server ends a channel whose token expires
    if (!access_token || socket.readyState !== WebSocket.OPEN) return reopen();
    answered = false;
    push("phoenix", "heartbeat", {});
    push(TOPIC, "access_token", { access_token });
  }
  function close() {
    for (const timer of [heartbeat, retry]) clearTimeout(timer);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null, socket.close();
  }
  function reopen() {
    close();
    connected(false);
    retry = setTimeout(open, Math.min(500 * 2 ** failures++, LONGEST_PAUSE_MS));
  }
  for (const event of ["offline", "online"]) addEventListener(event, reopen, { signal });
  open();
  return () => { stopped.abort(); close(); };
}
