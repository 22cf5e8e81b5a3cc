// A live log. It keeps the last lines, and follows the end until somebody scrolls up.

import { live } from "./api.js";
import { el, setText } from "./dom.js";

const MOST = 5000; // Lines that stay in the page.

export function log(view, id) {
  const lines = el("div", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
  const state = el("p", { class: "quiet", id: "log-state", role: "status", text: "opening the log" });
  const waiting = [];
  let drawing = false;

  // Colours and other sequences of terminals are left out: only their text is shown.
  // eslint-disable-next-line no-control-regex
  const SEQUENCES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(\u0007|\u001b\\)/g;

  function draw() {
    drawing = false;
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 30;
    const rows = waiting.splice(0).slice(-MOST).map((line) => el("div", { class: line.stream ?? "" },
      el("time", { text: line.time.slice(11, 19), title: line.time }),
      line.stream === "stderr" ? el("b", { text: "err", title: "stderr" }) : el("b"),
      el("span", { text: line.text.replace(SEQUENCES, "") })));
    lines.append(...rows);
    while (lines.childElementCount > MOST) lines.firstChild.remove();
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }

  function take(name, value) {
    if (name === "line") {
      waiting.push(value);
      if (waiting.length > 2 * MOST) waiting.splice(0, waiting.length - MOST);
      if (!drawing) {
        drawing = true;
        // A tab in the background draws nothing, so this must not wait for a frame alone.
        if (document.hidden) setTimeout(draw, 200);
        else requestAnimationFrame(draw);
      }
      setText(state, "live");
    } else {
      setText(state, value);
    }
    return name;
  }

  async function follow() {
    let isOver = false;
    for (let pause = 1000; !isOver && !view.signal.aborted; pause = Math.min(pause * 2, 15000)) {
      try {
        lines.replaceChildren();
        await live(`/jobs/${encodeURIComponent(id)}/logs?follow=true&tail=1000`, view.signal, (name, value) => {
          pause = 1000;
          isOver = take(name, value) === "end";
        });
      } catch (error) {
        if (view.signal.aborted) return;
        setText(state, error.message);
        if (error.status === 401 || error.status === 403) {
          view.attempt(() => Promise.reject(error));
          return;
        }
      }
      if (!isOver) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  follow();
  return el("section", { "aria-labelledby": "log-title" },
    el("div", { class: "bar" }, el("h3", { id: "log-title", text: "Log" }), state), lines);
}
