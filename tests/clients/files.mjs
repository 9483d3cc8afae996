// What an app does with files, as its user; prints what each call gave it.
import { supabase } from './client.mjs'

const told = {}
const user = JSON.parse(Buffer.from(process.env.TOKEN.split('.')[1], 'base64url')).sub
const bucket = supabase.storage.from('source-images')
const path = `${user}/a folder/a.png`
const blob = (text) => new Blob([text], { type: 'image/png' })

const uploaded = await bucket.upload(path, blob('one'), { cacheControl: '60' })
told.uploaded = uploaded.error?.message ?? uploaded.data.path === path
told.again = (await bucket.upload(path, blob('two'))).error?.message
told.upserted = (await bucket.upload(path, blob('two'), { upsert: true })).error
told.updated = (await bucket.update(path, blob('three'))).error
told.theirs = (await bucket.upload('another/a.png', blob('x'))).error?.message
told.downloaded = await (await bucket.download(path)).data.text()
told.missing = (await bucket.download(`${user}/missing.png`)).error !== null

const list = await bucket.list(user)
told.folders = list.data.map((one) => [one.name, one.id])
const inside = await bucket.list(`${user}/a folder`, { limit: 10, sortBy: { column: 'created_at', order: 'desc' } })
told.listed = inside.data.map((one) => [one.name, one.metadata.size, one.metadata.mimetype])

const signed = await bucket.createSignedUrl(path, 60, { download: 'b.png' })
const answer = await fetch(signed.data.signedUrl)
told.signed = [await answer.text(), answer.headers.get('content-disposition')]
const many = await bucket.createSignedUrls([path, 'none'], 60)
told.many = many.data.map((one) => [one.error, Boolean(one.signedUrl)])

const ticket = await bucket.createSignedUploadUrl(`${user}/b.png`)
told.ticket = (await bucket.uploadToSignedUrl(ticket.data.path, ticket.data.token, blob('four'))).error
told.copied = (await bucket.copy(`${user}/b.png`, `${user}/c.png`)).error
told.moved = (await bucket.move(`${user}/c.png`, `${user}/d.png`)).error
const removed = await bucket.remove([path, `${user}/b.png`, `${user}/d.png`])
told.removed = removed.data.map((one) => one.name.replace(user, '')).sort()
told.buckets = (await supabase.storage.listBuckets()).data
console.log(JSON.stringify(told))
process.exit(0)
