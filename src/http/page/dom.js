// Small helpers. Every text goes through textContent, so no text becomes markup.

// Makes an element. A property that begins with "on" is a listener, others are attributes.
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = visible(value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Control characters and those that change the direction of a text become visible.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function visible(text) {
  const shown = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  return String(text).replace(HIDDEN, shown);
}

export function setText(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export function ago(time, now = Date.now()) {
  if (!time) return "–";
  return `${took(Math.max(0, (now - Date.parse(time)) / 1000))} ago`;
}

export function took(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function when(time) {
  if (!time) return "–";
  return time.replace("T", " ").replace(/\.\d+Z$/, "Z").replace("Z", " UTC");
}

// A word that says how a job is, with a sign: it can be read without colour.
const SIGNS = {
  succeeded: "✓", active: "▶", waiting: "…", stopped: "■", cancelled: "■",
  held: "●", free: "○", left: "◌",
};

export function badge(word) {
  const kind = word in SIGNS ? word : "bad";
  return el("span", { class: `badge ${kind}`, text: `${SIGNS[word] ?? "✗"} ${word}` });
}

export function facts(pairs) {
  const list = el("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    const shown = value instanceof Node ? value : document.createTextNode(visible(value));
    list.append(el("div", {}, el("dt", { text: name }), el("dd", {}, shown)));
  }
  return list;
}

// A button that asks once more before it does something that cannot be undone.
export function sure(label, question, action, kind = "") {
  const button = el("button", { type: "button", class: kind, text: label });
  let armed = null;
  const disarm = () => {
    clearTimeout(armed);
    armed = null;
    setText(button, label);
    button.classList.remove("armed");
  };
  button.addEventListener("click", async () => {
    if (armed === null) {
      setText(button, question);
      button.classList.add("armed");
      armed = setTimeout(disarm, 5000);
      return;
    }
    disarm();
    button.disabled = true;
    try {
      await action();
    } finally {
      button.disabled = false;
    }
  });
  button.addEventListener("blur", disarm);
  return button;
}
