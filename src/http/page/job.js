// One job: why it does not run, its timeline, its log, its series, its result, its artifacts, and a stop.

import { bytes, get, live, post, text } from "./api.js";
import { ago, badge, el, facts, setText, sure, took, when } from "./dom.js";
import { log } from "./log.js";
import { plots } from "./series.js";

const MOST_TEXT = 200000; // Characters of a result that are shown.

export function job(view, main, id) {
  const title = el("h2", {}, el("span", { class: "id", text: id }));
  const word = el("span", { id: "word" });
  title.append(" ", word);
  const said = el("p", { class: "said", id: "said", role: "status", text: "…" });
  const done = el("p", { class: "quiet", id: "done", role: "status" });
  const stop = sure("Stop", "Really stop it?", () => view.attempt(async () => {
    await post(`/jobs/${encodeURIComponent(id)}/stop`, { reason: "stopped on the dashboard" });
    setText(done, "The stop is sent.");
    await look();
  }), "danger");
  stop.id = "stop";
  stop.hidden = true;
  const progress = el("p", { class: "progress", id: "progress" });
  progress.hidden = true;
  const timeline = el("ol", { class: "timeline" });
  const about = el("div");
  const measured = el("div");
  const result = el("div");
  const earlier = el("div");
  main.append(
    el("p", {}, el("a", { href: "#/jobs", text: "← Jobs" })),
    el("div", { class: "bar" }, title, stop), said, done, progress, timeline, about, measured, result,
    log(view, id), earlier);

  const happened = new Map();
  let endedRun = null;
  let measuredSoFar = "";

  function note(key, time, name, more = "") {
    if (!time) return;
    happened.set(key, { time, name, more });
    const steps = [...happened.values()].sort((a, b) => Date.parse(a.time) - Date.parse(b.time));
    timeline.replaceChildren(...steps.slice(-12).map((step) => el("li", {},
      el("b", { text: step.name }), " ",
      el("time", { text: ago(step.time), title: when(step.time) }),
      step.more ? el("span", { text: ` ${step.more}` }) : null)));
  }

  async function showResult(end) {
    const parts = [];
    if (end.has_result) {
      const query = end.run_id ? `?run_id=${encodeURIComponent(end.run_id)}` : "";
      const raw = await text(`/jobs/${encodeURIComponent(id)}/result${query}`, view.signal);
      let pretty = raw;
      // Numbers with more digits than a browser keeps stay as they came.
      if (raw.length < MOST_TEXT && !/\d{16}/.test(raw)) pretty = JSON.stringify(JSON.parse(raw), null, 2);
      const cut = pretty.length > MOST_TEXT ? `${pretty.slice(0, MOST_TEXT)}\n…` : pretty;
      parts.push(el("h3", { text: "Result" }), el("pre", { tabindex: "0", id: "result", text: cut }));
    }
    const artifacts = end.objects.artifacts ?? [];
    if (artifacts.length > 0) {
      parts.push(el("h3", { text: "Artifacts" }), el("ul", {}, ...artifacts.map((one) => el("li", {},
        el("button", { type: "button", class: "plain", text: one.path, onclick: () => view.attempt(() => save(one)) }),
        ` ${one.bytes} bytes`))));
    }
    result.replaceChildren(...parts);
  }

  function showProgress(percent, more, time) {
    const bar = el("progress", { max: 100, value: percent, "aria-label": "progress" });
    progress.replaceChildren(bar, ` ${percent} %`, el("span", { text: more ? `: ${more}` : "" }),
      el("span", { class: "quiet", text: time ? ` (${ago(time)})` : "" }));
    progress.hidden = false;
  }

  async function showSeries(story) {
    const now = JSON.stringify([story.run_id, story.series]);
    if (now === measuredSoFar) return;
    measuredSoFar = now;
    const list = story.series.length === 0 ? { series: [] }
      : await get(`/jobs/${encodeURIComponent(id)}/series`, view.signal);
    measured.replaceChildren(...plots(list));
  }

  async function save(artifact) {
    const path = artifact.path.split("/").map(encodeURIComponent).join("/");
    const blob = await bytes(`/jobs/${encodeURIComponent(id)}/artifacts/${path}`);
    const address = URL.createObjectURL(blob);
    el("a", { href: address, download: artifact.path.split("/").pop() }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  async function look() {
    const story = await get(`/jobs/${encodeURIComponent(id)}`, view.signal);
    setText(said, story.said);
    const end = story.end;
    word.replaceChildren(story.state ? badge(end?.verdict ?? story.state) : badge("unknown"));
    stop.hidden = story.state === "finished" || story.state === null;
    note("published", story.published_at, "sent");
    note("begun", story.begun_at, "taken", story.worker ? `by ${story.worker}` : "");
    for (const one of story.stops) note(`stop ${one.at}`, one.at, "stop asked", one.reason ?? "");
    if (end) {
      note("started", end.started_at, "container started");
      note("ended", end.finished_at, end.verdict ?? "ended");
    }
    about.replaceChildren(facts([
      ["run", story.run_id], ["attempt", story.attempt], ["worker", story.worker],
      ["segment", story.segment === null ? null : `${story.segment}${story.is_held === false ? " (nobody holds it)" : ""}`],
      ["state kept", story.kept_state ? `${story.kept_state.bytes} bytes, ${ago(story.kept_state.written_at)}` : null],
      ["ran for", end ? took(end.duration_seconds) : null], ["exit code", end?.exit_code],
      ["result object", end?.objects.result_key], ["output object", end?.objects.output_key],
    ]));
    if (story.progress) showProgress(story.progress.percent, story.progress.text, story.progress.at);
    else if (end) progress.hidden = true;
    await showSeries(story);
    earlier.replaceChildren(...(story.earlier_runs.length === 0 ? [] : [
      el("h3", { text: "Earlier runs" }),
      el("ul", { class: "plainlist" }, ...story.earlier_runs.map((run) => el("li", {},
        badge(run.verdict ?? "unknown"), ` ${ago(run.finished_at)}, attempt ${run.attempt}, after ${took(run.duration_seconds)}: `,
        el("span", { text: run.message })))),
      story.earlier_runs_left_out > 0 ? el("p", { text: `${story.earlier_runs_left_out} older ones are not shown` }) : "",
    ]));
    if (end && end.run_id !== endedRun) {
      endedRun = end.run_id;
      await showResult(end);
    } else if (!end) {
      endedRun = null;
      result.replaceChildren();
    }
  }

  view.every(3000, look);
  // Events make the page quick; the looks above make it right.
  live(`/jobs/${encodeURIComponent(id)}/events`, view.signal, (name, event) => {
    if (name !== "event") return;
    const said = event.data.progress;
    if (said && event.data.state === "running") {
      const percent = said.percent ?? Math.floor((100 * said.done) / Math.max(1, said.total));
      showProgress(percent, said.text ?? (said.percent === undefined ? `${said.done} of ${said.total} configs` : ""), event.time);
      return;
    }
    const more = event.data.message ?? "";
    note(event.id, event.time, event.data.state ?? event.data.verdict ?? "", more);
    view.attempt(look);
  }).catch(() => {});
}
