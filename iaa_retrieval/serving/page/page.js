// The search page. What documents say is untrusted: it only ever becomes text nodes and data attributes.

const HITS = 10;
const SNIPPET = 280; // characters of a document that are shown at first
const SUGGESTIONS = 5; // examples with a button; the search box offers all of them
const KEY = "iaa-retrieval-key";

const byId = (id) => document.getElementById(id);
const query = byId("query");
const results = byId("results");
let settings = null; // the answer of api/systems
let running = null; // the AbortController of the request on its way

/** An element with attributes and children; a child that is a string becomes text, never markup. */
function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Asking the service.

class Refusal extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, parameters, signal) {
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(`${path}?${new URLSearchParams(parameters)}`, { signal, headers: key ? { "X-API-Key": key } : {} });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Refusal("The service cannot be reached. Is it still running?", 0);
  }
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(answer.error ?? `The service answered ${response.status}.`, response.status,
    response.headers.get("Retry-After"));
}

// The states of the page: loading, start, done, failed, key.

function enter(state, status = "", failure = "") {
  document.body.dataset.state = state;
  results.setAttribute("aria-busy", String(state === "loading"));
  byId("status").textContent = status;
  byId("message").textContent = failure;
  byId("failure").hidden = failure === "";
  byId("retry").hidden = state === "key";
  byId("key").hidden = state !== "key";
  if (state !== "loading" && state !== "done") results.replaceChildren();
}

function fail(error) {
  if (error.status === 401) {
    const refused = sessionStorage.getItem(KEY) !== null;
    sessionStorage.removeItem(KEY);
    enter("key", "", refused ? "The service does not accept this key." : "The service asks for an API key.");
    byId("key-field").focus();
  } else if (error.status === 429 || error.status === 503) {
    const when = error.retryAfter ? `in ${error.retryAfter} s` : "in a moment";
    enter("failed", "", `${error.message} (Try again ${when}.)`);
  } else {
    enter("failed", "", error instanceof Refusal ? error.message : "The service's answer could not be read.");
    if (!(error instanceof Refusal)) console.error(error);
  }
}

/** Show what the address says. A later call takes the place of one still under way. */
async function show() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const address = new URLSearchParams(location.search);
  const text = (address.get("query") ?? "").trim();
  if (text || settings) query.value = text; // what is typed while the page loads stays
  enter("loading", text ? "Searching…" : "Loading…");
  try {
    if (settings === null) {
      settings = await ask("api/systems", {}, signal);
      prepare();
    }
    choose((address.get("systems") ?? "").split(","));
    document.title = text ? `${text} - ${settings.title}` : settings.title;
    if (text) {
      const hits = Math.min(HITS, settings.limits.hits);
      render(await ask("api/compare", { query: text, systems: chosen().join(), hits }, signal));
    } else {
      enter("start", settings.examples.length ? "Type a query, or take an example." : "Type a query.");
      query.focus();
    }
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** Put what the form says into the address, as a step of the history, and show it. */
function go() {
  const address = new URLSearchParams({ query: query.value.trim() });
  if (settings) address.set("systems", chosen().join());
  if (`?${address}` !== location.search) history.pushState(null, "", `?${address}`);
  show();
}

// The form.

const slots = () => [...byId("slots").querySelectorAll("select")];
const chosen = () => slots().map((slot) => slot.value).filter(Boolean);

function prepare() {
  byId("title").textContent = settings.title;
  query.maxLength = settings.limits.query_characters;
  const labels = ["Compare", "with", "and"];
  byId("slots").replaceChildren(...settings.systems.slice(0, labels.length).map((_, place) => {
    const slot = make("select", {}, ...settings.systems.map(({ name, label, description }) =>
      make("option", { value: name, title: description ?? "" }, label)));
    if (place === 2) slot.append(make("option", { value: "" }, "no third"));
    slot.addEventListener("change", () => swap(slot));
    slot.dataset.before = slot.value;
    return make("label", {}, labels[place], slot);
  }));
  byId("examples").replaceChildren(...settings.examples.map(({ text }) => make("option", { value: text })));
  const suggestions = settings.examples.slice(0, SUGGESTIONS).map(({ text }) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => { query.value = text; go(); });
    return button;
  });
  byId("suggestions").replaceChildren("Examples:", ...suggestions);
  byId("suggestions").hidden = suggestions.length === 0;
}

/** Choose the named systems; what is named twice, unknown or missing falls back on those shown at first. */
function choose(names) {
  const known = new Set(settings.systems.map(({ name }) => name));
  const wanted = [...new Set(names)].filter((name) => known.has(name)).slice(0, slots().length);
  const enough = wanted.length >= Math.min(2, known.size);
  // Where fewer are shown at first than are compared, the others follow in the service's order.
  const fallback = [...settings.shown, ...[...known].filter((name) => !settings.shown.includes(name))];
  const selected = enough ? wanted : fallback.slice(0, Math.max(settings.shown.length, 2));
  slots().forEach((slot, place) => { slot.dataset.before = slot.value = selected[place] ?? ""; });
}

/** No system stands twice: where another place has it already, that place takes what stood here. */
function swap(slot) {
  const twin = slots().find((other) => other !== slot && other.value === slot.value && slot.value);
  if (twin) twin.value = slot.dataset.before || settings.systems.find(({ name }) => !chosen().includes(name)).name;
  for (const one of slots()) one.dataset.before = one.value;
  if (query.value.trim()) go();
}

// The results.

function render({ query: asked, relevant, systems }) {
  const judged = relevant !== null;
  results.replaceChildren(...systems.map((system, place) => column(system, place && systems[0], place, relevant)));
  const said = [`Results of ${systems.map(({ label, hits }) => `${label} (${hits.length})`).join(", ")}.`];
  if (judged) {
    const which = asked.qid === null ? "this query" : `query ${asked.qid}`;
    said.push(relevant === 1 ? `1 document is judged relevant to ${which}.`
      : `${relevant} documents are judged relevant to ${which}.`);
  } else if (settings.judgments) {
    said.push("No judgments are known for this query.");
  }
  enter("done", said.join(" "));
}

/** A system's column; ``first`` is the system it is compared with, or 0 in the first column. */
function column({ label, milliseconds, hits }, first, place, relevant) {
  const facts = [`${milliseconds.toFixed(1)} ms`];
  if (relevant !== null) {
    facts.push(`${hits.filter(({ judgment }) => judgment > 0).length} of ${relevant} relevant in these ${hits.length}`);
  }
  const heading = `system-${place}`;
  const made = make("section", { class: "column", "aria-labelledby": heading },
    make("header", {}, make("h2", { id: heading }, label), make("p", {}, facts.join(" · "))));
  if (hits.length === 0) made.append(make("p", { class: "nothing" }, "Nothing found."));
  else made.append(make("ol", {}, ...hits.map((hit) => entry(hit, first, relevant !== null))));
  if (first) made.append(dropped(hits, first, relevant !== null));
  return made;
}

function entry(hit, first, judged) {
  const made = make("li", { class: `hit ${judged ? verdict(hit) : ""}`, "data-docid": hit.docid, tabindex: "0" });
  const facts = make("p", { class: "facts" }, make("span", { class: "rank" }, String(hit.rank)));
  if (first) facts.append(change(hit, first));
  if (judged) facts.append(judgment(hit));
  facts.append(make("span", { class: "docid" }, hit.docid),
    make("span", { class: "score", title: "score" }, hit.score.toFixed(4)));
  made.append(facts);
  if (hit.title) made.append(make("h3", {}, hit.title));
  made.append(snippet(hit.text));
  return made;
}

/** How a hit's rank differs from its rank in the first column. */
function change({ docid, rank }, first) {
  const before = first.hits.find((hit) => hit.docid === docid)?.rank;
  const by = before === undefined ? 0 : before - rank;
  const [kind, sign, text] = before === undefined ? ["new", "+", "new"]
    : by > 0 ? ["up", "▲", `up ${by}`]
    : by < 0 ? ["down", "▼", `down ${-by}`]
    : ["equal", "=", "same rank"];
  return make("span", { class: `change ${kind}` }, make("span", { "aria-hidden": "true" }, `${sign} `), text,
    make("span", { class: "hidden" }, ` against ${first.label}`));
}

const verdict = ({ judgment: value }) => value === null ? "unjudged" : value > 0 ? "relevant" : "irrelevant";

function judgment(hit) {
  const kind = verdict(hit);
  const [sign, text] = { relevant: ["✓", "relevant"], irrelevant: ["✗", "judged not relevant"], unjudged: ["?", "unjudged"] }[kind];
  return make("span", { class: `judgment is-${kind}` }, make("span", { "aria-hidden": "true" }, `${sign} `), text);
}

function snippet(text) {
  if (text.length <= SNIPPET) return make("p", { class: "text" }, text);
  const start = `${text.slice(0, SNIPPET).replace(/\s+\S*$/, "")} …`; // up to a whole word
  const shown = make("span", {}, start);
  const button = make("button", { type: "button", "aria-expanded": "false" }, "show all");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "show less" : "show all";
    shown.textContent = open ? text : start;
  });
  return make("p", { class: "text" }, shown, button);
}

/** Which documents of the first column are not in this one. */
function dropped(hits, first, judged) {
  const here = new Set(hits.map(({ docid }) => docid));
  const gone = first.hits.filter(({ docid }) => !here.has(docid));
  const made = make("section", { class: "dropped" });
  if (gone.length === 0) {
    made.append(make("p", {}, `Nothing of ${first.label} dropped out.`));
    return made;
  }
  made.append(make("h3", {}, `Dropped out of ${first.label}`), make("ol", {}, ...gone.map((hit) => {
    const facts = make("p", { class: "facts" }, make("span", { class: "rank" }, String(hit.rank)));
    if (judged) facts.append(judgment(hit));
    facts.append(make("span", { class: "docid" }, hit.docid));
    const item = make("li", { class: judged ? verdict(hit) : "", "data-docid": hit.docid, tabindex: "0" }, facts);
    if (hit.title) item.append(hit.title);
    return item;
  })));
  return made;
}

/** Mark the document under the pointer or in focus wherever it stands. */
function highlight(event) {
  const docid = event.type === "mouseleave" || event.type === "focusout" ? undefined
    : event.target.closest("[data-docid]")?.dataset.docid;
  for (const one of results.querySelectorAll("[data-docid]")) {
    one.classList.toggle("same", docid !== undefined && one.dataset.docid === docid);
  }
}

for (const kind of ["mouseover", "mouseleave", "focusin", "focusout"]) results.addEventListener(kind, highlight);
byId("search").addEventListener("submit", (event) => { event.preventDefault(); go(); });
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("key-field").value);
  byId("key-field").value = "";
  show();
});
byId("retry").addEventListener("click", show);
window.addEventListener("popstate", show);
show();
