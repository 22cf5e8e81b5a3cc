// Chooses the view by the address behind the "#", and shows what goes wrong.

import { ApiError, setToken, takeToken } from "./api.js";
import { el, setText } from "./dom.js";
import { dead } from "./dead.js";
import { fleet } from "./fleet.js";
import { job } from "./job.js";
import { jobs } from "./jobs.js";

const main = document.getElementById("main");
const problem = document.getElementById("problem");
const link = document.getElementById("link");

// A view: what it shows, and what ends with it.
class View {
  constructor() {
    this.ending = new AbortController();
    this.signal = this.ending.signal;
  }

  // Asks again and again, while the tab can be seen.
  every(milliseconds, look) {
    const again = async () => {
      if (!document.hidden) await this.attempt(look);
      if (!this.signal.aborted) setTimeout(again, milliseconds);
    };
    return again();
  }

  // Does something that may fail, and shows why it failed.
  async attempt(work) {
    try {
      const done = await work();
      if (!this.signal.aborted) well();
      return done;
    } catch (error) {
      if (!this.signal.aborted) failed(error);
      return undefined;
    }
  }
}

function well() {
  problem.hidden = true;
  link.className = "link good";
  setText(link, "connected");
}

function failed(error) {
  if (!(error instanceof ApiError)) console.error(error);
  link.className = "link bad";
  setText(link, "not connected");
  if (error.status === 401) {
    askForToken();
    return;
  }
  problem.replaceChildren(el("p", { text: error.message }));
  problem.hidden = false;
}

function askForToken() {
  if (document.getElementById("token")) return;
  const input = el("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const form = el("form", { class: "token" },
    el("label", { for: "token", text: "This server wants its token (HTTP_TOKEN)" }),
    input, el("button", { type: "submit", text: "Continue" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(input.value.trim());
    problem.hidden = true;
    problem.replaceChildren();
    show();
  });
  problem.replaceChildren(form);
  problem.hidden = false;
  input.focus();
}

let current = null;

function show() {
  current?.ending.abort();
  const view = new View();
  current = view;
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const argument = rest.length ? decodeURIComponent(rest.join("/")) : null;
  for (const one of document.querySelectorAll("nav a")) {
    const here = one.getAttribute("href") === `#/${name === "job" ? "jobs" : name || "fleet"}`;
    if (here) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  main.replaceChildren();
  window.scrollTo(0, 0);
  if (name === "jobs") jobs(view, main);
  else if (name === "job" && argument) job(view, main, argument);
  else if (name === "dead") dead(view, main);
  else fleet(view, main);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    const search = document.querySelector("input[type=search]");
    if (search) search.focus();
    else location.hash = "#/jobs";
  } else if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (location.hash.startsWith("#/job/")) location.hash = "#/jobs";
  }
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

takeToken();
window.addEventListener("hashchange", () => {
  takeToken();
  show();
});
show();
