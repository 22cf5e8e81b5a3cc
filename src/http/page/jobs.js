// The jobs. Only the rows that can be seen are in the page, so ten thousand cost no more than fifty.

import { get } from "./api.js";
import { ago, badge, el, setText, took, when } from "./dom.js";

const ROW = 44; // The height of a row in pixels, as in style.css.
const SPARE = 8; // Rows that are drawn beyond the edges.
const MOST = 20000;

// What was typed and chosen stays while other views are open.
const kept = { text: "", word: "", top: 0, id: null };

const WORDS = ["active", "waiting", "failed ones", "succeeded", "failed", "timed_out",
  "out_of_memory", "stopped", "cancelled", "rejected", "unavailable", "lost"];
const FINE = new Set(["succeeded", "stopped", "cancelled"]);

export function jobs(view, main) {
  const known = new Map();
  let version = null;
  let shown = [];
  let chosen = -1;

  const search = el("input", {
    type: "search", id: "search", value: kept.text, placeholder: "id, worker or message",
    "aria-label": "Search jobs", autocomplete: "off", spellcheck: "false",
  });
  const filter = el("select", { id: "filter", "aria-label": "State or verdict" },
    el("option", { value: "", text: "every state" }),
    ...WORDS.map((word) => el("option", { value: word, text: word, selected: word === kept.word })));
  const count = el("p", { class: "quiet", role: "status" });
  const space = el("div", { class: "space" });
  const list = el("div", {
    class: "list", tabindex: "0", role: "listbox", "aria-label": "Jobs", id: "list",
  }, space);
  const head = el("div", { class: "row head", "aria-hidden": "true" },
    ...["Job", "State", "Begun", "Took", "Worker"].map((text) => el("span", { text })));
  main.append(el("h2", { text: "Jobs" }), el("div", { class: "tools" }, search, filter, count), head, list);

  const word = (job) => job.verdict ?? job.state;
  const failed = (job) => job.verdict !== null && !FINE.has(job.verdict);

  function choose() {
    const text = search.value.trim().toLowerCase();
    [kept.text, kept.word] = [search.value, filter.value];
    const fits = (job) =>
      (filter.value === "" || word(job) === filter.value || (filter.value === "failed ones" && failed(job)))
      && (text === "" || job.search.includes(text));
    shown = [...known.values()].filter(fits);
    shown.sort((a, b) => b.at - a.at || (a.id < b.id ? -1 : 1));
    chosen = kept.id === null ? -1 : shown.findIndex((job) => job.id === kept.id);
    draw();
  }

  function draw() {
    space.style.height = `${shown.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
    const now = Date.now();
    const rows = [];
    for (let at = first; at < last; at += 1) rows.push(row(shown[at], at, now));
    space.replaceChildren(...rows);
    if (chosen >= first && chosen < last) list.setAttribute("aria-activedescendant", `job-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function row(job, at, now) {
    const seconds = job.duration_seconds ?? (now - Date.parse(job.begun_at)) / 1000;
    const element = el("a", {
      class: at === chosen ? "row chosen" : "row", role: "option", id: `job-${at}`, tabindex: "-1",
      href: `#/job/${encodeURIComponent(job.id)}`, "aria-selected": at === chosen ? "true" : "false",
      "aria-posinset": at + 1, "aria-setsize": shown.length, title: job.message ?? "",
    },
    el("span", { class: "id", text: job.id }), badge(word(job)),
    el("span", { text: ago(job.begun_at, now), title: when(job.begun_at) }),
    el("span", { text: job.state === "waiting" ? "–" : took(seconds) }),
    el("span", { class: "worker", text: job.worker ?? "–" }));
    element.style.top = `${at * ROW}px`;
    return element;
  }

  function move(to) {
    if (shown.length === 0) return;
    chosen = Math.max(0, Math.min(shown.length - 1, to));
    kept.id = shown[chosen].id;
    const top = chosen * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
  }

  list.addEventListener("scroll", () => {
    kept.top = list.scrollTop;
    requestAnimationFrame(draw);
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const steps = {
      ArrowDown: chosen + 1, ArrowUp: Math.max(0, chosen - 1), Home: 0, End: shown.length - 1,
      PageDown: chosen + page, PageUp: chosen - page,
    };
    if (event.key in steps) {
      event.preventDefault();
      move(steps[event.key]);
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      location.hash = `#/job/${encodeURIComponent(shown[chosen].id)}`;
    }
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      list.focus();
      move(event.key === "Enter" ? Math.max(0, chosen) : 0);
    }
  });
  const chosenAnew = () => {
    choose();
    list.scrollTop = 0;
    setText(count, `${shown.length} of ${known.size} jobs`);
  };
  search.addEventListener("input", chosenAnew);
  filter.addEventListener("change", chosenAnew);
  const resized = () => draw();
  window.addEventListener("resize", resized, { signal: view.signal });

  let isFirst = true;
  view.every(3000, async () => {
    const since = version === null ? "" : `&since_version=${encodeURIComponent(version)}`;
    const answer = await get(`/jobs?limit=${MOST}${since}`, view.signal);
    if (!answer.is_partial || answer.known < known.size) {
      if (answer.is_partial) {
        version = null; // Some were removed: the next look brings all.
        return;
      }
      known.clear();
    }
    version = answer.version;
    for (const job of answer.jobs) {
      job.search = `${job.id} ${job.worker ?? ""} ${job.message ?? ""}`.toLowerCase();
      job.at = Date.parse(job.begun_at);
      known.set(job.id, job);
    }
    if (answer.jobs.length > 0 || isFirst) choose();
    else draw();
    const parts = [`${shown.length} of ${answer.known} jobs`];
    if (answer.left_out > 0) parts.push(`${answer.left_out} older ones are not read yet`);
    if (answer.unreadable.length > 0) parts.push(`${answer.unreadable.length} records cannot be read`);
    setText(count, parts.join("; "));
    if (isFirst) {
      isFirst = false;
      list.scrollTop = kept.top;
      draw();
    }
  });
}
