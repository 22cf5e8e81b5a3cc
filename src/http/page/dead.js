// The dead letters: look, replay, remove.

import { get, post } from "./api.js";
import { ago, el, facts, setText, sure, when } from "./dom.js";

// A replayed message that is still wrong is back by then.
const BACK_AFTER_MS = 3000;

export function dead(view, main) {
  let shown = null;
  const count = el("p", { class: "quiet", role: "status", text: "…" });
  const done = el("p", { class: "quiet", id: "done", role: "status" });
  const list = el("ul", { class: "letters" });
  const reload = el("button", { type: "button", text: "Look again", onclick: () => view.attempt(look) });
  const all = sure("Replay all", "Really replay all?", () => change("/dead/replay", { all: true }));
  const none = sure("Remove all", "Really remove all for good?",
    () => change("/dead/purge", { all: true }), "danger");
  main.append(el("div", { class: "bar" }, el("h2", { text: "Dead letters" }), reload, all, none),
    el("p", { class: "quiet", text: "Messages that could not be processed, the oldest first. To look, the server takes them and puts them back." }),
    count, done, list);

  function change(path, body) {
    return view.attempt(async () => {
      const answer = await post(path, body);
      if (path.endsWith("replay")) {
        const why = answer.reasons.length > 0 ? ` ${answer.failed} could not be: ${answer.reasons[0]}` : "";
        setText(done, `${answer.count} replayed.${why}`);
        setTimeout(() => view.signal.aborted || view.attempt(look), BACK_AFTER_MS);
      } else {
        setText(done, `${answer.removed} removed.`);
      }
      await look();
    });
  }

  function letter(one) {
    const body = el("div", { class: "body", hidden: true });
    const open = el("button", {
      type: "button", class: "plain id", "aria-expanded": "false", text: one.id ?? "(no id)",
      onclick: () => view.attempt(async () => {
        if (!body.hidden) {
          body.hidden = true;
          open.setAttribute("aria-expanded", "false");
          return;
        }
        const whole = await get(`/dead/${one.key}`, view.signal);
        body.replaceChildren(
          facts([["key", whole.key], ["message", whole.message_id], ["routing key", whole.routing_key],
            ["replay goes to", whole.replays_to ?? "nowhere"], ["bytes", whole.bytes],
            ...Object.entries(whole.headers).filter(([, value]) => value !== whole.reason)]),
          el("pre", { tabindex: "0", text: whole.body }));
        body.hidden = false;
        open.setAttribute("aria-expanded", "true");
      }),
    });
    return el("li", {},
      el("div", { class: "bar" }, open,
        el("span", { class: "quiet", text: `${one.queue ?? "–"} · ${ago(one.published_at)}`, title: when(one.published_at) }),
        sure("Replay", "Really replay it?", () => change("/dead/replay", { key: one.key })),
        sure("Remove", "Really remove it for good?", () => change("/dead/purge", { key: one.key }), "danger")),
      el("p", { class: "reason", text: one.reason ?? "no reason is known" }), body);
  }

  async function look() {
    const answer = await get("/dead?limit=100", view.signal);
    const { letters, waiting } = answer;
    setText(count, waiting === 0 ? "There are none."
      : letters.length < waiting ? `The oldest ${letters.length} of ${waiting}.` : `${waiting} in all.`);
    const keys = letters.map((one) => one.key).join();
    if (keys !== shown) list.replaceChildren(...letters.map(letter));
    shown = keys;
    all.hidden = waiting === 0;
    none.hidden = waiting === 0;
  }

  view.attempt(look);
}
