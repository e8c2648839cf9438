// What the pages do beyond HTML: they keep current, follow a growing answer, and light up a
// citation with its source. Everything works without it, only less conveniently.

const root = document.documentElement;
const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

root.classList.add("scripted");

// Patches must not undo what the reader did: unfolded parts, placed sources, lit pairs.

htmx.registerExtension("firsthand", {
  htmx_before_morph_attr: (element, detail) => {
    if (detail.attrName === "open" && element.matches("details[data-keep]")) return false;
    if (detail.attrName === "style" && element.matches(".source")) return false;
    if (detail.attrName === "class" && detail.newValue !== null) {
      const kept = ["lit", "chosen", "open"].filter((name) => element.classList.contains(name));
      if (kept.length && element.matches(".cite, .source, .sources")) {
        element.className = [detail.newValue, ...kept].join(" ");
        return false;
      }
    }
    return true;
  },
});

// The live connection

const live = find("#live");
const connection = find("#connection");
let noticeTimer = 0;

function lost() {
  if (noticeTimer || !connection) return;
  noticeTimer = setTimeout(() => { connection.hidden = false; }, 800);
}

function found() {
  clearTimeout(noticeTimer);
  noticeTimer = 0;
  if (connection) connection.hidden = true;
}

let patched = () => {};

if (live) {
  live.addEventListener("htmx:sse:after:connection", found);
  live.addEventListener("htmx:sse:error", (event) => {
    const status = event.detail?.status;
    if (status === 401 || status === 404) location.reload();
    else lost();
  });
  live.addEventListener("htmx:sse:close", (event) => {
    if (event.detail?.reason === "ended") again();
  });
  // The first connection is a request like any other; it is tried again here, later ones by hx-sse.
  live.addEventListener("htmx:error", again);
  live.addEventListener("htmx:response:error", again);
  live.addEventListener("firsthand:signed-out", () => location.assign("/sign-in"));
  live.addEventListener("firsthand:version", (event) => {
    const typing = findAll("textarea").some((field) => field.value);
    if (event.detail?.data !== root.dataset.version && !typing) location.reload();
  });
  live.addEventListener("htmx:before:swap", () => { patched = beforePatch(); });
  live.addEventListener("htmx:after:swap", () => patched());
}

let retryTimer = 0;
function again() {
  if (live._htmx?.sse || retryTimer) return;
  lost();
  retryTimer = setTimeout(() => {
    retryTimer = 0;
    htmx.trigger(live, "live:again");
  }, 1500);
}

// Following: only a reader who is at the end is taken along.

const atEnd = () => window.innerHeight + window.scrollY >= root.scrollHeight - 60;

function beforePatch() {
  const follow = document.body.classList.contains("thread") && atEnd();
  const before = root.scrollHeight;
  return () => {
    placeSources();
    announce();
    if (follow && root.scrollHeight !== before) window.scrollTo(0, root.scrollHeight);
  };
}

let wasBusy = false;
function announce() {
  const place = find("#announce");
  if (!place) return;
  const busy = Boolean(find('.answer-part[aria-busy="true"]'));
  if (busy !== wasBusy) {
    // Where the last answer failed or was stopped, its own message says so.
    const failed = [...document.querySelectorAll(".answer-part")].at(-1)?.querySelector(".problem");
    place.textContent = busy ? "The answer is being written." : failed ? "" : "The answer is complete.";
  }
  wasBusy = busy;
}

// Times that pass

function duration(seconds) {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// The clock of this machine may differ from the server's, by which all moments are given.
const ahead = Date.now() - Date.parse(root.dataset.now);
const since = (moment) => (Date.now() - ahead - Date.parse(moment)) / 1000;

function age(moment) {
  const seconds = since(moment);
  if (seconds < 45) return "just now";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(seconds / 3600);
  if (hours < 24) return hours === 1 ? "1 hour ago" : `${hours} hours ago`;
  const days = Math.round(seconds / 86400);
  return days === 1 ? "yesterday" : days <= 30 ? `${days} days ago` : null;
}

setInterval(() => {
  for (const place of findAll("[data-since]")) {
    const seconds = since(place.dataset.since);
    if (seconds >= 0.1) place.textContent = duration(seconds);
  }
}, 100);

setInterval(() => {
  for (const place of findAll("time[data-age]")) {
    const text = age(place.dateTime);
    if (text && text !== place.textContent) place.textContent = text;
  }
}, 20000);

// Sources stand beside the sentence that they support, one below the other where they would meet.

const wide = matchMedia("(min-width: 1101px)");

function placeSources() {
  for (const turn of findAll(".turn")) {
    const margin = find(".sources", turn);
    if (!margin) continue;
    const cards = findAll(".source", margin);
    const top = margin.getBoundingClientRect().top;
    const wanted = cards.map((card) => {
      const chip = find(`.answer .cite[data-source="${CSS.escape(card.dataset.source)}"]`, turn);
      return chip ? chip.getBoundingClientRect().top - top - 10 : 0;
    });
    let end = 0;
    cards.forEach((card, place) => {
      const gap = wide.matches ? Math.max(place ? 8 : 0, wanted[place] - end) : 0;
      const value = wide.matches ? `${Math.round(gap)}px` : "";
      if (card.style.marginTop !== value) card.style.marginTop = value;
      end += gap + card.offsetHeight;
    });
  }
}

const later = (work) => {
  let asked = 0;
  return () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(work);
  };
};
const placeSoon = later(placeSources);
addEventListener("resize", placeSoon);
document.addEventListener("toggle", placeSoon, true);
document.fonts?.ready.then(placeSources);
placeSources();

// A citation and its source light up together, and a citation opens its lines.

const pair = (name) => findAll(`[data-source="${CSS.escape(name)}"]`);

function light(event, on) {
  const part = event.target.closest?.("[data-source]");
  if (part) pair(part.dataset.source).forEach((one) => one.classList.toggle("lit", on));
}
document.addEventListener("pointerover", (event) => light(event, true));
document.addEventListener("pointerout", (event) => light(event, false));
document.addEventListener("focusin", (event) => light(event, true));
document.addEventListener("focusout", (event) => light(event, false));

function showSource(card) {
  const details = find("details", card);
  if (details) details.open = true;
  const margin = card.closest(".sources");
  findAll(".sources.open").forEach((one) => one !== margin && one.classList.remove("open"));
  findAll(".source.chosen").forEach((one) => one.classList.remove("chosen"));
  card.classList.add("chosen");
  margin.classList.add("open");
  placeSources();
  if (wide.matches) card.scrollIntoView({ block: "nearest", behavior: "smooth" });
  card.focus({ preventScroll: true });
  find(".line.on", card)?.scrollIntoView?.({ block: "nearest" });
}

function closeSources() {
  const open = findAll(".sources.open");
  open.forEach((margin) => margin.classList.remove("open"));
  return open.length > 0;
}

document.addEventListener("click", (event) => {
  const chip = event.target.closest("a.cite");
  const card = chip && document.getElementById(`source-${chip.dataset.source}`);
  if (card) {
    event.preventDefault();
    showSource(card);
    return;
  }
  const outside = !event.target.closest(".sources");
  if (event.target.closest("[data-close]") || (outside && !wide.matches)) closeSources();
});

// Copying

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(await text);
    say(button, "Copied");
  } catch {
    say(button, "Not possible");
  }
}

function say(button, word) {
  const place = find("span", button) ?? button;
  const before = place.dataset.word ?? place.textContent;
  place.dataset.word = before;
  place.textContent = word;
  setTimeout(() => {
    place.textContent = before;
    delete place.dataset.word;
  }, 1600);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  if (button.dataset.copy === "code") {
    copy(button, find("code", button.closest(".code")).innerText.replace(/\n$/, ""));
  } else {
    copy(button, fetch(button.href).then((answer) => answer.text()));
  }
});

// Asking

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

for (const form of findAll("form[data-draft]")) {
  const field = find("textarea", form);
  const place = `draft:${form.dataset.draft}`;
  if (!field.value) field.value = sessionStorage.getItem(place) ?? "";
  field.addEventListener("input", () => sessionStorage.setItem(place, field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !event.altKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", () => {
    if (!form.hasAttribute("hx-post")) sessionStorage.removeItem(place);
  });
  form.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.status;
    if (status !== 204) return;
    field.value = "";
    sessionStorage.removeItem(place);
    find("#ask-problem").replaceChildren();
    find('input[name="key"]', form).value = newKey();
    window.scrollTo(0, root.scrollHeight);
  });
}

document.addEventListener("htmx:after:request", (event) => {
  const form = event.target;
  if (event.detail?.ctx?.response?.status !== 204 || !form.matches?.("form")) return;
  find("#notice")?.replaceChildren();
  find("#add-problem")?.replaceChildren();
  if (form.hasAttribute("data-reset")) form.reset();
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && closeSources()) return;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const field = find("#message");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});

// A thread opens at its last question.
if (document.body.classList.contains("thread") && !location.hash) {
  const turns = findAll(".turn");
  if (turns.length > 1) turns.at(-1).scrollIntoView();
}
wasBusy = Boolean(find('.answer-part[aria-busy="true"]'));
