// The field variant's app: what its own helper does with supabase-js for a signed-in user; prints what it read.
import { dataOf, pause, supabase } from './client.mjs'

const FOX = { prompt: 'a fox', model_id: 'black-forest-labs/flux-schnell', width: 256, height: 256 }
const READ = [
  'id', 'job_type', 'payload', 'status', 'attempts', 'max_attempts', 'scheduled_at', 'started_at', 'completed_at',
  'error_message', 'error_details', 'created_by', 'priority', 'created_at', 'updated_at',
]
const TERMINAL = ['completed', 'failed', 'cancelled']

async function enqueueJob({ payload, priority = 0, scheduledAt = new Date(), maxAttempts = 3 }) {
  return dataOf(await supabase.rpc('enqueue_job', {
    p_job_type: 'generate-image',
    p_payload: payload,
    p_priority: priority,
    p_scheduled_at: scheduledAt.toISOString(),
    p_max_attempts: maxAttempts,
  }))
}

/** The job, or null: PGRST116 means that there is none. */
async function getJob(id) {
  const { data, error } = await supabase.from('job_queue').select('*').eq('id', id).single()
  if (error?.code === 'PGRST116') return null
  return dataOf({ data, error })
}

async function listJobs({ status, limit, offset }) {
  let query = supabase.from('job_queue').select('*').order('created_at', { ascending: false })
  if (status) query = query.eq('status', status)
  if (limit) query = query.limit(limit)
  if (offset) query = query.range(offset, offset + (limit ?? 10) - 1)
  return dataOf(await query)
}

async function cancelJob(id) {
  const { error } = await supabase.from('job_queue')
    .update({ status: 'cancelled', updated_at: new Date().toISOString() }).eq('id', id).eq('status', 'pending')
  dataOf({ error })
}

async function queueStats(jobType) {
  const counts = {}
  for (const row of dataOf(await supabase.from('queue_health').select('*'))) {
    if (row.job_type === jobType) counts[row.status] = (counts[row.status] ?? 0) + row.count
  }
  return counts
}

async function until(read) {
  for (;;) {
    const row = await read()
    if (TERMINAL.includes(row.status)) return row
    await pause(20) // the app's own pauses are of two seconds
  }
}

const told = {}
const later = new Date(Date.now() + 3600e3)
const waiting = await enqueueJob({ payload: FOX, scheduledAt: later, maxAttempts: 2 })
const job = await getJob(waiting)
told.columns = READ.filter((name) => !(name in job))
told.job = [job.job_type, job.status, job.attempts, job.max_attempts, job.priority, job.payload.prompt]
told.scheduled = new Date(job.scheduled_at).getTime() === later.getTime()
told.unknown = await getJob(crypto.randomUUID())

const started = dataOf(await supabase.functions.invoke('start-generation', { body: FOX }))
told.started = [started.success, typeof started.generation_id, typeof started.job_id, started.error ?? null]
const done = await until(() => getJob(started.job_id))
told.done = [done.status, done.attempts, done.error_message, done.error_details]
const read = () => supabase.from('image_generations').select('*').eq('id', started.generation_id).single()
told.generation = (await until(async () => dataOf(await read()))).status

told.before = await queueStats('generate-image')
await cancelJob(waiting)
await cancelJob(started.job_id) // completed: no row is pending, and nothing happens
told.cancelled = [(await getJob(waiting)).status, (await getJob(started.job_id)).status]
told.after = await queueStats('generate-image')
told.listed = [
  (await listJobs({ status: 'cancelled' })).map((row) => row.id === waiting),
  (await listJobs({ limit: 1, offset: 1 })).length,
  (await listJobs({ limit: 2 })).map((row) => row.created_at).every((at, i, all) => i === 0 || at <= all[i - 1]),
]
told.failed = dataOf(await supabase.from('failed_jobs_recent').select('*'))
console.log(JSON.stringify(told))
