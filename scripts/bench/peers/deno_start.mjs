// Peer of page http: start-generation's work on Deno.serve with postgres.js, by hand.
// DATABASE_URL, JWT_SECRET; prints `port N`. HS256 by WebCrypto with a cache, the body checked, one SQL call, JSON.
import postgres from "postgres";

const sql = postgres(Deno.env.get("DATABASE_URL"), { max: 10 }); // statements are prepared, calls pipelined: its defaults
const encoder = new TextEncoder();
const key = await crypto.subtle.importKey(
  "raw", encoder.encode(Deno.env.get("JWT_SECRET")), { name: "HMAC", hash: "SHA-256" }, false, ["verify"],
);
const known = new Map();

const bytes = (part) =>
  Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

async function userOf(request) {
  const token = request.headers.get("authorization")?.slice("Bearer ".length) ?? "";
  let claims = known.get(token);
  if (claims === undefined) {
    const [head, body, signature] = token.split(".");
    const genuine = await crypto.subtle.verify("HMAC", key, bytes(signature), encoder.encode(`${head}.${body}`));
    if (!genuine) return null;
    claims = JSON.parse(new TextDecoder().decode(bytes(body)));
    known.set(token, claims);
  }
  return claims.exp * 1000 > Date.now() && claims.role === "authenticated" ? claims.sub : null;
}

function problemOf(body) {
  if (typeof body !== "object" || body === null) return "not an object";
  if (typeof body.prompt !== "string" || body.prompt.length < 1 || body.prompt.length > 10_000) return "prompt";
  if (typeof body.model_id !== "string" || !/^[\w.-]+\/[\w.-]+$/.test(body.model_id)) return "model_id";
  for (const name of ["width", "height", "num_inference_steps", "seed"]) {
    if (body[name] !== undefined && !Number.isInteger(body[name])) return name;
  }
  return null;
}

async function start(request) {
  const user = await userOf(request);
  if (user === null) return Response.json({ error: "Unauthorized" }, { status: 401 });
  const body = await request.json();
  const problem = problemOf(body);
  if (problem !== null) return Response.json({ error: problem }, { status: 400 });
  const [ids] = await sql`
    select generation_id, job_id from picture_edge.start_generations(array[${user}::uuid], array[${sql.json(body)}::jsonb])
  `;
  return Response.json({
    success: true, generation_id: ids.generation_id, job_id: ids.job_id, status: "queued",
    message: "Image generation started. You will be notified when complete.",
  });
}

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log("port", port),
  onError: (error) => Response.json({ error: String(error) }, { status: 500 }),
}, start);
