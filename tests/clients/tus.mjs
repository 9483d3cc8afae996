// Files above 6 MB, as Supabase's docs tell to send them: tus-js-client, in chunks of exactly 6 MB.
import { randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { Agent } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tus from 'tus-js-client'
import { dataOf, supabase } from './client.mjs'

const { SUPABASE_URL, TOKEN } = process.env
const CHUNK = 6 * 1024 * 1024
const user = JSON.parse(Buffer.from(TOKEN.split('.')[1], 'base64url')).sub
const bucket = supabase.storage.from('source-images')
const file = randomBytes(2 * CHUNK + 1024)
// In a browser this is localStorage; resuming needs it.
const urlStorage = new tus.FileUrlStorage(join(mkdtempSync(join(tmpdir(), 'tus-')), 'urls.json'))

/** Connections of which the first that has sent so many bytes is lost, once. */
class Losing extends Agent {
  constructor(bytes) {
    super({ keepAlive: true })
    this.left = bytes
  }

  createConnection(options) {
    const socket = connect(options)
    const write = socket.write.bind(socket)
    let isLost = false
    socket.write = (data, encoding, done) => {
      const bytes = Buffer.from(data, typeof encoding === 'string' ? encoding : undefined)
      if (isLost) return false
      this.left -= bytes.length
      if (this.left > 0) return write(data, encoding, done)
      isLost = true
      write(bytes.subarray(0, this.left || undefined), () => socket.destroy(new Error('lost')))
      this.left = Infinity
      return false
    }
    return socket
  }
}

/** One upload: resolves with what it saw. `abortAt`: it is interrupted once so many bytes are there. */
function send(data, name, { abortAt, headers = {}, metadata = {}, ...options } = {}) {
  const seen = { chunks: [], offsets: [] }
  return new Promise((resolve) => {
    const upload = new tus.Upload(data, {
      endpoint: `${SUPABASE_URL}/storage/v1/upload/resumable`,
      retryDelays: [0, 20, 50, 100, 100, 100],
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
      uploadDataDuringCreation: true,
      removeFingerprintOnSuccess: true,
      metadata: {
        bucketName: 'source-images', objectName: `${user}/${name}`, contentType: 'image/png', cacheControl: '3600', ...metadata,
      },
      chunkSize: CHUNK,
      urlStorage,
      onError: (error) => resolve({
        ...seen, status: error.originalResponse?.getStatus(), error: error.originalResponse?.getBody() ?? error.message,
      }),
      onChunkComplete: (_, done) => {
        seen.chunks.push(done)
        if (done === abortAt) upload.abort().then(() => resolve({ ...seen, upload }))
      },
      onAfterResponse: (request, answer) => {
        if (request.getMethod() === 'HEAD') seen.offsets.push(Number(answer.getHeader('upload-offset')))
      },
      onSuccess: () => resolve({ ...seen, upload }),
      ...options,
    })
    upload.findPreviousUploads().then((previous) => {
      seen.previous = previous.length
      if (previous.length) upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    })
  })
}

const kept = async (name) => Buffer.from(await dataOf(await bucket.download(`${user}/${name}`)).arrayBuffer())
const offsetAt = async (url) => {
  const answer = await fetch(url, { method: 'HEAD', headers: { authorization: `Bearer ${TOKEN}`, 'tus-resumable': '1.0.0' } })
  return answer.ok ? Number(answer.headers.get('upload-offset')) : answer.status
}

const told = {}
const whole = await send(file, 'whole.png', { metadata: { metadata: JSON.stringify({ from: 'tus' }) } })
told.whole = [whole.chunks, (await kept('whole.png')).equals(file)]
const [listed] = dataOf(await bucket.list(user, { search: 'whole' }))
told.listed = [listed.metadata.size === file.length, listed.metadata.mimetype, listed.metadata.cacheControl]

const again = await send(file, 'whole.png')
told.again = [again.status >= 400, again.error.includes('The resource already exists')]
const newer = randomBytes(CHUNK + 1)
await send(newer, 'whole.png', { headers: { 'x-upsert': 'true' } })
told.upserted = (await kept('whole.png')).equals(newer)
const theirs = await send(newer, 'a.png', { metadata: { objectName: 'another/a.png' } })
told.theirs = [theirs.status >= 400, theirs.error.includes('new row violates row-level security policy')]

// The connection is lost in the middle of the second chunk: the client asks for the offset, perhaps before the server
// has read what was sent, and goes on from there.
const lost = await send(file, 'lost.png', { httpStack: new tus.DefaultHttpStack({ agent: new Losing(CHUNK + 3e6) }) })
told.lost = [lost.offsets.length > 0 && lost.offsets.every((at) => at >= CHUNK && at < 2 * CHUNK), (await kept('lost.png')).equals(file)]

// The app is closed after the first chunk; the next one finds the upload in its storage.
const closed = await send(file, 'closed.png', { abortAt: CHUNK })
const resumed = await send(file, 'closed.png')
told.resumed = [closed.chunks, resumed.previous, resumed.offsets, resumed.upload.url === closed.upload.url, (await kept('closed.png')).equals(file)]

// Terminated: gone at the server, as one that has expired. What a client may have kept of it leads to a new upload.
const ended = await send(file, 'ended.png', { abortAt: CHUNK })
await ended.upload.abort(true)
told.terminated = await offsetAt(ended.upload.url)
const anew = await send(file, 'ended.png')
told.anew = [anew.chunks, (await kept('ended.png')).equals(file)]

const names = ['a', 'b', 'c', 'd'].map((name) => `at once/${name}.png`)
const together = await Promise.all(names.map((name) => send(newer, name)))
told.together = [together.map((one) => one.error ?? null), (await Promise.all(names.map(kept))).every((one) => one.equals(newer))]
// Parts of one file side by side need the extension "concatenation", which Supabase does not have either.
const parts = await send(newer, 'parts.png', { parallelUploads: 2, metadataForPartialUploads: {} })
told.parts = parts.status >= 400

const ticket = dataOf(await bucket.createSignedUploadUrl(`${user}/signed.png`))
const signed = await send(newer, 'signed.png', {
  endpoint: `${SUPABASE_URL}/storage/v1/upload/resumable/sign`, headers: { authorization: '', 'x-signature': ticket.token },
})
told.signed = [signed.error ?? null, (await kept('signed.png')).equals(newer)]
console.log(JSON.stringify(told))
process.exit(0)
