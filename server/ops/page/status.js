"use strict";

// Asks for /status.json once a second and draws it. Text is only ever set as text.
const INTERVAL_MS = 1000;
const PATIENCE_MS = 4000;
const STATES = { OPEN: "good", CONNECTING: "middling", OPENING: "middling", WAITING: "middling", RECONNECTING: "bad", CLOSED: "bad" };

const byId = (id) => document.getElementById(id);
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;

function span(seconds) {
  if (seconds < 0.001) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function amount(value, unit) {
  if (unit !== "bytes") return value.toLocaleString("en");
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; value >= 1024 && step < units.length - 1; step++) value /= 1024;
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step]}`;
}

// Cells are text, or {text, className}, or nodes.
function draw(table, rows) {
  const columns = [...table.tHead.rows[0].cells];
  table.tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((cell, at) => {
      const box = document.createElement("td");
      box.dataset.column = columns[at].textContent;
      box.className = columns[at].className;
      if (cell instanceof Node) {
        box.append(cell);
      } else {
        const text = cell.text ?? String(cell);
        // In a box of its own: on a phone the cell is a line of two.
        const inner = document.createElement("span");
        inner.textContent = text;
        if (cell.className) inner.className = cell.className;
        if (text === "") box.classList.add("empty");
        box.append(inner);
      }
      row.append(box);
    });
    return row;
  }));
  table.hidden = rows.length === 0;
}

let before = null; // {at, counts}: what the rates are differences from.

function rates(status) {
  const counts = new Map();
  for (const each of status.sessions.rows) counts.set(`${each.identity} ${each.name} ${each.epoch}`, [each.frames_in, each.frames_out]);
  const last = before;
  before = { at: status.steady_s, counts };
  return (each, which) => {
    const key = `${each.identity} ${each.name} ${each.epoch}`;
    const passed = last === null ? 0 : status.steady_s - last.at;
    if (passed <= 0 || !last.counts.has(key)) return { text: "–", className: "faint" };
    const rate = (counts.get(key)[which] - last.counts.get(key)[which]) / passed;
    return rate === 0 ? { text: "0", className: "faint" } : amount(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate));
  };
}

function meterOf(share) {
  const meter = document.createElement("meter");
  Object.assign(meter, { max: 1, high: 0.8, optimum: 0, value: share });
  meter.title = meter.textContent = `${Math.round(share * 100)} %`;
  return meter;
}

function show(status) {
  const { sessions, pools } = status;
  byId("about").textContent = `${status.version}, up ${span(status.uptime_s)}, ${many(status.connections, "adapter connection", "adapter connections")}`;
  byId("states").replaceChildren(...Object.entries(sessions.states).filter(([, count]) => count > 0).map(([state, count]) => {
    const item = document.createElement("li");
    item.className = STATES[state] ?? "";
    item.textContent = `${count} ${state}`;
    return item;
  }));
  const rate = rates(status);
  draw(byId("sessions"), sessions.rows.map((each) => [
    `${each.identity} / ${each.name}`,
    each.target,
    { text: each.state, className: STATES[each.state] },
    each.generation,
    each.subscribers,
    each.lag_entries === 0 ? { text: "none", className: "faint" } : `${many(each.lag_entries, "entry", "entries")}, ${span(each.lag_s)}`,
    rate(each, 0),
    rate(each, 1),
    each.last_failure,
  ]));
  const hidden = sessions.total - sessions.rows.length;
  byId("more-sessions").textContent = sessions.total === 0 ? "No session is open." : hidden > 0 ? `${hidden} more are not shown; those that are not OPEN come first.` : "";
  draw(byId("reconnects"), status.reconnects.map((each) => [
    `${span(Math.max(0, status.now_unix_s - each.time_unix_s))} ago`,
    `${each.identity} / ${each.name}`,
    each.generation,
    each.reason,
  ]));
  byId("no-reconnects").textContent = status.reconnects.length === 0 ? "None since the start." : "";
  draw(byId("pools"), pools.rows.map((each) => [each.origin, each.identity, each.idle, each.busy, each.dialling,
    each.waiting > 0 ? { text: String(each.waiting), className: "middling" } : each.waiting]));
  byId("more-pools").textContent = pools.total === 0 ? "No connection is kept." : pools.total > pools.rows.length ? `${pools.total - pools.rows.length} more are not shown.` : "";
  draw(byId("use"), status.use.map((each) => [each.what, amount(each.used, each.unit), amount(each.limit, each.unit), meterOf(each.used / each.limit)]));
}

let shown = null; // When the latest answer came.

async function refresh() {
  const pulse = byId("pulse");
  try {
    const reply = await fetch("/status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!reply.ok) throw new Error((await reply.text()).trim());
    show(await reply.json());
    shown = Date.now();
    pulse.className = "good";
    pulse.textContent = "live";
  } catch (error) {
    pulse.className = "bad";
    const age = shown === null ? "" : `; what is shown is ${span((Date.now() - shown) / 1000)} old`;
    pulse.textContent = `no answer (${error.message})${age}`;
  }
  setTimeout(refresh, INTERVAL_MS);
}

refresh();
