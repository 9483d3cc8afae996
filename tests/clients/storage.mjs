// What storage-js has beside the day of an app (files.mjs): every other method, as the service role; prints what each gave.
import { connect, dataOf } from './client.mjs'

const isOldest = process.env.CLIENT.endsWith('2.39')
const storage = connect(process.env.TOKEN).storage
const told = {}
const refusal = async (asked) => (await asked).error.message
const unserved = (...asked) => Promise.all(asked.map(async (one) => {
  const { error } = await one
  return [error.status, /^Route .* not found$/.test(error.message)]
}))
const names = (list) => list.map((one) => one.name).sort()
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mN4kKCAFTEMLQkAksZYAaMB5tAAAAAASUVORK5CYII=', 'base64')
const picture = new Blob([png], { type: 'image/png' })

// Buckets.
told.created = dataOf(await storage.createBucket('a', { public: false, fileSizeLimit: 1000, allowedMimeTypes: ['image/png', 'text/*'] }))
dataOf(await storage.createBucket('b', { public: true }))
told.twice = await refusal(storage.createBucket('a'))
const { id, public: isPublic, file_size_limit, allowed_mime_types } = dataOf(await storage.getBucket('a'))
told.got = { id, isPublic, file_size_limit, allowed_mime_types }
told.listed = names(dataOf(await storage.listBuckets()))
told.updated = dataOf(await storage.updateBucket('b', { public: true, fileSizeLimit: 100 }))
told.no_bucket = await refusal(storage.getBucket('none'))
const a = storage.from('a')
const b = storage.from('b')
told.too_large = await refusal(a.upload('large.png', new Blob([new Uint8Array(1025)], { type: 'image/png' })))
told.bad_type = await refusal(a.upload('a.js', new Blob(['x'], { type: 'application/javascript' })))
told.lost_bucket = await refusal(storage.from('none').upload('a.png', picture))

// Bodies that upload takes.
const form = new FormData()
form.append('cacheControl', '60')
form.append('', picture, 'p.png')
const stream = new ReadableStream({ start(it) { it.enqueue(new Uint8Array(png)); it.close() } })
const bodies = { blob: picture, buffer: png, array: new Uint8Array(png).buffer, form, stream, text: 'some text' }
told.bodies = {}
for (const [name, body] of Object.entries(bodies)) {
  const contentType = name === 'text' ? 'text/plain' : 'image/png'
  const { error } = await a.upload(`bodies/${name}`, body, { contentType, duplex: 'half' })
  told.bodies[name] = error?.message ?? dataOf(await a.download(`bodies/${name}`)).type
}
told.bad_key = await refusal(a.upload('ünï.png', picture))

// Reading: what it is, whether it is there, a smaller one, links.
dataOf(await a.upload('folder/p.png', picture, { metadata: { by: 'Ann' }, cacheControl: '60' }))
if (a.info) {
  const info = dataOf(await a.info('folder/p.png'))
  told.info = [info.size, info.contentType, info.cacheControl, info.metadata, info.bucketId, info.name]
  told.exists = [(await a.exists('folder/p.png')).data, (await a.exists('none.png')).data]
  told.no_info = await refusal(a.info('none.png'))
}
told.small = dataOf(await a.download('folder/p.png', { transform: { width: 4, height: 4, resize: 'contain', quality: 50, format: 'origin' } })).type
const signed = dataOf(await a.createSignedUrl('folder/p.png', 60, { transform: { width: 4, height: 4 } })).signedUrl
told.signed_small = (await fetch(signed)).headers.get('content-type')
told.no_link = await refusal(a.createSignedUrl('none.png', 60))
dataOf(await b.upload('p.png', picture))
const links = [b.getPublicUrl('p.png'), b.getPublicUrl('p.png', { download: 'q.png' }), b.getPublicUrl('p.png', { transform: { width: 4 } })]
told.public = await Promise.all(links.map(async ({ data }) => {
  const answer = await fetch(data.publicUrl)
  return [answer.status, answer.headers.get('content-disposition')]
}))
const download = b.download('p.png')
if (download.asStream) {
  const reader = dataOf(await download.asStream()).getReader()
  told.stream = (await reader.read()).value.byteLength
}
told.not_public = (await fetch(a.getPublicUrl('folder/p.png').data.publicUrl)).status

// Other buckets.
if (!isOldest) {
  told.copied = (await a.copy('folder/p.png', 'copy.png', { destinationBucket: 'b' })).error
  told.moved = (await a.move('bodies/blob', 'moved.png', { destinationBucket: 'b' })).error
  told.in_b = names(dataOf(await b.list()))
}
told.no_source = await refusal(a.move('none.png', 'x.png'))
if (a.listV2) {
  const page = dataOf(await a.listV2({ prefix: '', with_delimiter: true, limit: 1 }))
  const next = dataOf(await a.listV2({ prefix: '', with_delimiter: true, limit: 9, cursor: page.nextCursor }))
  told.pages = [page.hasNext, [...page.folders, ...next.folders].map((one) => one.name), next.hasNext]
  told.flat = dataOf(await a.listV2({ prefix: 'folder/' })).objects.map((one) => one.name)
}

// A ticket for an upload: of one path, and of a new object unless it says otherwise.
const ticket = dataOf(await a.createSignedUploadUrl('ticket.png'))
told.ticket = [
  (await a.uploadToSignedUrl(ticket.path, ticket.token, picture)).error,
  await refusal(a.uploadToSignedUrl(ticket.path, ticket.token, picture)),
  Boolean(await refusal(a.uploadToSignedUrl('other.png', ticket.token, picture))),
]
if (!isOldest) {
  const again = dataOf(await a.createSignedUploadUrl('ticket.png', { upsert: true }))
  told.upsert_ticket = (await a.uploadToSignedUrl(again.path, again.token, picture)).error
}

// What Storage has beside files is not served, and says so.
if (a.purgeCache) told.purged = await unserved(a.purgeCache('folder/p.png'), storage.purgeBucketCache('a'))
if (storage.getBucketLifecycle) told.lifecycle = await unserved(storage.getBucketLifecycle('a'))
if (storage.vectors) told.vectors = await unserved(storage.vectors.createBucket('v'))
if (storage.analytics) told.analytics = await unserved(storage.analytics.createBucket('v'))

told.full = await refusal(storage.deleteBucket('a'))
told.emptied = dataOf(await storage.emptyBucket('a')).message
told.deleted = dataOf(await storage.deleteBucket('a')).message
told.left = names(dataOf(await storage.listBuckets()))
console.log(JSON.stringify(told))
process.exit(0)
