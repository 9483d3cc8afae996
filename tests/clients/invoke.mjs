// Calls read from stdin as JSON lines, each {name, options, form}; prints {data, error} for each, as an app would see them.
import { createClient } from '@supabase/supabase-js'
import { createInterface } from 'node:readline'
import WebSocket from 'ws'

const { SUPABASE_URL, SUPABASE_KEY, TOKEN } = process.env
const global = TOKEN ? { headers: { Authorization: `Bearer ${TOKEN}` } } : undefined
const supabase = createClient(SUPABASE_URL, SUPABASE_KEY, {
  auth: { persistSession: false, autoRefreshToken: false },
  realtime: { transport: WebSocket }, // node 20 has none of its own, and the client wants one
  ...(global ? { global } : {}),
})

for await (const line of createInterface({ input: process.stdin })) {
  const { name, options = {}, form } = JSON.parse(line)
  if (form) {
    options.body = new FormData()
    for (const [key, value] of Object.entries(form)) options.body.set(key, value)
  }
  const { data, error } = await supabase.functions.invoke(name, options)
  const told = error && {
    name: error.name,
    message: error.message,
    status: error.context?.status ?? null,
    body: error.name === 'FunctionsHttpError' ? await error.context.json() : null,
  }
  console.log(JSON.stringify({ data, error: told }))
}
