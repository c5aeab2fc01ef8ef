// Scenario's pages inside Airflow: of a task, of a run, of an Airflow asset, and of a connection.
//
// Airflow imports this file and looks for a component under globalThis.Scenario. React is Airflow's own, which it puts
// on globalThis, so nothing is built and nothing is bundled. Colours are Airflow's, so the dark mode follows by itself.

const { createElement: h, useEffect, useRef, useState } = globalThis.React;

// Where Airflow is mounted: it may stand below a path of its own.
const BASE = new URL(document.querySelector("head > base")?.href ?? "/", location.origin).pathname.replace(/\/$/, "");
const API = `${BASE}/scenario`;
const POLL_MS = 3000;
const SLOW_POLL_MS = 15000;
const GALLERY_STEP = 60;

const colour = (name, otherwise) => `var(--chakra-colors-${name}, ${otherwise})`;
const INK = colour("fg", "inherit");
const DIM = colour("fg-muted", "#667085");
const LINE = colour("border", "#d0d5dd");
const PANEL = colour("bg-subtle", "rgba(127,127,127,.08)");
const LINK = colour("fg-info", "#2563eb");
const ACCENT = "#7c5cff";
const PALE = "#b9aaff";
const GOOD = "#2f9e6e";
const BAD = "#e5484d";
const WARM = "#e8963c";

// Words and numbers

const path = (...parts) => parts.map((part) => encodeURIComponent(part)).join("/");

function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

function size(bytes) {
  if (bytes == null) return null;
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

const units = (amount) => (amount == null ? "–" : `${amount} CU`);
const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] ?? "th"}`;
const present = (list) => list.filter((each) => each != null && each !== "" && each !== false);

function taskPage(dagId, runId, row) {
  const mapped = row.map_index >= 0 ? `/mapped/${row.map_index}` : "";
  return `${BASE}/dags/${path(dagId)}/runs/${path(runId)}/tasks/${path(row.task_id)}${mapped}/plugin/scenario`;
}

const runPage = (dagId, runId) => `${BASE}/dags/${path(dagId)}/runs/${path(runId)}/plugin/scenario`;

// Asking Airflow

async function ask(url) {
  const reply = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" } });
  const body = await reply.json().catch(() => ({}));
  if (reply.ok) return body;
  const said = typeof body.detail === "string" ? body.detail : `Airflow answered ${reply.status}.`;
  const words = {
    401: "You are signed out. Sign in to Airflow again, then reload this page.",
    403: "Your role in Airflow may not see this page.",
  };
  throw Object.assign(new Error(words[reply.status] ?? said), { status: reply.status });
}

// Looks again and again until `isOver` says that nothing will change; not while the tab is hidden.
function useLook(url, isOver) {
  const [state, set] = useState({});
  useEffect(() => {
    let alive = true;
    let timer;
    async function look() {
      let wait = POLL_MS;
      if (!document.hidden) {
        try {
          const data = await ask(url);
          if (!alive) return;
          set({ data });
          if (isOver?.(data)) return;
        } catch (error) {
          if (!alive) return;
          set((before) => ({ data: before.data, problem: error.message }));
          if (error.status === 401 || error.status === 403) return;
          wait = SLOW_POLL_MS;
        }
      }
      if (alive) timer = setTimeout(look, wait);
    }
    set({});
    look();
    return () => {
      alive = false;
      clearTimeout(timer);
    };
  }, [url]);
  return state;
}

// Small pieces

const box = (style, ...children) => h("div", { style }, ...children);
const dim = (...children) => h("span", { style: { color: DIM } }, ...children);

function Fact({ label, children, tone }) {
  return box(
    { minWidth: 90 },
    box({ color: DIM, fontSize: 12, fontWeight: 600, marginBottom: 2 }, label),
    box({ fontSize: 15, color: tone ?? "inherit", overflowWrap: "anywhere" }, children ?? "–"),
  );
}

const facts = (...children) => box({ display: "flex", gap: "14px 26px", flexWrap: "wrap" }, ...children);

// Parts of a bar: [share of the whole in percent, colour, what it stands for].
function Bar({ parts, label, height = 10 }) {
  return h(
    "div",
    {
      role: "progressbar",
      "aria-label": label,
      "aria-valuenow": Math.round(parts[0]?.[0] ?? 0),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      style: { display: "flex", height, borderRadius: height / 2, background: LINE, overflow: "hidden", margin: "8px 0" },
    },
    ...parts.map(([share, background, title], place) =>
      h("div", { key: place, title, style: { width: `${share}%`, background, transition: "width .6s" } }),
    ),
  );
}

function Away({ href, children }) {
  return h("a", { href, target: "_blank", rel: "noopener noreferrer", style: { color: LINK } }, children, " ↗");
}

const BUTTON = {
  display: "inline-block",
  border: `1px solid ${LINE}`,
  borderRadius: 6,
  padding: "4px 10px",
  fontSize: 13,
  background: "transparent",
  color: "inherit",
  cursor: "pointer",
};

function Copy({ text, children }) {
  const [done, set] = useState(false);
  const copy = () =>
    navigator.clipboard?.writeText(text).then(() => {
      set(true);
      setTimeout(() => set(false), 1500);
    });
  return h("button", { type: "button", style: BUTTON, onClick: copy }, done ? "Copied" : children);
}

function Notice({ title, children, tone }) {
  const style = { border: `1px solid ${LINE}`, borderLeft: `4px solid ${tone ?? ACCENT}`, borderRadius: 8, padding: "14px 18px", background: PANEL };
  return box(style, title && box({ fontSize: 20, fontWeight: 700, color: tone ?? "inherit" }, title), children);
}

const lines = (words) => present(words).map((each, place) => h("p", { key: place, style: { margin: "4px 0", whiteSpace: "pre-line" } }, each));

// What an asset is: shown as what Scenario says it is; of what is not known yet a video is tried.
function Media({ asset, src, still }) {
  const [failed, fail] = useState(false);
  const video = useRef(null);
  const style = { width: "100%", maxHeight: still ? 190 : 520, borderRadius: still ? 0 : 10, background: "#0c0c12", display: "block", objectFit: "contain" };
  const onError = () => fail(true);
  if (failed) return box({ padding: 18, color: DIM }, "Your browser can't show this file. Download it, or open it in Scenario.");
  if (asset.kind === "image") return h("img", { src, alt: "", style, onError, loading: "lazy", referrerPolicy: "no-referrer" });
  if (asset.kind === "audio") return h("audio", { src, controls: true, style: { width: "100%" }, onError });
  if (asset.kind && asset.kind !== "video") return box({ padding: 18, color: DIM }, `A file of the kind ${asset.kind}: download it to see it.`);
  if (!still) return h("video", { src, controls: true, loop: true, muted: true, playsInline: true, preload: "metadata", style, onError });
  return h("video", {
    ref: video,
    src: `${src}#t=0.1`,
    muted: true,
    loop: true,
    playsInline: true,
    preload: "metadata",
    style,
    onError,
    onMouseEnter: () => video.current?.play().catch(() => {}),
    onMouseLeave: () => video.current?.pause(),
  });
}

// A task

function timeLine(job, file) {
  const queued = job.queued_seconds ?? 0;
  const ran = job.running_seconds ?? 0;
  const whole = queued + ran || 1;
  const usual = job.usual_running_seconds != null ? ` (usual: ${duration(job.usual_running_seconds)})` : "";
  return h(
    Fact,
    { label: "Time" },
    h(Bar, { label: "time line", parts: [[(100 * queued) / whole, PALE, "queued"], [(100 * ran) / whole, ACCENT, "ran"]] }),
    dim(present([job.queued_seconds != null && `queued ${duration(queued)}`, job.running_seconds != null && `ran ${duration(ran)}${usual}`, file && "saved"]).join(" · ")),
  );
}

function Inputs({ inputs }) {
  if (!inputs?.length) return null;
  const row = (one) =>
    h(
      "tr",
      { key: one.name },
      h("td", { style: { color: DIM, padding: "1px 14px 1px 0", verticalAlign: "top", whiteSpace: "nowrap" } }, one.name),
      h("td", { style: { color: one.given ? "inherit" : DIM, fontWeight: one.given ? 600 : 400, overflowWrap: "anywhere" } }, one.value, one.given ? "" : " (default)"),
    );
  return h(Fact, { label: "Inputs" }, h("table", { style: { fontSize: 13 } }, h("tbody", null, inputs.map(row))));
}

function Files({ files }) {
  if (!files.length) return null;
  const row = (file) => {
    const about = present([
      file.width && `${file.width}×${file.height}`,
      file.duration && `${Number(file.duration).toFixed(2)} s`,
      file.frame_rate && `${Math.round(file.frame_rate * 100) / 100} fps`,
      size(Number(file.bytes)),
    ]);
    return box({ fontSize: 13 }, h("code", { style: { overflowWrap: "anywhere" } }, file.uri), dim(` ${about.join(", ")} `), file.sha256 && h("span", { title: file.sha256, style: { color: GOOD } }, "✓ sha256"));
  };
  return h(Fact, { label: files.length === 1 ? "Saved file" : "Saved files" }, ...files.map((file, place) => h("div", { key: place }, row(file))));
}

function Progress({ job, page }) {
  const tone = job.state === "failed" ? BAD : job.state === "unknown" ? WARM : undefined;
  if (job.state !== "running" && job.state !== "queued") return h(Notice, { title: job.title, tone }, lines(job.words));
  const left = job.left_seconds != null ? ` · about ${duration(job.left_seconds)} left` : "";
  const usual = job.usual_seconds != null ? ` Such jobs usually take ${duration(job.usual_seconds)}.` : "";
  const when = job.state === "queued" ? "It waits for its turn at Scenario." : `Running after ${duration(job.queued_seconds)} in the queue.`;
  return h(
    Notice,
    { title: `${job.title}${left}` },
    h(Bar, { label: "progress", parts: [[job.percent, ACCENT, "done"]] }),
    lines([when + usual, ...(page.is_pending ? job.words : job.words.slice(1))]),
  );
}

function Job({ job, page, here, file }) {
  const address = (asset) => `${here}/assets/${path(asset.id)}`;
  const [first] = job.assets ?? [];
  const buttons = first && [
    h("a", { key: "d", href: `${address(first)}?download=true`, download: "", style: BUTTON }, "Download original"),
    h(Copy, { key: "a", text: first.id }, "Copy asset id"),
    job.python && h(Copy, { key: "p", text: job.python }, "Copy as Python"),
  ];
  return box(
    { display: "flex", gap: 28, flexWrap: "wrap", padding: "8px 0 20px" },
    box(
      { flex: "1 1 380px", maxWidth: 720, minWidth: 0 },
      ...(job.assets?.length
        ? job.assets.map((asset) => box({ marginBottom: 10 }, h(Media, { key: asset.id, asset, src: address(asset) })))
        : [h(Progress, { job, page })]),
      buttons && box({ display: "flex", gap: 8, flexWrap: "wrap" }, ...buttons),
    ),
    box(
      { flex: "1 1 300px", minWidth: 0, display: "flex", flexDirection: "column", gap: 14 },
      job.prompt && h("blockquote", { style: { margin: 0, padding: "2px 0 2px 12px", borderLeft: `3px solid ${ACCENT}`, fontSize: 18, overflowWrap: "anywhere" } }, job.prompt),
      facts(
        h(Fact, { label: "Cost" }, units(job.cost), page.max_cost && dim(` of max_cost ${page.max_cost}`), job.money === "refunded" && dim(" refunded")),
        h(Fact, { label: "Model" }, h("span", { title: job.model_id }, job.model)),
        job.seed && h(Fact, { label: "Seed" }, job.seed),
      ),
      job.queued_seconds != null && timeLine(job, file),
      h(Inputs, { inputs: job.inputs }),
      box({ fontSize: 13, display: "flex", gap: 14, flexWrap: "wrap" }, ...(job.assets ?? []).map((asset) => h(Away, { key: asset.id, href: asset.page }, "Asset in Scenario"))),
      box({ fontSize: 12 }, h("code", null, dim(`${job.id} · ${page.connection}`))),
    ),
  );
}

// Jobs of earlier tries: one line each, for what became of them and of their money.
function Earlier({ jobs, here }) {
  if (!jobs.length) return null;
  const row = (job) =>
    h(
      "details",
      { key: job.id, style: { borderTop: `1px solid ${LINE}`, padding: "8px 0" } },
      h("summary", { style: { cursor: "pointer" } }, `${job.title} · ${units(job.cost)} ${job.money}`, dim(` · ${job.seed ? `seed ${job.seed} · ` : ""}${job.id}`)),
      box({ maxWidth: 420, marginTop: 8 }, ...lines(job.words), ...(job.assets ?? []).map((asset) => h(Media, { key: asset.id, asset, src: `${here}/assets/${path(asset.id)}` }))),
    );
  return box({ marginTop: 8 }, h("h3", { style: { fontWeight: 700, margin: "6px 0" } }, "Earlier generations"), ...jobs.map(row));
}

function Waiting({ page }) {
  const { place, of, until } = page.waits;
  const line = place ? `${ordinal(place)} of ${of} in line on ${page.connection}.` : "";
  const end = until ? `It gives up at ${new Date(until * 1000).toLocaleString()}.` : "";
  return h(Notice, { title: "Waits for a free slot" }, lines(["All parallel jobs of the plan are taken.", line, "Nothing is bought yet, and no worker is held.", end]));
}

function Searching() {
  return h(Notice, { title: "Looks for its job" }, lines(["A reply of Scenario was lost, or Airflow keeps no record: this task may have a job already.", "Nothing further is bought before that is known, in three minutes at most as a rule.", "No worker is held."]));
}

function Nothing({ page }) {
  if (page.error) return h(Notice, { title: "Refused", tone: BAD }, h("p", { style: { whiteSpace: "pre-line", margin: "6px 0" } }, page.error));
  if (page.state === "failed" || page.state === "upstream_failed") {
    return h(Notice, { title: "Nothing was made", tone: BAD }, lines(["The task failed and shows no job at Scenario.", "Its log says why."]));
  }
  return h(Notice, { title: page.is_pending ? "Nothing yet" : "Nothing to see" }, lines([page.is_pending ? "No job of this task at Scenario is known so far." : "This task has made nothing at Scenario."]));
}

const nameOf = (row) => (row.name ? `${row.task_id} [${row.name}]` : row.map_index >= 0 ? `${row.task_id} [${row.map_index}]` : row.task_id);

// What the other instances of a mapped task have saved.
function Siblings({ rows, dagId, runId }) {
  if (!rows?.length) return null;
  const row = (one) =>
    box(
      { padding: "3px 0" },
      h("a", { href: taskPage(dagId, runId, one), style: { color: LINK } }, one.name ?? one.prompt ?? nameOf(one)),
      one.name && one.prompt && one.prompt !== one.name ? ` ${one.prompt}` : null,
      " ",
      h("code", { style: { fontSize: 12, overflowWrap: "anywhere" } }, dim(one.file)),
    );
  return box({ marginTop: 14, fontSize: 13 }, box({ color: DIM, fontSize: 12, fontWeight: 600 }, "Saved beside it"), ...rows.map(row));
}

const taskIsOver = (page) => !page.is_pending && !page.problem && page.jobs.every((job) => job.state === "done" || job.state === "failed");

function Task({ dagId, runId, taskId, mapIndex }) {
  // Airflow leaves "{MAP_INDEX}" as it stands where a task is not mapped.
  const index = /^\d+$/.test(String(mapIndex ?? "")) ? mapIndex : "-1";
  const here = `${API}/dags/${path(dagId)}/runs/${path(runId)}/tasks/${path(taskId)}/${index}`;
  const { data: page, problem } = useLook(here, taskIsOver);
  if (!page) return h(Empty, { problem });
  const [last, ...earlier] = page.jobs;
  const shown = last && !page.waits && !page.is_searching;
  return box(
    { color: INK, padding: "10px 4px" },
    h(Trouble, { words: [problem, page.problem] }),
    page.waits && h(Waiting, { page }),
    page.is_searching && h(Searching),
    shown ? h(Job, { job: last, page, here, file: page.files[0] }) : page.waits || page.is_searching ? null : h(Nothing, { page }),
    shown && page.error && last.state !== "failed" ? h(Notice, { title: "This try failed", tone: BAD }, h("p", { style: { whiteSpace: "pre-line" } }, page.error)) : null,
    h(Files, { files: page.files }),
    page.bought_by && box({ marginTop: 12, fontSize: 13 }, "Bought by ", h("a", { href: taskPage(dagId, runId, page.bought_by), style: { color: LINK } }, nameOf(page.bought_by))),
    h(Siblings, { rows: page.siblings, dagId, runId }),
    h(Earlier, { jobs: shown ? earlier : page.jobs, here }),
    box({ marginTop: 12, fontSize: 13 }, h("a", { href: runPage(dagId, runId), style: { color: LINK } }, "All videos of this run")),
  );
}

function Trouble({ title = "Scenario can't be asked just now", words }) {
  if (!present(words).length) return null;
  return box({ marginBottom: 12 }, h(Notice, { title, tone: WARM }, lines(words)));
}

const Empty = ({ problem }) => h("p", { style: { color: DIM, padding: 16 } }, problem ?? "Loading …");

// A run

const FILTERS = { All: () => true, Done: (job) => job.state === "done", Waiting: (job) => job.state === "running" || job.state === "queued", Failed: (job) => job.state === "failed" || job.state === "unknown" };

function Budget({ page }) {
  const { spent, running, refunded } = page.amounts;
  const total = Number(page.budget ?? page.estimate ?? page.cost.spent) || 1;
  const share = (amount) => Math.min(100, (100 * Number(amount)) / total);
  const left = page.budget ? Math.max(0, Number(page.budget) - Number(page.cost.spent)) : null;
  const words = present([`${spent} done`, Number(running) ? `${running} running` : "", Number(refunded) ? `${refunded} refunded` : "", left == null ? "" : `${Math.round(left * 1e6) / 1e6} left`]);
  return box(
    { display: "flex", gap: 24, alignItems: "center", flexWrap: "wrap" },
    box({}, h("b", { style: { fontSize: 28 } }, units(page.cost.spent)), page.budget ? dim(` spent of max_total_cost ${page.budget}`) : dim(" spent")),
    box({ flex: "1 1 260px" }, h(Bar, { label: "spent", parts: [[share(spent), ACCENT, "done"], [share(running), PALE, "running"]] }), dim(words.join(" · "))),
  );
}

function Card({ job, dagId, runId, here }) {
  const [first] = job.assets ?? [];
  const index = job.map_index;
  const src = first && `${here}/tasks/${path(job.task_id)}/${index}/assets/${path(first.id)}`;
  const details = present([units(job.cost), job.money === "refunded" && "refunded", job.running_seconds != null && duration(job.running_seconds), job.seed && `seed ${job.seed}`, !job.is_last && "earlier generation"]);
  return h(
    "article",
    { "data-job": job.id, style: { border: `1px solid ${LINE}`, borderRadius: 10, overflow: "hidden", background: PANEL, minWidth: 0 } },
    first
      ? h(Seen, { height: 150 }, h(Media, { asset: first, src, still: true }))
      : box({ height: 150, padding: 16, display: "flex", flexDirection: "column", justifyContent: "flex-end" }, h("b", { style: { fontSize: 18, color: job.state === "failed" ? BAD : "inherit" } }, job.title), h(Bar, { label: "progress", parts: [[job.state === "failed" ? 100 : job.percent ?? 0, job.state === "failed" ? BAD : ACCENT]] })),
    box(
      { padding: "10px 12px" },
      h("a", { href: taskPage(dagId, runId, job), style: { fontWeight: 700, overflowWrap: "anywhere" } }, job.name ?? (index >= 0 ? `${job.task_id} [${index}]` : job.task_id)),
      box({ color: DIM, fontSize: 13 }, details.join(" · ")),
      job.prompt && job.prompt !== job.name && box({ fontSize: 13, marginTop: 4, maxHeight: 60, overflow: "hidden" }, job.prompt),
    ),
  );
}

// Mounts its content when it comes into sight: a thousand videos must not load at once.
function Seen({ height, children }) {
  const place = useRef(null);
  const [isSeen, see] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && see(true), { rootMargin: "200px" });
    if (place.current) watcher.observe(place.current);
    return () => watcher.disconnect();
  }, []);
  return h("div", { ref: place, style: { minHeight: height, background: "#0c0c12" } }, isSeen && children);
}

const runIsOver = (page) => page.jobs.length > 0 && !page.problem && !page.unread && page.jobs.every((job) => job.state === "done" || job.state === "failed") && page.jobs.every((job) => job.task_state === "success" || job.task_state === "failed");

function Run({ dagId, runId }) {
  const here = `${API}/dags/${path(dagId)}/runs/${path(runId)}`;
  const { data: page, problem } = useLook(here, runIsOver);
  const [filter, choose] = useState("All");
  const [shown, show] = useState(GALLERY_STEP);
  const more = () => show((count) => count + GALLERY_STEP);
  if (!page) return h(Empty, { problem });
  if (!page.jobs.length) return h(Empty, { problem: problem ?? "This run has made nothing at Scenario so far." });
  const jobs = page.jobs.filter(FILTERS[filter]);
  const count = (name) => page.jobs.filter(FILTERS[name]).length;
  const button = (name) =>
    h("button", { key: name, type: "button", "aria-pressed": filter === name, style: { ...BUTTON, fontWeight: filter === name ? 700 : 400, borderColor: filter === name ? ACCENT : LINE }, onClick: () => choose(name) }, `${name} ${count(name)}`);
  return box(
    { color: INK, padding: "10px 4px" },
    h(Trouble, { title: "Not all is known", words: [problem, page.problem, page.unread ? `${page.unread} jobs are not read yet: the sum may grow.` : ""] }),
    h(Budget, { page }),
    box({ display: "flex", gap: 8, margin: "14px 0", flexWrap: "wrap" }, ...Object.keys(FILTERS).map(button)),
    box({ display: "grid", gridTemplateColumns: "repeat(auto-fill, minmax(230px, 1fr))", gap: 14 }, ...jobs.slice(0, shown).map((job) => h(Card, { key: job.id, job, dagId, runId, here }))),
    jobs.length > shown && box({ margin: "16px 0" }, h("button", { type: "button", style: BUTTON, onClick: more }, `Show more of ${jobs.length}`)),
  );
}

// An Airflow asset

const assetIsOver = (page) => !page.problem && !page.unread;

function AirflowAsset({ assetId }) {
  const { data: page, problem } = useLook(`${API}/assets/${path(assetId)}`, assetIsOver);
  if (!page) return h(Empty, { problem });
  const card = (job) => h(Card, { key: `${job.id} ${job.assets[0].id}`, job, dagId: job.dag_id, runId: job.run_id, here: `${API}/dags/${path(job.dag_id)}/runs/${path(job.run_id)}` });
  return box(
    { color: INK, padding: "10px 12px" },
    h(Trouble, { title: "Not all is known", words: [problem, page.problem, page.unread ? `${page.unread} jobs are not read yet.` : ""] }),
    page.jobs.length ? null : h(Empty, { problem: "The last events of this asset tell of nothing made at Scenario." }),
    box({ display: "grid", gridTemplateColumns: "repeat(auto-fill, minmax(230px, 1fr))", gap: 14 }, ...page.jobs.map(card)),
    page.hidden ? box({ padding: 12, color: DIM }, `${page.hidden} more of DAGs that you may not read.`) : null,
  );
}

// A connection

function Fleet() {
  const { data: known, problem: refusal } = useLook(`${API}/fleet`);
  const [chosen, choose] = useState(null);
  const names = known?.connections.length ? known.connections : ["scenario_default"];
  const connection = chosen ?? names[0];
  if (!known) return h(Empty, { problem: refusal });
  return box(
    { color: INK, padding: 18 },
    box(
      { display: "flex", gap: 12, alignItems: "center", marginBottom: 16 },
      h("h2", { style: { fontSize: 22, fontWeight: 700 } }, "Scenario"),
      h("select", { "aria-label": "connection", value: connection, onChange: (event) => choose(event.target.value), style: { ...BUTTON, background: PANEL } }, names.map((name) => h("option", { key: name, value: name }, name))),
    ),
    h(Connection, { key: connection, connection }),
  );
}

function Connection({ connection }) {
  const { data: page, problem } = useLook(`${API}/fleet/${path(connection)}`);
  if (!page) return h(Empty, { problem });
  const others = page.running - page.running_ours;
  const whole = page.running || 1;
  const more = page.is_all ? "" : " or more";
  return box(
    {},
    h(Trouble, { words: [problem, page.problem] }),
    facts(
      h(Fact, { label: "Slots in use" }, `${page.running}`, h(Bar, { label: "slots", height: 8, parts: [[(100 * page.running_ours) / whole, ACCENT, "by Airflow"], [(100 * others) / whole, WARM, "by others"]] }), dim(`${page.running_ours} by Airflow, ${others} by others`)),
      h(Fact, { label: "Wait for a slot" }, page.waiting_for_slot),
      page.today && h(Fact, { label: "Spent today (UTC)" }, `${units(page.today.spent)}${more}`, box({ fontSize: 13 }, dim(`${page.today.jobs.refunded} refunded`))),
      h(Fact, { label: "Tasks that wait" }, page.waiting),
    ),
    h("table", { style: { width: "100%", fontSize: 14, marginTop: 18, borderCollapse: "collapse" } }, h("thead", null, h("tr", { style: { textAlign: "left", color: DIM } }, COLUMNS.map(([title], place) => h("th", { key: place, style: { padding: 6 } }, title)))), h("tbody", null, page.rows.map((row, place) => h(FleetRow, { key: place, row })))),
    page.rows.length ? null : box({ padding: 12, color: DIM }, "No task waits on this connection."),
    page.hidden ? box({ padding: 12, color: DIM }, `${page.hidden} more of DAGs that you may not read.`) : null,
    page.cut ? box({ padding: 12, color: DIM }, `${page.cut} more.`) : null,
  );
}

function FleetTask({ row }) {
  const name = row.name ?? (row.map_index >= 0 ? row.map_index : null);
  return h("a", { href: taskPage(row.dag_id, row.run_id, row), style: { fontWeight: 600 } }, `${row.dag_id} / ${row.task_id}${name == null ? "" : ` [${name}]`}`);
}

const hasJob = (row) => row.state !== "no slot" && row.state !== "searching";

// The title and the content of each column.
const COLUMNS = [
  ["Task", (row) => h(FleetTask, { row })],
  ["Prompt", (row) => row.prompt ?? "–"],
  ["Status", (row) => h("span", { style: { color: row.state === "no slot" ? WARM : "inherit" } }, row.state)],
  ["", (row) => (hasJob(row) ? box({ width: 128 }, h(Bar, { label: "progress", height: 8, parts: [[row.percent ?? 0, ACCENT]] })) : null)],
  ["Queued", (row) => duration(row.queued_seconds ?? row.waited_seconds)],
  ["Ran", (row) => duration(row.running_seconds)],
  ["Cost", (row) => units(row.cost)],
];

function FleetRow({ row }) {
  const style = { padding: 6, overflowWrap: "anywhere", maxWidth: 280 };
  return h("tr", { style: { borderTop: `1px solid ${LINE}` } }, COLUMNS.map(([, content], place) => h("td", { key: place, style }, content(row))));
}

function Scenario(props) {
  if (props.assetId) return h(AirflowAsset, props);
  if (props.taskId) return h(Task, props);
  return props.runId ? h(Run, props) : h(Fleet);
}

// Airflow looks under the page's name first, and after an import also under this one.
globalThis.Scenario = Scenario;
globalThis.AirflowPlugin = Scenario;
