// An app's day, in the order in which its code would go through it; prints what each step gave.
import { connect, dataOf, pause } from './client.mjs'

const FOX = { prompt: 'a fox', model_id: 'black-forest-labs/flux-schnell', width: 256, height: 256 }
const password = 'correct horse battery'
const addressOf = () => `${crypto.randomUUID()}@example.com`
const refusal = async (asked) => {
  const { error } = await asked
  return [error.status, error.message]
}
const told = {}

const app = connect()
const email = addressOf()
const signedUp = dataOf(await app.auth.signUp({ email, password, options: { data: { name: 'Ada' } } }))
told.signed_up = [signedUp.user.user_metadata.name, signedUp.session.token_type]
told.again = await refusal(connect().auth.signUp({ email, password }))
dataOf({ error: (await app.auth.signOut()).error })
told.wrong = await refusal(app.auth.signInWithPassword({ email, password: 'wrong' }))
const signedIn = dataOf(await app.auth.signInWithPassword({ email, password }))
told.same_user = signedIn.user.id === signedUp.user.id && dataOf(await app.auth.getUser()).user.email === email

const ended = async (id) => {
  for (;;) {
    const row = dataOf(await app.from('image_generations').select('*, images(*)').eq('id', id).single())
    if (['completed', 'failed', 'cancelled'].includes(row.status)) return row
    await pause(20)
  }
}
let fox
for (const prompt of ['a fox', 'an owl', 'a hare']) {
  const started = dataOf(await app.functions.invoke('start-generation', { body: { ...FOX, prompt } }))
  const row = await ended(started.generation_id)
  fox ??= row
}
const picture = await fetch(fox.images[0].public_url)
told.picture = [fox.status, fox.images.length, picture.headers.get('content-type')]

const page = async (from, to) => {
  const listed = await app.from('image_generations').select('prompt', { count: 'exact' })
    .order('created_at', { ascending: false }).range(from, to)
  return [listed.count, dataOf(listed).map((row) => row.prompt)]
}
told.first_page = await page(0, 1)
told.second_page = await page(2, 3)
told.counted = (await app.from('image_generations').select('*', { count: 'exact', head: true })).count
told.filtered = dataOf(await app.from('image_generations').select('prompt')
  .ilike('prompt', '%o%').in('status', ['completed']).not('prompt', 'eq', 'an owl')).map((row) => row.prompt)
told.none = dataOf(await app.from('image_generations').select().eq('prompt', 'a whale').maybeSingle())
const { error: missing } = await app.from('image_generations').select().eq('prompt', 'a whale').single()
told.not_one = [missing.code, missing.details]
told.embedded = dataOf(await app.from('images').select('format, image_generations!inner(prompt)')
  .eq('image_generations.prompt', 'an owl'))

told.inserted = dataOf(await app.from('image_generations').insert({ user_id: signedIn.user.id, prompt: 'a bear' })
  .select('prompt, status').single())
const forged = { user_id: crypto.randomUUID(), prompt: 'a forgery' }
told.forged = (await app.from('image_generations').insert(forged)).error.code
const jobId = dataOf(await app.rpc('enqueue_job', { p_job_type: 'generate-image', p_payload: FOX }))
const job = dataOf(await app.from('job_queue').select('job_type, created_by').eq('id', jobId).single())
told.job = [job.job_type, job.created_by === signedIn.user.id]

dataOf(await app.auth.updateUser({ data: { name: 'Grace', theme: 'dark' } }))
const { user } = dataOf(await app.auth.getUser())
told.profile = [user.user_metadata.name, user.user_metadata.theme]
const refreshed = dataOf(await app.auth.refreshSession())
told.refreshed = refreshed.session.refresh_token !== signedIn.session.refresh_token && (await page(0, 0))[0] === 5

const other = connect()
dataOf(await other.auth.signUp({ email: addressOf(), password }))
const { error: hidden } = await other.from('image_generations').select().eq('id', fox.id).single()
told.other = [
  dataOf(await other.from('image_generations').select()), dataOf(await other.from('images').select()), hidden.code,
  dataOf(await other.from('job_queue').update({ status: 'cancelled' }).eq('id', jobId).select()),
]
const anon = connect()
told.anon = (await anon.from('image_generations').select()).error.code
told.models = dataOf(await anon.from('models').select('name').limit(1)).length

const { refresh_token } = refreshed.session
dataOf({ error: (await app.auth.signOut()).error })
told.signed_out = [
  (await app.auth.getSession()).data.session, await refusal(connect().auth.refreshSession({ refresh_token })),
]
console.log(JSON.stringify(told))
