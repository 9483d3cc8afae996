// The parts of a page that change are fetched again and put in their places; without this file a reload does the same.
//   <section id="…" data-live="5">          fetched again each 5 seconds while the page is looked at
//   <main data-events="address">            … and whenever that event stream says "changed"
//   <form data-submit-on-change>            a filter that needs no button
const SLOW_S = 30;
let fetching = false;

const parts = () => [...document.querySelectorAll("[data-live][id]")];

// Not under the reader's hands: a part with the focus, or with a box that is ticked, stays as it is.
const inUse = (part) => part.contains(document.activeElement) || part.querySelector(":scope input:checked") !== null;

async function refresh() {
  if (fetching || document.hidden || parts().length === 0) return;
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected || answer.status === 401) {
      location.reload(); // the session is over
      return;
    }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      if (!next || inUse(part) || next.outerHTML === part.outerHTML) continue;
      // The element itself stays: a live region that is replaced is not read out.
      part.className = next.className;
      part.replaceChildren(...next.childNodes);
    }
  } catch {
    // The network is away: the next turn tries again.
  } finally {
    fetching = false;
  }
}

function follow(address) {
  const stream = new EventSource(address);
  stream.addEventListener("changed", refresh);
  stream.addEventListener("ended", () => { stream.close(); refresh(); });
}

const seconds = Math.min(SLOW_S, ...parts().map((part) => Number(part.dataset.live) || SLOW_S));
setInterval(refresh, seconds * 1000);
document.addEventListener("visibilitychange", refresh);
const events = document.querySelector("[data-events]");
if (events) follow(events.dataset.events);
for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
}
