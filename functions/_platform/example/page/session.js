// The user's session, and the one way to call the API. The session is in localStorage: all tabs share it.
import { ANON_KEY } from "./config.js";
const STORED = "picture-edge.session", EARLY_S = 60; // an access token is renewed this long before it expires

/** { access_token, refresh_token, expires_at, user, … } as /auth/v1 answered; null while nobody is signed in. */
export const session = () => JSON.parse(localStorage.getItem(STORED));

function keep(answer, notice) {
  if (answer) answer.expires_at = Date.now() / 1000 + answer.expires_in; // by this clock, which may be wrong
  localStorage.setItem(STORED, JSON.stringify(answer));
  dispatchEvent(new CustomEvent("session", { detail: notice }));
}
// The browser tells the other tabs: who signs out in one has signed out in all.
addEventListener("storage", ({ key }) => { if (key === STORED) dispatchEvent(new CustomEvent("session")); });

/** The answer's JSON. `json` becomes the body of a POST. Throws an Error with the server's words and its `status`. */
async function send(bearer, path, { json, headers, ...options } = {}) {
  const response = await fetch(path, {
    ...(json && { method: "POST", body: JSON.stringify(json) }),
    headers: { apikey: ANON_KEY, Authorization: `Bearer ${bearer}`, "Content-Type": "application/json", ...headers },
    ...options,
  }).catch(() => { throw new Error("The server cannot be reached. Look at your connection, then try again."); });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const { status } = response, { msg, message, error } = body; // each service has its own words for what is wrong
  throw Object.assign(new Error(msg ?? message ?? error ?? `The server answered with status ${status}.`), { status });
}
const auth = (path, json) => send(ANON_KEY, `/auth/v1/${path}`, { json });

/** A request as the signed-in user. A token that is refused ends the session. */
export const api = async (path, options) => send(await token(), path, options).catch((error) => {
  if (error.status === 401) keep(null, error.message);
  throw error;
});

/** The access token, renewed if it is about to expire: by one tab at a time, as a refresh token works once. */
export const token = () => navigator.locks.request(STORED, async () => {
  const { refresh_token, expires_at } = session() ?? {};
  if (!refresh_token) throw new Error("You are signed out.");
  if (expires_at - EARLY_S < Date.now() / 1000) {
    keep(await auth("token?grant_type=refresh_token", { refresh_token }).catch((error) => {
      if (error.status < 500 && error.status !== 429) keep(null, "Your session has ended. Sign in again.");
      throw error;
    }));
  }
  return session().access_token;
});

export const signIn = async (email, password) => keep(await auth("token?grant_type=password", { email, password }));

export async function signUp(email, password) {
  const answer = await auth("signup", { email, password });
  if (!answer.access_token) throw new Error("Follow the link in the mail that you have got, then sign in.");
  keep(answer);
}

export function signOut() {
  send(session().access_token, "/auth/v1/logout?scope=local", { method: "POST" }).catch(() => {});
  keep(null); // without waiting: it works without a connection, too
}
