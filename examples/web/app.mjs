// One page: choose data, choose columns, follow the report until it is there.

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** A browser allows only a few connections at once, and starting a report needs one too. */
const MAX_STREAMS = 3;
/** How often a start is repeated before the person is asked to. */
const START_TRIES = 5;
/** When to give up on an answer; longer than the server is asked to wait for news. */
const PATIENCE = 60_000;
/** When to do without an answer that can be done without. */
const BRIEFLY = 5_000;

// Talking to the server ---------------------------------------------------------------------

/** An answer that will not change by asking again. */
class Refusal extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

/** An answer that may change, or none at all. */
class Trouble extends Error {
  constructor(words, pause) {
    super(words);
    this.pause = pause;
  }
}

async function request(url, options) {
  const signal = AbortSignal.timeout(PATIENCE);
  const response = await fetch(url, { cache: "no-store", signal, ...options }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Trouble("the server cannot be reached");
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const words = answer.error ?? `the server answered with status ${response.status}`;
  if (response.status < 500 && ![408, 425, 429].includes(response.status)) {
    throw new Refusal(words, response.status);
  }
  throw new Trouble(words, Number(response.headers.get("Retry-After")) * 1000);
}

/** Repeats a request until it is answered or refused; `tell` hears about each trouble. */
async function insist(url, options, tell, tries = Infinity) {
  for (let attempt = 1, pause = 500; ; attempt += 1, pause = Math.min(pause * 2, 10_000)) {
    try {
      return await request(url, options);
    } catch (error) {
      if (!(error instanceof Trouble) || attempt >= tries) throw error;
      tell(error);
      await sleep(Math.min(Math.max(pause, error.pause || 0), 30_000));
    }
  }
}

function showError(words) {
  $("error").textContent = words ? sentence(words) : "";
  $("error").hidden = !words;
}

// Choosing data -----------------------------------------------------------------------------

let data = null;
let upload = null;

function choose(chosen) {
  data = chosen;
  $("choices").disabled = !chosen;
  if (!chosen) {
    $("chosen").textContent = "";
    return;
  }
  const rows = chosen.rows == null ? "" : `${chosen.rows.toLocaleString("en")} rows, `;
  $("chosen").textContent = `${chosen.name}: ${rows}${chosen.columns.length} columns`;
  const options = () => chosen.columns.map((name) => new Option(name, name));
  $("group-by").replaceChildren(...options());
  $("sum").replaceChildren(...options());
  $("group-by").value = chosen.groupBy ?? chosen.columns[0];
  $("sum").value = chosen.columns.at(-1);
}

function useSample() {
  upload?.abort();
  showError();
  const { columns, rows, groupBy } = $("use-sample").dataset;
  choose({ id: "sample", name: "Sample", columns: columns.split(","), rows: Number(rows), groupBy });
  $("group-by").focus();
}

async function uploadFile(file) {
  upload?.abort();
  showError();
  choose(null);
  const attempt = new AbortController();
  const { signal } = attempt;
  upload = attempt;
  $("upload-label").textContent = `Uploading ${file.name}`;
  $("upload-detail").textContent = "";
  $("upload-progress").value = 0;
  $("uploading").hidden = false;
  try {
    const { data, columns, rows } =
      (await pastServer(file, signal)) ?? (await throughServer(file, signal));
    signal.throwIfAborted();
    choose({ id: data, name: file.name, columns, rows });
  } catch (error) {
    if (!signal.aborted) showError(`cannot use ${file.name}: ${error.message}`);
  } finally {
    if (upload === attempt) $("uploading").hidden = true;
  }
}

/**
 * Sends a file straight to where files are kept, and has the server take it from there. Null where
 * that cannot be done, for whatever reason: it is not offered, the browser does not get there, it
 * took too long. What the server says against the file itself is final.
 */
async function pastServer(file, signal) {
  try {
    const wanted = JSON.stringify({ size: file.size, type: "text/csv" });
    const headers = { "Content-Type": "application/json" };
    const asked = { method: "POST", headers, body: wanted, signal: AbortSignal.timeout(BRIEFLY) };
    const form = await request("/uploads", asked);
    const body = new FormData();
    Object.entries(form.fields).forEach(([name, value]) => body.append(name, value));
    body.append("file", file);
    const sent = await send(form.url, body, signal);
    if (!isGood(sent)) return null;
    const take = { method: "POST", signal };
    const taken = await insist(`/uploads/${form.upload}`, take, () => {}, START_TRIES);
    return taken.data ? taken : null;
  } catch (error) {
    if (error instanceof Trouble || error.status === 404) return null;
    throw error;
  }
}

async function throughServer(file, signal) {
  const sent = await send("/data", file, signal);
  const answer = sent.response ?? {};
  if (isGood(sent) && answer.data) return answer;
  throw new Refusal(answer.error ?? `the server answered with status ${sent.status}`, sent.status);
}

const isGood = ({ status }) => status >= 200 && status < 300;

/** Sends a file, or a form with one, and shows how far that is. */
async function send(url, body, signal) {
  signal.throwIfAborted();
  const bar = $("upload-progress");
  bar.value = 0;
  $("upload-detail").textContent = "";
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.upload.onprogress = ({ loaded, total }) => {
      bar.value = (100 * loaded) / total;
      $("upload-detail").textContent = `${megabytes(loaded)} of ${megabytes(total)}`;
    };
    sending.upload.onload = () => {
      bar.removeAttribute("value");
      $("upload-detail").textContent = "Checking the file…";
    };
    sending.onload = () => resolve(sending);
    sending.onerror = () =>
      reject(new Trouble("the upload broke off; the connection may be lost or the file too large"));
    sending.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => sending.abort());
    sending.open("POST", url);
    sending.responseType = "json";
    if (body instanceof File) sending.setRequestHeader("Content-Type", "text/csv");
    sending.send(body);
  });
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// Starting a report -------------------------------------------------------------------------

/** A start that was never answered: starting the same again must not make a second report. */
let unanswered = null;

async function start(event) {
  event.preventDefault();
  const [group_by, sum] = [$("group-by").value, $("sum").value];
  if (group_by === sum) return showError("choose two different columns");
  const name = data.id === "sample" ? undefined : data.name;
  const body = JSON.stringify({ data: data.id, group_by, sum, name });
  if (unanswered?.body !== body) unanswered = { body, key: newKey() };
  const title = `${sum} by ${group_by} (${data.name})`;
  const headers = { "Content-Type": "application/json", "Idempotency-Key": unanswered.key };
  showError();
  $("start").disabled = true;
  try {
    const tell = ({ message }) => showError(`${message}; trying again`);
    const options = { method: "POST", headers, body };
    const { poll } = await insist("/get_report", options, tell, START_TRIES);
    unanswered = null;
    showError();
    select(add({ handle: new URL(poll, location.href).searchParams.get("handle"), title }));
    showHistory();
  } catch (error) {
    if (error instanceof Refusal) unanswered = null;
    showError(error.message);
  } finally {
    $("start").disabled = false;
  }
}

function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Following reports -------------------------------------------------------------------------

const jobs = [];
let current = null;
let streams = 0;

function add({ handle, title }) {
  const known = jobs.find((job) => job.handle === handle);
  if (known) return known;
  const poll = `/is_ready?handle=${encodeURIComponent(handle)}`;
  const job = { handle, poll, title, answer: { status: "wait", state: "queued" } };
  jobs.unshift(job);
  watch(job).then(showHistory);
  return job;
}

const isFinal = (job) => job.answer.status !== "wait";

function update(job, answer) {
  job.answer = answer;
  job.trouble = null;
  show(job);
}

/** Listens to events, and asks when there are none, until the report is done. */
async function watch(job) {
  try {
    while (!isFinal(job)) {
      const heard = streams < MAX_STREAMS ? await listen(job) : 0;
      if (isFinal(job)) return;
      const tell = ({ message }) => {
        job.trouble = message;
        show(job);
      };
      update(job, await insist(job.poll + (heard ? "" : "&wait=20s"), {}, tell));
      if (!isFinal(job)) await sleep(1000);
    }
  } catch (error) {
    update(job, { status: "failed", error: error.message });
  }
}

/** Resolves to how many events came before the stream ended. */
function listen(job) {
  return new Promise((resolve) => {
    const stream = new EventSource(`/is_ready/events?handle=${encodeURIComponent(job.handle)}`);
    let heard = 0;
    streams += 1;
    const end = () => {
      stream.close();
      streams -= 1;
      resolve(heard);
    };
    stream.onerror = end;
    stream.onmessage = (event) => {
      heard += 1;
      update(job, JSON.parse(event.data));
      if (isFinal(job)) end();
    };
  });
}

async function cancel() {
  const job = current;
  job.cancelling = true;
  show(job);
  try {
    const url = `/cancel?handle=${encodeURIComponent(job.handle)}`;
    await insist(url, { method: "POST" }, () => {}, START_TRIES);
  } catch (error) {
    job.cancelling = false;
    show(job);
    showError(error.message);
  }
}

// Showing reports ---------------------------------------------------------------------------

function inWords({ answer, trouble, cancelling }) {
  if (answer.status === "ready") return "Your report is ready.";
  if (answer.status === "cancelled") return "Cancelled.";
  if (answer.status === "failed") return "This report could not be made.";
  if (trouble) return `${sentence(trouble)}; trying again.`;
  if (cancelling) return "Cancelling…";
  if (answer.state === "running") {
    return answer.error ? `Attempt ${answer.attempt} after: ${answer.error}` : "Working on it…";
  }
  return answer.error ? `Trying again soon after: ${answer.error}` : "Waiting for its turn…";
}

function select(job) {
  current = job;
  showError();
  $("current").hidden = false;
  show(job);
  $("current").scrollIntoView({ block: "nearest" });
}

function show(job) {
  showList();
  if (job !== current) return;
  const { status, url, totals_url, error } = job.answer;
  const { done, total, message } = job.answer.progress ?? {};
  const bar = $("progress");
  bar.hidden = status !== "wait" && status !== "ready";
  if (status === "ready") bar.value = 1;
  else if (total > 0) bar.value = Math.min(done / total, 1);
  else bar.removeAttribute("value");

  $("title").textContent = job.title;
  setText($("status"), inWords(job));
  const percent = total > 0 ? `${Math.floor((100 * done) / total)}%` : "";
  const detail = [message, percent].filter(Boolean).join(" · ");
  // Progress is for the eye; why it failed is for everybody.
  $("detail").role = status === "failed" ? "alert" : null;
  setText($("detail"), status === "wait" ? detail : sentence(error ?? ""));
  link($("report-link"), url);
  link($("totals-link"), totals_url);
  $("cancel").hidden = status !== "wait";
  $("cancel").disabled = Boolean(job.cancelling);
}

function showList() {
  $("reports").hidden = jobs.length === 0;
  while ($("jobs").children.length < jobs.length) $("jobs").append(newEntry());
  jobs.forEach((job, index) => {
    const [title, state, report, totals] = $("jobs").children[index].children;
    const { status, url, totals_url } = job.answer;
    setText(title, job.title);
    title.onclick = () => select(job);
    title.setAttribute("aria-current", String(job === current));
    setText(state, status === "ready" ? "" : inWords(job));
    link(report, url);
    link(totals, totals_url);
  });
}

function newEntry() {
  const make = (tag, set) => Object.assign(document.createElement(tag), set);
  const entry = document.createElement("li");
  entry.append(
    make("button", { type: "button", className: "plain" }),
    make("span", { className: "soft" }),
    make("a", { textContent: "Report", target: "_blank", rel: "noopener" }),
    make("a", { textContent: "Totals", download: "totals.csv" }),
  );
  return entry;
}

/** What the server has recorded about this session; the page does without it. */
async function showHistory() {
  const { events, is_sound } = await request("/history").catch(() => ({ events: [] }));
  $("history").hidden = events.length === 0;
  $("chain").textContent =
    { true: "complete and unchanged", false: "something was changed behind its back" }[is_sound] ?? "";
  $("events").replaceChildren(
    ...events.map(({ at, what, why, actor, request_id }) =>
      row(clock(at), `${sentence(what)}: ${why}`, actor.split(":")[0], request_id?.slice(0, 8)),
    ),
  );
}

/** Who won the last ticks. */
async function showTicks() {
  const { ticks } = await request("/ticks").catch(() => ({ ticks: [] }));
  $("ticks").hidden = ticks.length === 0;
  $("last-tick").textContent = ticks.length > 0 ? `last at ${clock(ticks[0].at)}` : "";
  $("ledger").replaceChildren(
    ...ticks.map((tick) => {
      const line = row(clock(tick.at), "", tick.winner, `${Math.max(tick.lag_ms, 0)} ms`);
      line.children[1].append(...cameOf(tick));
      return line;
    }),
  );
}

/** Links and words, with commas in between. */
function cameOf({ state, error, missed, taken_over_from, reports }) {
  const link = (run) =>
    Object.assign(document.createElement("a"), {
      href: `/scheduled/${run}`,
      target: "_blank",
      rel: "noopener",
      textContent: "report",
    });
  const parts = [
    ...reports.map(link),
    ["done", "claimed"].includes(state) ? "" : (error ?? state),
    missed > 0 ? `${missed} missed before it` : "",
    taken_over_from.length > 0 ? `taken over from ${taken_over_from.join(", ")}` : "",
  ].filter(Boolean);
  if (parts.length === 0) return [state === "claimed" ? "under way" : "nothing was due"];
  return parts.flatMap((part, at) => (at > 0 ? [", ", part] : [part]));
}

const clock = (at) => new Date(at).toLocaleTimeString("en-GB");

function row(...cells) {
  const line = document.createElement("tr");
  line.append(
    ...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text ?? "" })),
  );
  return line;
}

function link(anchor, url) {
  anchor.hidden = !url;
  if (url) anchor.href = url;
  else anchor.removeAttribute("href");
}

/** Leaves unchanged text alone, so that a screen reader does not repeat it. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Wiring ------------------------------------------------------------------------------------

$("file").addEventListener("click", ({ target }) => (target.value = ""));
$("file").addEventListener("change", ({ target }) => target.files[0] && uploadFile(target.files[0]));
$("upload-stop").addEventListener("click", () => upload?.abort());
$("use-sample").addEventListener("click", useSample);
$("form").addEventListener("submit", start);
$("cancel").addEventListener("click", cancel);

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const over = kind === "dragover" && event.dataTransfer.types.includes("Files");
    $("drop").classList.toggle("over", over);
    if (kind === "drop" && event.dataTransfer.files[0]) uploadFile(event.dataTransfer.files[0]);
  });
}

const { reports } = await request("/my_reports").catch(() => ({ reports: [] }));
reports.reverse().forEach(add);
if (jobs.length > 0) select(jobs[0]);
showHistory();
for (;;) {
  if (!document.hidden) await showTicks();
  await sleep(15_000);
}
