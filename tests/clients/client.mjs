// Clients of the version under test, made as an app makes them.
import WebSocket from 'ws'

const { SUPABASE_URL, SUPABASE_KEY, TOKEN } = process.env
export const { CLIENT = '@supabase/supabase-js' } = process.env
export const { createClient } = await import(CLIENT)

export const options = {
  auth: { persistSession: false, autoRefreshToken: false },
  // Node 20 has no WebSocket of its own. The oldest client finds ws by itself, and never listens to one it is given.
  ...(CLIENT.endsWith('2.39') ? {} : { realtime: { transport: WebSocket } }),
}

/** A client with a session of its own; with a token it sends that one. */
export function connect(token) {
  const global = token ? { headers: { Authorization: `Bearer ${token}` } } : undefined
  return createClient(SUPABASE_URL, SUPABASE_KEY, { ...options, ...(global ? { global } : {}) })
}

export const supabase = connect(TOKEN)

/** An answer's data; an error ends the script with the line that asked. */
export function dataOf({ data, error }) {
  if (error) throw new Error(`${error.message} ${JSON.stringify(error)}`)
  return data
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
