// An app in a browser, on another origin than the gateway's. The test calls these functions in turn; each returns what
// its calls gave. `supabase` and `tus` are the packages' own builds for browsers.
const { url, key } = Object.fromEntries(new URLSearchParams(location.search))
const client = supabase.createClient(url, key)
const bucket = client.storage.from('source-images')

function dataOf({ data, error }) {
  if (error) throw new Error(`${error.name}: ${error.message} ${JSON.stringify(error)}`)
  return data
}

async function userId() {
  return dataOf(await client.auth.getSession()).session.user.id
}

/** A PNG that does not compress: noise of size × size pixels, four bytes each. */
async function noise(size) {
  const canvas = new OffscreenCanvas(size, size)
  const context = canvas.getContext('2d')
  const image = context.createImageData(size, size)
  for (let at = 0; at < image.data.length; at += 65536) {
    crypto.getRandomValues(image.data.subarray(at, at + 65536))
  }
  context.putImageData(image, 0, 0)
  return canvas.convertToBlob({ type: 'image/png' })
}

/** The size in pixels of an <img>, and whether a canvas may read it (crossorigin). */
async function shown(src, crossOrigin) {
  const image = new Image()
  if (crossOrigin) image.crossOrigin = 'anonymous'
  image.src = src
  await image.decode()
  document.body.append(image)
  const context = new OffscreenCanvas(1, 1).getContext('2d')
  context.drawImage(image, 0, 0)
  let isReadable = true
  try {
    context.getImageData(0, 0, 1, 1)
  } catch {
    isReadable = false
  }
  return [image.naturalWidth, image.naturalHeight, isReadable]
}

/** What the server said of a refused call of a function. */
async function refusal(name, body, headers = {}) {
  const { error } = await client.functions.invoke(name, { body, headers })
  const answer = error.context
  return [error.name, answer.status, (await answer.json()).code, answer.headers.has('x-request-id')]
}

async function signUp(email, password) {
  const { user, session } = dataOf(await client.auth.signUp({ email, password }))
  return [user.email, session.token_type]
}

async function uploadSource() {
  const path = `${await userId()}/a folder/source.png`
  dataOf(await bucket.upload(path, await noise(64), { contentType: 'image/png', cacheControl: '60', metadata: { a: '1' } }))
  const { error } = await bucket.upload(path, await noise(8))
  const signed = dataOf(await bucket.createSignedUrl(path, 60)).signedUrl
  const fetched = await fetch(signed)
  const part = await fetch(signed, { headers: { Range: 'bytes=0-7' } })
  const small = dataOf(await bucket.createSignedUrl(path, 60, { transform: { width: 16, height: 16 } })).signedUrl
  const info = bucket.info ? dataOf(await bucket.info(path)) : null
  return {
    again: error.message,
    fetched: [fetched.status, fetched.headers.get('content-type'), fetched.headers.has('etag')],
    part: [part.status, part.headers.get('content-range').replace(/\d+$/, 'N'), (await part.arrayBuffer()).byteLength],
    shown: [await shown(signed), await shown(signed, true), await shown(small, true)],
    downloaded: dataOf(await bucket.download(path)).size === Number(fetched.headers.get('content-length')),
    thumbnail: dataOf(await bucket.download(path, { transform: { width: 16, height: 16 } })).type,
    info: info?.metadata ?? { a: '1' }, // the oldest client has no info, and sends no metadata
  }
}

const subscribed = (channel) => new Promise((resolve, reject) => {
  channel.subscribe((status, error) => {
    if (status === 'SUBSCRIBED') resolve(channel)
    if (status === 'CHANNEL_ERROR' || status === 'TIMED_OUT') reject(error ?? new Error(status))
  })
})

/** A picture, followed by changes of its row; a second client hears of each step by broadcast. */
async function makePicture() {
  const user = await userId()
  const heard = []
  const steps = []
  const other = supabase.createClient(url, key, { auth: { persistSession: false, storageKey: 'other' } })
  let wasTold
  const ended = new Promise((resolve) => { wasTold = resolve })
  await subscribed(other.channel(`progress:${user}`).on('broadcast', { event: 'step' }, ({ payload }) => {
    heard.push(payload.status)
    if (payload.status === 'completed') wasTold()
  }))
  const progress = await subscribed(client.channel(`progress:${user}`, { config: { broadcast: { ack: true } } }))
  const changes = client.channel('my pictures').on('postgres_changes',
    { event: '*', schema: 'public', table: 'image_generations', filter: `user_id=eq.${user}` },
    ({ new: row }) => {
      steps.push(row.status)
      progress.send({ type: 'broadcast', event: 'step', payload: { id: row.id, status: row.status } })
    })
  await subscribed(changes)
  const signed = dataOf(await bucket.createSignedUrl(`${user}/a folder/source.png`, 600)).signedUrl
  const started = dataOf(await client.functions.invoke('start-generation', {
    body: { prompt: 'a fox', model_id: 'black-forest-labs/flux-kontext-pro', source_image_url: signed },
  }))
  await ended
  await Promise.all([client.removeAllChannels(), other.removeAllChannels()])
  // Several changes may have one status: progress is a column of its own.
  return [steps, heard].map((statuses) => [...new Set([started.status, ...statuses])])
}

async function gallery() {
  const found = await client.from('image_generations').select('id, status, images(*)', { count: 'exact' })
    .order('created_at', { ascending: false }).range(0, 9)
  const [row] = dataOf(found)
  const [image] = row.images
  const pictures = client.storage.from(image.storage_bucket ?? 'generated-images')
  const thumbnail = pictures.getPublicUrl(image.storage_path, { transform: { width: 64, height: 64 } }).data.publicUrl
  const missing = await client.from('image_generations').select().eq('id', crypto.randomUUID()).single()
  return {
    count: found.count,
    row: [row.status, row.images.length],
    picture: (await shown(image.public_url, true))[2],
    thumbnail: await shown(thumbnail, true),
    missing: missing.error.code,
  }
}

async function refusals() {
  return [
    await refusal('start-generation', { prompt: '' }),
    await refusal('start-generation', { prompt: 'a fox' }, { Authorization: 'Bearer x.y.z', 'x-region': 'eu-west-1' }),
    await refusal('unknown', {}),
  ]
}

/** A resumable upload; the first attempt is aborted after a chunk, the second finds it and goes on. */
async function uploadLarge() {
  const user = await userId()
  const file = new File([await noise(1500)], 'large.png', { type: 'image/png' })
  const { access_token } = dataOf(await client.auth.getSession()).session
  const chunk = 6 * 1024 * 1024
  const offsets = []
  const attempt = (isFirst) => new Promise((resolve, reject) => {
    const upload = new tus.Upload(file, {
      endpoint: `${url}/storage/v1/upload/resumable`,
      retryDelays: null,
      headers: { authorization: `Bearer ${access_token}`, 'x-upsert': 'true' },
      uploadDataDuringCreation: true,
      removeFingerprintOnSuccess: true,
      metadata: { bucketName: 'source-images', objectName: `${user}/large.png`, contentType: 'image/png', cacheControl: '3600' },
      chunkSize: chunk,
      onError: reject,
      onChunkComplete: async (size, done, all) => {
        offsets.push(done === all ? 'all' : done)
        if (isFirst) {
          await upload.abort()
          resolve()
        }
      },
      onSuccess: () => resolve(upload.url),
    })
    upload.findPreviousUploads().then(([previous]) => {
      if (previous) upload.resumeFromPreviousUpload(previous)
      if (!isFirst && !previous) reject(new Error('no previous upload'))
      upload.start()
    })
  })
  await attempt(true)
  await attempt(false)
  const options = await fetch(`${url}/storage/v1/upload/resumable`, { method: 'OPTIONS' })
  const kept = dataOf(await bucket.download(`${user}/large.png`))
  return {
    offsets,
    equal: kept.size === file.size && kept.size > chunk,
    tus: ['tus-version', 'tus-extension', 'tus-max-size'].map((name) => options.headers.get(name)),
  }
}

async function remove() {
  const user = await userId()
  const removed = dataOf(await bucket.remove([`${user}/large.png`, `${user}/a folder/source.png`]))
  const [{ id }] = dataOf(await client.from('image_generations').select('id'))
  const deleted = dataOf(await client.functions.invoke(`start-generation/${id}`, { method: 'DELETE' }))
  const left = await client.from('image_generations').select('*', { count: 'exact', head: true })
  return { removed: removed.length, deleted: deleted.status, left: left.count }
}

async function refresh() {
  const before = dataOf(await client.auth.getSession()).session
  const { session } = dataOf(await client.auth.refreshSession())
  return [session.refresh_token !== before.refresh_token, dataOf(await client.auth.getUser()).user.id === before.user.id]
}

async function signOut() {
  const { error } = await client.auth.signOut()
  return [error, dataOf(await client.auth.getSession()).session]
}
