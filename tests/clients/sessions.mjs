// A session from sign-up to sign-out, and the service role's calls; prints what each gave.
import { readFileSync } from 'node:fs'
import { supabase } from './client.mjs'

const { CLIENT = '@supabase/supabase-js', SUPABASE_URL } = process.env
const { createClient } = await import(CLIENT)
const { default: transport } = await import('ws')
const { service } = JSON.parse(readFileSync(0, 'utf8'))
const admin = createClient(SUPABASE_URL, service, {
  auth: { persistSession: false, autoRefreshToken: false },
  ...(CLIENT.endsWith('2.39') ? {} : { realtime: { transport } }),
}).auth.admin
const email = `ann${Math.random().toString(36).slice(2)}@example.test`
const password = 'correct horse battery'
const refused = ({ error }) => [error?.name, error?.status, error?.code ?? null]
const told = {}

const signedUp = await supabase.auth.signUp({ email, password, options: { data: { name: 'Ann' } } })
told.signUp = [signedUp.error, signedUp.data.user.email === email, signedUp.data.user.user_metadata.name]
told.again = refused(await supabase.auth.signUp({ email, password }))
told.weak = refused(await supabase.auth.signUp({ email: `x${email}`, password: 'short' }))
told.anonymous = refused(supabase.auth.signInAnonymously ? await supabase.auth.signInAnonymously() : {})
told.wrong = refused(await supabase.auth.signInWithPassword({ email, password: 'wrong password' }))
const signedIn = await supabase.auth.signInWithPassword({ email, password })
told.signIn = signedIn.data.user.id === signedUp.data.user.id
told.getUser = (await supabase.auth.getUser()).data.user.email === email
const refreshed = await supabase.auth.refreshSession()
told.refresh = refreshed.data.session.refresh_token !== signedIn.data.session.refresh_token
const updated = await supabase.auth.updateUser({ data: { theme: 'dark' } })
told.update = [updated.data.user.user_metadata.name, updated.data.user.user_metadata.theme]
told.same = refused(await supabase.auth.updateUser({ password }))
const kept = (await supabase.auth.getSession()).data.session.access_token
told.claims = supabase.auth.getClaims ? (await supabase.auth.getClaims(kept)).data.claims.email === email : null
told.signOut = (await supabase.auth.signOut()).error
told.gone = refused(await supabase.auth.getUser(kept))

const made = await admin.createUser({ email: `made${email}`, password, email_confirm: true, app_metadata: { plan: 'pro' } })
told.made = made.data.user.app_metadata
const listed = await admin.listUsers({ page: 1, perPage: 1 })
told.listed = [listed.data.users.length, listed.data.total, listed.data.nextPage, listed.data.lastPage]
told.changed = (await admin.updateUserById(made.data.user.id, { ban_duration: '24h' })).data.user.banned_until > made.data.user.created_at
told.banned = refused(await supabase.auth.signInWithPassword({ email: `made${email}`, password }))
told.deleted = (await admin.deleteUser(made.data.user.id)).error
told.nobody = refused(await admin.getUserById(made.data.user.id))
console.log(JSON.stringify(told))
