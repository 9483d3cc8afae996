// Mailed links and codes, read from the mailbox as a person reads them; prints what each call gave.
import { readFileSync } from 'node:fs'
import { supabase } from './client.mjs'

const { CLIENT = '@supabase/supabase-js', SUPABASE_URL, SUPABASE_KEY } = process.env
const { createClient } = await import(CLIENT)
const { default: transport } = await import('ws')
const { service } = JSON.parse(readFileSync(0, 'utf8'))
const auth = { persistSession: false, autoRefreshToken: false }
const told = {}
const kept = new Map()
const storage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => void kept.set(key, value),
  removeItem: (key) => void kept.delete(key),
}
const made = (key, more) => createClient(SUPABASE_URL, key, {
  auth: { ...auth, ...more },
  ...(CLIENT.endsWith('2.39') ? {} : { realtime: { transport } }),
})
const address = (name) => `${name}${Math.random().toString(36).slice(2)}@example.test`
const newest = async (to) => {
  const answer = await fetch(`${SUPABASE_URL}/mailbox/api/messages?to=${to}`)
  return (await answer.json()).messages[0]
}
const outcome = ({ data, error }) => (error ? [error.name, error.status, error.code ?? null] : data.session && 'signed in')

const ann = address('ann')
await supabase.auth.signInWithOtp({ email: ann })
const mail = await newest(ann)
const byCode = { type: 'email', email: ann, token: mail.code }
told.code = outcome(await supabase.auth.verifyOtp(byCode))
told.used = outcome(await supabase.auth.verifyOtp(byCode))

const ben = address('ben')
await supabase.auth.signInWithOtp({ email: ben })
const token_hash = new URL((await newest(ben)).link).searchParams.get('token')
told.hash = outcome(await supabase.auth.verifyOtp({ type: 'email', token_hash }))
const other = address('other')
await supabase.auth.updateUser({ email: other })
await supabase.auth.verifyOtp({ type: 'email_change', email: other, token: (await newest(other)).code })
told.changed = (await supabase.auth.getUser()).data.user.email === other

const app = made(SUPABASE_KEY, { flowType: 'pkce', storage, persistSession: true })
await app.auth.resetPasswordForEmail(other, { redirectTo: 'http://127.0.0.1:3000/account' })
const back = await fetch((await newest(other)).link, { redirect: 'manual' })
const code = new URL(back.headers.get('location')).searchParams.get('code')
told.pkce = outcome(await app.auth.exchangeCodeForSession(code))

const admin = made(service).auth.admin
const guest = address('guest')
const invited = await admin.inviteUserByEmail(guest, { data: { team: 'blue' } })
told.invited = invited.data.user?.email === guest && invited.data.user.user_metadata.team === 'blue'
const link = await admin.generateLink({ type: 'magiclink', email: ann })
told.link = link.data.properties?.verification_type ?? link.error
told.unknown = outcome(await supabase.auth.signInWithOtp({ email: address('new'), options: { shouldCreateUser: false } }))
console.log(JSON.stringify(told))
process.exit(0)
