// One app that uses every service of its project; prints what each call gave it.
import { supabase } from './client.mjs'

const told = {}
const signedIn = await supabase.auth.signInWithPassword({ email: 'a@example.com', password: 'secret' })
told.user = signedIn.data.user?.id ?? signedIn.error.message

const rows = await supabase.from('rows').select('id, images(*)').eq('id', 7).single()
told.row = rows.data ?? rows.error
told.missing = (await supabase.from('missing').select().single()).error.code

const bucket = supabase.storage.from('pictures')
const uploaded = await bucket.upload('a folder/a.png', new Blob(['picture']), { contentType: 'image/png', upsert: true })
told.uploaded = uploaded.data?.path ?? uploaded.error
const downloaded = await bucket.download('a folder/a.png')
told.downloaded = await downloaded.data?.text()
const signed = await bucket.createSignedUrl('a folder/a.png', 60)
told.signed = await (await fetch(signed.data.signedUrl)).text()

told.started = (await supabase.functions.invoke('start-generation', {
  body: { prompt: 'a cat', model_id: 'black-forest-labs/flux-schnell' },
})).data?.status

told.heard = await new Promise((resolve) => {
  const channel = supabase.channel('generation:7')
  channel
    .on('broadcast', { event: 'news' }, ({ payload }) => resolve(payload.text))
    .subscribe((status) => {
      if (status === 'SUBSCRIBED') channel.send({ type: 'broadcast', event: 'ask', payload: {} })
      if (status === 'CHANNEL_ERROR' || status === 'TIMED_OUT') resolve(status)
    })
})
await supabase.removeAllChannels()
console.log(JSON.stringify(told))
process.exit(0)
