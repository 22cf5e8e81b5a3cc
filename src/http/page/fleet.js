// The fleet: workers, free slots, queues, segments.

import { get } from "./api.js";
import { ago, badge, el, setText, when } from "./dom.js";

function table(caption, head) {
  const body = el("tbody");
  const row = el("tr", {}, ...head.map((text) => el("th", { scope: "col", text })));
  const whole = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    el("table", {}, el("caption", { text: caption }), el("thead", {}, row), body));
  return [whole, body];
}

const cell = (text, label) => el("td", { text, "data-label": label });

export function fleet(view, main) {
  const said = el("p", { class: "said" });
  const counts = el("div", { class: "counts" });
  const [workersTable, workers] = table("Workers", ["Worker", "Jobs", "Segments", "Since", "Host"]);
  const [queuesTable, queues] = table("Queues", ["Queue", "Waiting", "Consumers"]);
  const [segmentsTable, segments] = table("Segments",
    ["Segment", "State", "Worker", "Jobs", "Since"]);
  main.append(el("h2", { text: "Fleet" }), said, counts, workersTable, queuesTable, segmentsTable);

  const count = (number, one, many) => el("div", { class: "count" },
    el("b", { text: number }), el("span", { text: number === 1 ? one : many }));

  view.every(3000, async () => {
    const [fleet, waiting, owned] = await Promise.all([
      get("/workers", view.signal), get("/queues", view.signal), get("/segments", view.signal),
    ]);
    setText(said, fleet.said);
    const inQueues = (part) => waiting.queues
      .filter((queue) => queue.queue.includes(part))
      .reduce((sum, queue) => sum + queue.waiting, 0);
    counts.replaceChildren(
      count(fleet.connected, "worker connected", "workers connected"),
      count(fleet.workers.reduce((sum, one) => sum + one.jobs, 0), "job on workers", "jobs on workers"),
      count(fleet.free_for_terminating, "worker with room for backtests", "workers with room for backtests"),
      count(fleet.free_for_long_running, "worker with room for bots", "workers with room for bots"),
      count(inQueues(".start."), "start waiting", "starts waiting"),
      count(inQueues(".dead"), "dead letter", "dead letters"));
    const now = Date.now();
    workers.replaceChildren(...fleet.workers.map((one) => el("tr", {},
      cell(one.worker, "Worker"), cell(one.jobs, "Jobs"), cell(one.segments.join(", "), "Segments"),
      el("td", { text: ago(one.since, now), title: when(one.since), "data-label": "Since" }),
      cell(one.host.slice(0, 20), "Host"))));
    queues.replaceChildren(...waiting.queues.map((one) => el("tr",
      one.waiting > 0 && one.consumers === 0 ? { class: "stuck" } : {},
      cell(one.queue, "Queue"), cell(one.waiting, "Waiting"), cell(one.consumers ?? "–", "Consumers"))));
    segments.replaceChildren(...owned.map((one) => {
      const since = one.state === "held" ? one.claimed_at : one.released_at ?? one.claimed_at;
      return el("tr", {},
        cell(one.segment, "Segment"), el("td", { "data-label": "State" }, badge(one.state)),
        cell(one.worker, "Worker"), cell(one.jobs, "Jobs"),
        el("td", { text: ago(since, now), title: when(since), "data-label": "Since" }));
    }));
    for (const [body, text] of [[workers, "no worker holds a segment"],
      [queues, "there are no queues yet"], [segments, "no segment has had an owner yet"]]) {
      if (!body.firstChild) body.append(el("tr", {}, el("td", { colspan: 5, text })));
    }
  });
}
