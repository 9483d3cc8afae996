// The app's channels: joins them, says so on stdout, prints each change until stdin ends.
import { createInterface } from 'node:readline'
import { supabase } from './client.mjs'

const told = (what) => process.stdout.write(`${JSON.stringify(what)}\n`)
const { generation, job, user } = JSON.parse(process.env.CALL)
await supabase.realtime.setAuth(process.env.TOKEN)

const CHANNELS = [
  [`generation:${generation}`, { event: 'UPDATE', schema: 'public', table: 'image_generations', filter: `id=eq.${generation}` }],
  [`job:${job}`, { event: 'UPDATE', schema: 'public', table: 'job_queue', filter: `id=eq.${job}` }],
  [`user-jobs:${user}`, { event: '*', schema: 'public', table: 'job_queue', filter: `created_by=eq.${user}` }],
]
const joined = CHANNELS.map(([name, filter]) => new Promise((resolve) => {
  supabase.channel(name)
    .on('postgres_changes', filter, (payload) => told([name, payload.eventType, payload.new.status, payload.old, payload.errors]))
    .subscribe((status, error) => (status === 'SUBSCRIBED' ? resolve() : status === 'CLOSED' || told([name, status, String(error)])))
}))
const chat = supabase.channel('chat', { config: { broadcast: { self: true, ack: true }, presence: { key: 'me' } } })
chat.on('broadcast', { event: 'shout' }, ({ payload }) => told(['chat', 'shout', payload]))
chat.on('presence', { event: 'sync' }, () => told(['chat', 'here', Object.keys(chat.presenceState())]))
joined.push(new Promise((resolve) => chat.subscribe((status) => status === 'SUBSCRIBED' && resolve())))
await Promise.all(joined)
told(['sent', await chat.send({ type: 'broadcast', event: 'shout', payload: { loud: 1 } })])
told(['tracked', await chat.track({ name: 'Ann' })])
told(['joined'])
for await (const _ of createInterface({ input: process.stdin }));
await supabase.removeAllChannels()
told(['left'])
process.exit(0)
