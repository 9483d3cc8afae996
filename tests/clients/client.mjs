// The client of the version under test, made as an app makes it.
import WebSocket from 'ws'

const { CLIENT = '@supabase/supabase-js', SUPABASE_URL, SUPABASE_KEY, TOKEN } = process.env
const { createClient } = await import(CLIENT)
const global = TOKEN ? { headers: { Authorization: `Bearer ${TOKEN}` } } : undefined

export const supabase = createClient(SUPABASE_URL, SUPABASE_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
  // Node 20 has no WebSocket of its own. The oldest client finds ws by itself, and never listens to one it is given.
  ...(CLIENT.endsWith('2.39') ? {} : { realtime: { transport: WebSocket } }),
  ...(global ? { global } : {}),
})
