// What realtime-js has beside the channels of an app (realtime.mjs); prints what each call gave.
import { text } from 'node:stream/consumers'
import WebSocket from 'ws'
import { CLIENT, connect, createClient, options } from './client.mjs'

const { SUPABASE_URL, SUPABASE_KEY, TOKEN } = process.env
const user = JSON.parse(Buffer.from(TOKEN.split('.')[1], 'base64url')).sub
const isOldest = CLIENT.endsWith('2.39')
const told = {}

/** A client whose token comes from a callback, as with an auth service of one's own; the oldest is given the token. */
async function signedIn() {
  const sockets = []
  class Transport extends WebSocket {
    constructor(...given) {
      super(...given)
      sockets.push(this)
    }
  }
  const client = isOldest
    ? connect(TOKEN)
    : createClient(SUPABASE_URL, SUPABASE_KEY, { ...options, realtime: { transport: Transport }, accessToken: async () => TOKEN })
  await client.realtime.setAuth(isOldest ? TOKEN : undefined) // before the first channel: else it may join without
  return [client, () => (isOldest ? client.realtime.conn : sockets.at(-1))]
}
const [ann, socketOf] = await signedIn()
const [ben] = await signedIn()

/** Resolves with the first status of a subscription, and its error. */
const joined = (channel) => new Promise((resolve) => channel.subscribe((status, error) => resolve([status, error?.message ?? null])))
/** A list of what arrives, and a promise of its first `count`. */
function heard() {
  const list = []
  const waiting = []
  return {
    add: (one) => {
      list.push(one)
      for (const [count, resolve] of waiting) if (list.length >= count) resolve(list.slice(0, count))
    },
    first: (count) => new Promise((resolve) => {
      waiting.push([count, resolve])
      if (list.length >= count) resolve(list.slice(0, count))
    }),
  }
}

// Broadcast: to the others, by frames and, before the channel is joined, by HTTP; bytes as they are.
const room = ben.channel('room')
const shouts = heard()
room.on('broadcast', { event: '*' }, ({ event, payload }) => {
  shouts.add([event, payload instanceof ArrayBuffer ? ['bytes', ...new Uint8Array(payload)] : payload])
})
told.joined = await joined(room)
const mine = ann.channel('room')
told.by_http = await mine.send({ type: 'broadcast', event: 'http', payload: { n: 1 } })
await shouts.first(1)
await joined(mine)
told.sent = await mine.send({ type: 'broadcast', event: 'frame', payload: { text: 'ünï' } })
await shouts.first(2)
if (!isOldest) {
  await mine.send({ type: 'broadcast', event: 'bytes', payload: new Uint8Array([0, 1, 255]).buffer })
  await shouts.first(3)
}
told.shouts = await shouts.first(isOldest ? 2 : 3)

// Presence: two clients see each other come and go.
const seats = ann.channel('seats', { config: { presence: { key: 'ann' } } })
const moves = heard()
seats.on('presence', { event: 'join' }, ({ key, newPresences }) => moves.add(['join', key, newPresences[0].at]))
seats.on('presence', { event: 'leave' }, ({ key, leftPresences }) => moves.add(['leave', key, leftPresences[0].at]))
await joined(seats)
await seats.track({ at: 1 })
await moves.first(1)
const theirs = ben.channel('seats', { config: { presence: { key: 'ben' } } })
theirs.on('presence', { event: 'sync' }, () => {})
await joined(theirs)
await theirs.track({ at: 2 })
await moves.first(2)
told.present = Object.keys(seats.presenceState()).sort()
await theirs.untrack()
await moves.first(3)
await theirs.track({ at: 3 })
await moves.first(4)
told.removed = await ben.removeChannel(theirs)
told.moves = await moves.first(5)

// Private channels: the policies on realtime.messages decide. The oldest client has none.
if (!isOldest) {
  const own = ann.channel(`own:${user}`, { config: { private: true, broadcast: { self: true, ack: true } } })
  const secrets = heard()
  own.on('broadcast', { event: 'secret' }, ({ payload }) => secrets.add(payload))
  told.private = await joined(own)
  told.private_sent = await own.send({ type: 'broadcast', event: 'secret', payload: { n: 1 } })
  told.secrets = await secrets.first(1)
  const another = ann.channel('own:another', { config: { private: true } })
  const [status, reason] = await joined(another)
  told.refused = [status, /You do not have permissions to read from this Channel topic: own:another/.test(reason)]
  await ann.removeChannel(another)
}

// Changes: each kind of event, and what `system` says.
const rows = ann.channel('rows')
const changes = heard()
const system = heard()
const table = { schema: 'public', table: 'image_generations' }
rows.on('system', {}, ({ extension, status, message }) => system.add([extension, status, message]))
for (const event of ['INSERT', 'UPDATE', 'DELETE']) {
  rows.on('postgres_changes', { event, ...table, filter: event === 'DELETE' ? undefined : `user_id=eq.${user}` },
    (change) => changes.add([change.eventType, change.new.prompt ?? null, Object.keys(change.old), typeof change.commit_timestamp]))
}
await joined(rows)
const { data: row } = await ann.from('image_generations').insert({ user_id: user, prompt: 'a bear' }).select('id').single()
await changes.first(1)
const service = connect(JSON.parse(await text(process.stdin)))
await service.from('image_generations').update({ prompt: 'a wolf' }).eq('id', row.id)
await changes.first(2)
await service.from('image_generations').delete().eq('id', row.id)
told.changes = await changes.first(3)
told.system = await system.first(1)

// A lost connection: the client comes back by itself, and its channels with it.
const back = new Promise((resolve) => mine.on('broadcast', { event: 'back' }, resolve))
const before = socketOf()
before.terminate()
const calling = setInterval(() => room.send({ type: 'broadcast', event: 'back', payload: {} }), 100)
await back
clearInterval(calling)
told.back = socketOf() !== before

told.unsubscribed = await mine.unsubscribe()
told.all = [(await ann.removeAllChannels()).every((one) => one === 'ok'), ann.getChannels().length]
console.log(JSON.stringify(told))
process.exit(0)
