// What needs attention: a few items in full, the others folded, so that static IPs and search stay on the first screen.
const IN_FULL = 5;
const URGENCY = ["bad", "warn", "note"];
// One item of the list. A problem of several subjects has the first one's message, and the others are folded.
const item = (kind, title, message, remedy, others = []) => make("li", { className: kind }, make("p", null, make("b", null, title)),
  make("p", null, message), remedy ? make("p", { className: "remedy" }, "→ " + remedy) : null,
  others.length ? make("details", null, make("summary", null, others.length + " more with this reason"),
    make("ul", { className: "plain" }, ...others.map(text => make("li", null, text)))) : null);
// Problems with the same reason and remedy are one item, the urgent ones first.
const gathered = told => {
  const groups = new Map();
  for (const p of told) {
    const key = JSON.stringify([level(p), p.reason, p.remedy]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(p);
  }
  return [...groups.values()].sort(([a], [b]) => URGENCY.indexOf(level(a)) - URGENCY.indexOf(level(b)));
};
const problem = ([first, ...others]) => item(level(first),
  first.subject + (others.length ? " and " + others.length + " more" : "") + ": " + first.reason, first.message, first.remedy,
  others.map(p => p.message === first.message ? p.subject : p.subject + ": " + p.message));
// The reasons of entries, each with the number of entries that have it.
const reasons = list => {
  const counts = new Map();
  for (const e of list) if (e.reason) counts.set(e.reason, (counts.get(e.reason) || 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([reason, number]) => reason + (sorted.length > 1 ? " (" + number.toLocaleString("en") + ")" : "")).join(", ");
};
const line = (kind, title, text) => make("li", { className: kind }, make("p", null, make("b", null, title), text ? ": " + text : ""));
// What concerns all: failures, and the entries that are not routed. None of it is ever folded.
const urgent = s => {
  const list = [], of = (...states) => s.entries.filter(e => states.includes(e.state));
  if (s.failure) list.push(item("bad", s.failure.reason + " since " + local(s.failure.since),
    s.failure.message + (s.failure.cause ? " (" + s.failure.cause + ")" : "")));
  if (s.setback) list.push(item("bad", "The last operation on the stack failed", s.setback));
  const refused = s.counts.refused + s.counts.kept, waiting = s.counts.waiting;
  if (waiting) list.push(line(s.entries.some(isHeld) ? "bad" : "warn", count(waiting, "entry waits", "entries wait"), reasons(of("Waiting"))));
  if (refused) list.push(line("warn", count(refused, "entry is", "entries are") + " refused", reasons(of("Refused", "Kept"))));
  return list;
};
const attention = s => {
  const groups = gathered([...s.drift, ...s.problems]), omitted = s.omitted.problems + s.omitted.drift;
  const list = [...urgent(s), ...groups.slice(0, IN_FULL).map(problem)], folded = groups.slice(IN_FULL).map(problem);
  if (omitted) folded.push(item("warn", count(omitted, "more problem"), "The status has no room for them. The log has them."));
  const data = [s.failure, s.setback, s.drift, s.problems, s.counts, omitted];
  $("alerts").hidden = !list.length;
  draw("told", data, () => list);
  draw("folded", data, () => folded);
  $("more-told").hidden = !folded.length;
  $("more-told").firstElementChild.textContent = folded.length.toLocaleString("en") + " more";
};
