// Calls read from stdin as JSON lines, each {name, options, form}; prints {data, error} for each, as an app would see them.
import { createInterface } from 'node:readline'
import { supabase } from './client.mjs'

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
