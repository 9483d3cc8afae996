"use strict";

const MESSAGES = "/mailbox/api/messages";
const LOOK_MS = 1500;
const part = (id) => document.getElementById(id);

/** The newest first, as the server has them. */
let mails = [];
const read = new Set();

const chosenId = () => decodeURIComponent(location.hash.slice(1));
const addressOf = (id) => `${MESSAGES}/${encodeURIComponent(id)}`;

async function look() {
  let state;
  try {
    const response = await fetch(MESSAGES);
    if (!response.ok) throw new Error(response.statusText);
    mails = (await response.json()).messages;
    state = "";
  } catch {
    state = "The gateway does not answer. Trying again …";
  }
  showList(state);
}

function showList(trouble) {
  const wanted = part("search").value.trim().toLowerCase();
  const found = mails.filter((mail) => mail.to.includes(wanted));
  const empty = wanted ? "No mail to such an address." : "No mails yet. Sign-in links, codes, new passwords and invitations of your app appear here.";
  part("state").textContent = trouble || (found.length ? "" : empty);
  part("state").hidden = !part("state").textContent;
  part("empty").disabled = !mails.length;
  part("hint").hidden = !mails.length || !part("mail").hidden;
  const unread = mails.filter((mail) => !read.has(mail.id)).length;
  document.title = unread ? `(${unread}) Mailbox` : "Mailbox";
  const shown = JSON.stringify([found.map((mail) => [mail.id, read.has(mail.id)]), chosenId()]);
  if (part("list").dataset.shown === shown) return; // a rebuilt list would lose the keyboard's focus
  const focused = document.activeElement?.dataset?.id;
  part("list").dataset.shown = shown;
  part("list").replaceChildren(...found.map(entry));
  if (focused) part("list").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function entry(mail) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = mail.id;
  button.setAttribute("aria-current", String(mail.id === chosenId()));
  const to = element("span", "to", mail.to);
  if (!read.has(mail.id)) {
    to.classList.add("unread");
    button.append(element("span", "hidden", "New: "));
  }
  const time = element("time", "", clock(mail.created_at));
  time.dateTime = mail.created_at;
  button.append(to, time, element("span", "subject", mail.subject));
  button.addEventListener("click", () => { location.hash = mail.id; });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

async function showMail() {
  const id = chosenId();
  const response = id ? await fetch(addressOf(id)).catch(() => null) : null;
  if (id !== chosenId()) return; // another one was chosen meanwhile
  const mail = response?.ok ? await response.json() : null;
  part("mail").hidden = !mail;
  part("panes").classList.toggle("reading", Boolean(mail));
  if (mail) fill(mail);
  showList("");
}

function fill(mail) {
  read.add(mail.id);
  part("subject").textContent = mail.subject;
  part("to").textContent = mail.to;
  part("sent").textContent = new Date(mail.created_at).toLocaleString();
  part("sent").dateTime = mail.created_at;
  part("link-row").hidden = !mail.link;
  part("link").textContent = part("link").title = mail.link ?? "";
  part("open").href = mail.link ?? "";
  part("code").textContent = mail.code;
  part("text").textContent = mail.text;
  part("html").src = `${addressOf(mail.id)}/html`;
}

function view(name) {
  for (const one of ["html", "text"]) {
    part(one).hidden = one !== name;
    part(`show-${one}`).setAttribute("aria-selected", String(one === name));
  }
}

async function copy(button) {
  const text = part(button.dataset.copy).textContent;
  await navigator.clipboard.writeText(text).then(
    () => { button.textContent = "Copied"; },
    () => { getSelection().selectAllChildren(part(button.dataset.copy)); },
  );
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

async function remove(address) {
  await fetch(address, { method: "DELETE" });
  location.hash = "";
  await look();
}

part("search").addEventListener("input", () => showList(""));
part("empty").addEventListener("click", () => remove(MESSAGES));
part("delete").addEventListener("click", () => remove(addressOf(chosenId())));
part("back").addEventListener("click", () => { location.hash = ""; });
part("show-html").addEventListener("click", () => view("html"));
part("show-text").addEventListener("click", () => view("text"));
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button));
}
addEventListener("hashchange", showMail);

look().then(showMail);
setInterval(() => { if (!document.hidden) look(); }, LOOK_MS);
