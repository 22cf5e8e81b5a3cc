// Talks to the API. The token stays in this tab.

const KEY = "longshore-token";
const ROOT = "/api/v1";

// The address that the command line prints has the token behind the "#". It is taken out of the
// address at once, so that it stays in no history.
export function takeToken() {
  const match = /^#token=([^&]+)$/.exec(location.hash);
  if (!match) return;
  sessionStorage.setItem(KEY, decodeURIComponent(match[1]));
  history.replaceState(null, "", `${location.pathname}#/fleet`);
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

export class ApiError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(ROOT + path, {
      ...options, headers: headers(options.headers), cache: "no-store", credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "this server does not answer: has it ended?");
  }
  if (answer.ok) return answer;
  let sentence = `the server answered ${answer.status}`;
  try {
    sentence = (await answer.json()).error ?? sentence;
  } catch {
    // The status is all there is.
  }
  throw new ApiError(answer.status, sentence);
}

export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

export async function bytes(path) {
  return (await ask(path)).blob();
}

export async function text(path, signal) {
  return (await ask(path, { signal })).text();
}

export async function post(path, body) {
  const options = {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  return (await ask(path, options)).json();
}

// Server-sent events. EventSource cannot send the token, so they are read by hand.
export async function live(path, signal, take) {
  const answer = await ask(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      let name = "message";
      let data = "";
      for (const line of part.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data += line.slice(5).trimStart();
      }
      if (data) take(name, JSON.parse(data));
    }
  }
}
