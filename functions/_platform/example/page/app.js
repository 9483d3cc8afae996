// The page: what the user does becomes calls (session.js), what the server tells (live.js) becomes cards.
import { PROJECT_URL } from "./config.js";
import { ENDED, follow, listen } from "./live.js";
import { api, session, signIn, signOut, signUp } from "./session.js";
const $ = (selector, within = document) => within.querySelector(selector);
const COLUMNS = "id,prompt,model,status,stage,progress,error_message,width,height,created_at,images(*)";
const ROWS = `/rest/v1/image_generations?select=${COLUMNS}&status=neq.cancelled&order=created_at.desc&limit=48`;
const MODELS = "/rest/v1/models?select=name,replicate_id,supports_source_image&retired_reason=is.null&order=name";
const DEFAULT_MODEL = "black-forest-labs/flux-krea-dev", MAX_SOURCE_BYTES = 20 * 2 ** 20;
const STAGES = { queued: "Waiting", starting: "Starting", drawing: "Drawing", storing: "Storing" };
const welcome = $("#welcome form"), composer = $("#composer"), gallery = $("#gallery"), dialog = $("#confirm");
const cards = new Map(); // a generation's id → its card, an <li>, whose `row` is what is known of it
let user = null, models, source = null, requestKey, stopListening, stopFollowing; // `models`: the promise of the list

/** Runs `work`, at most once at a time for a part of the page, and says there in words what went wrong. */
async function attempt(part, work) {
  if (part.ariaBusy === "true") return;
  part.ariaBusy = "true";
  $(".trouble", part).textContent = "";
  await work().catch(complain(part));
  part.ariaBusy = "false";
}
const complain = (part) => (error) => { $(".trouble", part).textContent = error.message; };
// --- Who is here ---
function enter(notice = "") {
  const before = user?.id;
  user = session()?.user ?? null;
  if (user && user.id === before) return; // a renewed token
  for (const stop of [stopListening, stopFollowing]) stop?.();
  for (const id of cards.keys()) forget(id);
  document.body.className = user ? "inside" : "outside";
  $("#email").textContent = user?.email ?? "";
  $(".trouble", welcome).textContent = notice;
  $(".trouble", composer).textContent = $("#news").textContent = ""; // the one before has left nothing
  if (!user) return welcome.email.focus();
  suggest("");
  choose(null);
  (models = loadModels()).catch(complain(composer));
  load();
  stopListening = listen("image_generations", heard, (connected) => {
    $("#connection").textContent = ($("#connection").dataset.live = connected) ? "Live" : "Reconnecting …";
    if (connected) load(); // what happened before is not told again
  });
}
addEventListener("session", (event) => enter(event.detail ?? ""));
$("#sign-out").addEventListener("click", signOut);
welcome.addEventListener("submit", (event) => {
  event.preventDefault();
  const { email, password } = welcome, how = welcome.mode.value === "known" ? signIn : signUp;
  attempt(welcome, () => how(email.value, password.value).then(() => welcome.reset()));
});

// --- Asking for a picture ---
async function loadModels() {
  const found = await api(MODELS), shown = (id) => id === DEFAULT_MODEL;
  composer.model.replaceChildren(...found.map(({ name, replicate_id: id }) => new Option(name, id, false, shown(id))));
  return found;
}

/** `file`: the source picture, or null for none. */
function choose(file) {
  URL.revokeObjectURL(source?.preview);
  source = file && { file, preview: URL.createObjectURL(file) };
  if (source) $("#source img").src = source.preview;
  $("#source").hidden = !source;
  requestKey = crypto.randomUUID();
}

/** Puts the source picture into the user's folder of a private bucket. Returns its address, valid for an hour. */
async function upload({ file }) {
  if (file.size > MAX_SOURCE_BYTES) throw new Error("The source picture is larger than 20 MB: choose a smaller one.");
  const path = `source-images/${user.id}/${crypto.randomUUID()}.${file.type.split("/")[1]}`;
  await api(`/storage/v1/object/${path}`, { method: "POST", body: file, headers: { "Content-Type": file.type } });
  const { signedURL } = await api(`/storage/v1/object/sign/${path}`, { json: { expiresIn: 3600 } });
  return `${PROJECT_URL}/storage/v1${signedURL}`;
}

async function draw() {
  const prompt = composer.prompt.value, [width, height] = composer.size.value.split("x").map(Number);
  const model = (await models).find(({ replicate_id }) => replicate_id === composer.model.value); // Enter may be first
  if (source && !model.supports_source_image) throw new Error(`${model.name} takes no picture: choose another model.`);
  if (source) source.url ??= await upload(source);
  const { generation_id: id } = await api("/functions/v1/start-generation", {
    headers: { "Idempotency-Key": requestKey }, // asked again after a lost answer, it starts nothing new
    json: { prompt, model_id: model.replicate_id, width, height, source_image_url: source?.url },
  });
  composer.prompt.value = "";
  choose(null);
  show({ id, prompt, width, height, status: "queued", stage: "queued", created_at: new Date().toJSON() });
  stopFollowing?.(); // one stream at a time: over HTTP/1.1 a browser opens six connections to a server
  stopFollowing = follow(id, show);
}
composer.addEventListener("submit", (event) => { event.preventDefault(); attempt(composer, draw); });
composer.addEventListener("input", () => { requestKey = crypto.randomUUID(); });
composer.prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), composer.requestSubmit();
});
composer.source.addEventListener("change", ({ target }) => { choose(target.files[0] ?? null); target.value = ""; });
$("#source button").addEventListener("click", () => { choose(null); composer.source.focus(); });
$("#empty").addEventListener("click", ({ target }) => { if (target.type === "button") suggest(target.textContent); });
const suggest = (prompt) => { composer.prompt.value = prompt; composer.prompt.focus(); };

// --- The gallery ---
async function load(filter = "") {
  const known = filter ? [] : [...cards.keys()];
  const found = await api(ROWS + filter).catch(complain(composer));
  if (!found) return;
  for (const id of known) if (!found.some((row) => row.id === id)) forget(id); // deleted while nothing was heard
  found.forEach(show);
  gallery.dataset.loaded = "yes";
}

function heard({ type, record, old_record }) {
  if (type === "DELETE") forget(old_record.id);
  else if (record.status === "completed") load(`&id=eq.${record.id}`); // with its images
  else show(record);
}

/** Shows a row, or what is new of it. Stream and socket tell the same: what comes late changes nothing. */
function show(news) {
  const old = cards.get(news.id)?.row;
  if (old && ENDED.has(old.status) && !ENDED.has(news.status)) return;
  if (news.status === "cancelled") return forget(news.id);
  const card = cards.get(news.id) ?? newCard(news);
  const row = card.row = { ...old, ...news }, { prompt, status, stage, progress, width, height } = row;
  const image = row.images?.[0], step = STAGES[stage] ?? "Working";
  card.dataset.state = ENDED.has(status) ? status : "running";
  card.style.setProperty("--ratio", (image?.width ?? width ?? 1) / (image?.height ?? height ?? 1));
  card.style.setProperty("--done", $("progress", card).value = progress ?? 0);
  $(".stage", card).textContent = progress ? `${step} · ${progress} %` : `${step} …`;
  $(".trouble", card).textContent = status === "failed" ? row.error_message : "";
  $(".facts", card).textContent = (row.model ?? "") + (image ? ` · ${image.width} × ${image.height}` : "");
  if (image && !$("a", card).href) {
    $("a", card).href = new URL(image.public_url).pathname;
    $("img", card).src = `${$("a", card).pathname.replace("/object/", "/render/image/")}?height=640`;
  }
  if (old && old.stage !== stage) $("#news").textContent = `${STAGES[stage] ?? status}: ${prompt}`; // is read out
}

function newCard({ id, prompt, created_at }) {
  const card = $("#card").content.firstElementChild.cloneNode(true), picture = $("img", card);
  $(".prompt", card).textContent = $(".prompt", card).title = prompt; // never innerHTML: a prompt is anybody's text
  $("progress", card).ariaLabel = picture.alt = prompt;
  picture.onerror = () => { picture.onerror = null; picture.src = picture.parentNode.href; }; // no thumbnail of an SVG
  for (const button of card.querySelectorAll("button")) button.ariaLabel = `${button.title}: ${prompt}`;
  const end = (only) => api(`/functions/v1/start-generation/${id}?only=${only}`, { method: "DELETE" })
    .then(() => forget(id), (error) => error.status === 409 ? load(`&id=eq.${id}`) : Promise.reject(error)); // ended
  $(".cancel", card).addEventListener("click", () => attempt(card, () => end("cancel")));
  $(".again", card).addEventListener("click", () => suggest(prompt));
  $(".delete", card).addEventListener("click", () => {
    dialog.onclose = () => { if (dialog.returnValue === "delete") attempt(card, () => end("delete")); };
    dialog.returnValue = "", dialog.showModal();
  });
  card.dataset.at = Date.parse(created_at);
  gallery.insertBefore(card, [...gallery.children].find((other) => other.dataset.at < card.dataset.at) ?? null);
  cards.set(id, card);
  return card;
}

function forget(id) {
  const card = cards.get(id), next = card?.nextElementSibling ?? card?.previousElementSibling;
  if (card?.contains(document.activeElement)) (next ? $("button:not(:disabled)", next) : composer.prompt).focus();
  card?.remove();
  cards.delete(id);
}
enter();
