// What a program measured: a small plot of each series.

import { el, visible } from "./dom.js";

const WIDTH = 320;
const HEIGHT = 90;
const SPACE = 4;

// Makes an element of a picture.
function svg(name, properties, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

// Where a point is on the axis: at the number or time that the program said, or when it was measured.
function place(point) {
  if (typeof point.at === "number") return point.at;
  return Date.parse(point.at ?? point.time);
}

function number(value) {
  return Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(3) : String(Math.round(value * 1e4) / 1e4);
}

function axis(value, isNumber) {
  return isNumber ? number(value) : new Date(value).toISOString().replace("T", " ").slice(0, 19);
}

function plot(series) {
  const points = series.values.map((one) => ({ x: place(one), y: one.value, attempt: one.attempt }));
  // A run that is tried again measures again, each time in a line of its own.
  const lines = Map.groupBy ? [...Map.groupBy(points, (one) => one.attempt).values()] : [points];
  const [xs, ys] = [points.map((one) => one.x), points.map((one) => one.y)];
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const within = (value, from, to, size) => SPACE + (to > from ? (value - from) / (to - from) : 0.5) * (size - 2 * SPACE);
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot", preserveAspectRatio: "none",
    "aria-label": visible(`${series.name}: from ${number(low)} to ${number(high)}, now ${number(series.last)}`),
  });
  for (const line of lines) {
    const where = line.map((one) => `${within(one.x, left, right, WIDTH).toFixed(1)},${(HEIGHT - within(one.y, low, high, HEIGHT)).toFixed(1)}`);
    // One point alone is a short line.
    if (where.length === 1) where.push(where[0].replace(/^[^,]+/, (x) => String(Number(x) + 2)));
    picture.append(svg("polyline", { points: where.join(" ") }));
  }
  const isNumber = series.values.some((one) => typeof one.at === "number");
  return el("figure", { class: "series" },
    el("figcaption", {}, el("b", { text: series.name }), ` ${number(series.last)}`),
    picture,
    el("p", { class: "quiet", text: `${number(low)} to ${number(high)}; ${series.points} points, ${axis(left, isNumber)} to ${axis(right, isNumber)}` }));
}

export function plots(list) {
  const shown = list.series.filter((one) => one.values.length > 0);
  if (shown.length === 0) return [];
  return [el("h3", { text: "Series" }), el("div", { class: "plots", id: "series" }, ...shown.map(plot))];
}
