// Two clients, each at a gateway of its own on one database; prints what either heard of the other.
import { text } from 'node:stream/consumers'
import { createClient, options } from './client.mjs'

const { SUPABASE_URL, SUPABASE_KEY, TOKEN } = process.env
const { other, secret } = JSON.parse(await text(process.stdin))
const told = {}

async function at(url) {
  const client = createClient(url, SUPABASE_KEY, { ...options, accessToken: async () => TOKEN })
  await client.realtime.setAuth()
  return client
}
const [ann, ben] = [await at(SUPABASE_URL), await at(other)]
const joined = (channel) => new Promise((resolve) => channel.subscribe((status) => status === 'SUBSCRIBED' && resolve()))
const until = async (holds) => {
  for (let tries = 0; tries < 400 && !holds(); tries++) await new Promise((resolve) => setTimeout(resolve, 25))
}

/** A channel of both, with what each of them heard. */
async function both(name, config) {
  const heard = [[], []]
  const channels = [ann, ben].map((client, which) => client.channel(name, { config: { ...config, presence: { key: 'ab'[which] } } })
    .on('broadcast', { event: '*' }, ({ event, payload: { id: _, ...payload } }) => heard[which].push([event, payload]))
    .on('presence', { event: 'sync' }, () => {}))
  await Promise.all(channels.map(joined))
  return [...channels, heard]
}
const [mine, theirs, heard] = await both('room', {})
await until(() => {
  if (heard[1].length === 0) mine.send({ type: 'broadcast', event: 'meet', payload: {} }) // the gateways may not have met
  return heard[1].length > 0
})
await theirs.send({ type: 'broadcast', event: 'back', payload: { text: 'ünï' } })
await mine.httpSend('http', { n: 1 })
await until(() => heard[0].length > 1 && heard[1].some(([event]) => event === 'http'))
told.heard = [[...heard[0]].sort(), heard[1].filter(([event]) => event !== 'meet')]

await Promise.all([mine.track({ n: 1 }), theirs.track({ n: 2 })])
const present = () => [mine, theirs].map((channel) => Object.keys(channel.presenceState()).sort().join())
await until(() => present().every((keys) => keys === 'a,b'))
told.present = present()
await theirs.untrack()
await until(() => present().every((keys) => keys === 'a'))
told.left = present()

const [, , secrets] = await both(secret, { private: true })
await ann.rpc('say_it', { topic: secret })
await until(() => secrets.every((list) => list.length > 0))
told.secrets = secrets
process.stdout.write(JSON.stringify(told))
process.exit(0)
