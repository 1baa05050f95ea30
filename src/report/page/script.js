let status = null, tag = null, filter = null, drawn = {};

// An IPv4 network as its first address and its size; null for anything else.
const network = text => {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text.trim());
  if (!match || match.slice(1, 5).some(part => part > 255) || match[5] > 32) return null;
  const size = 2 ** (32 - (match[5] === undefined ? 32 : +match[5]));
  const address = match.slice(1, 5).reduce((sum, part) => sum * 256 + +part, 0);
  return { first: address - address % size, size };
};
const overlap = (a, b) => a && b && a.first < b.first + b.size && b.first < a.first + a.size;
const local = time => {
  const date = new Date(time);
  return isNaN(date) ? "" : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
};
const ago = time => {
  const seconds = Math.round((Date.now() - new Date(time)) / 1000);
  if (isNaN(seconds)) return "never";
  const [past, value] = [seconds >= 0, Math.abs(seconds)];
  const text = value < 90 ? value + " s" : value < 5400 ? Math.round(value / 60) + " min" : Math.round(value / 3600) + " h";
  return past ? text + " ago" : "in " + text;
};
// Draws a part again only when its data has changed, so that focus and selection stay.
const draw = (name, data, nodes) => {
  const text = JSON.stringify(data);
  if (drawn[name] === text) return;
  drawn[name] = text;
  $(name).replaceChildren(...nodes());
};
const copy = async (text, node, place = "copied") => {
  try {
    await navigator.clipboard.writeText(text);
    $(place).textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(node);
    $(place).textContent = "Selected: press Ctrl+C.";
  }
};

// Whether an entry waits for something urgent.
const isHeld = e => e.state === "Waiting" && level(e) === "bad";
const verdict = s => {
  const c = s.counts;
  if (s.failure) return ["bad", "calls fail: " + s.failure.reason];
  if (s.setback) return ["bad", "an operation failed"];
  if (s.plan.action === "Refuse") return ["warn", "needs attention"];
  const told = [...s.problems, ...s.drift];
  if (c.drifted || s.drift.some(p => level(p) === "bad")) return ["bad", "drift"];
  if (s.entries.some(isHeld)) return ["bad", count(c.waiting, "entry waits", "entries wait")];
  if (told.some(p => level(p) === "bad")) return ["bad", "needs attention"];
  if (c.refused + c.kept) return ["warn", count(c.refused + c.kept, "entry", "entries") + " refused"];
  if (c.waiting) return ["warn", count(c.waiting, "entry waits", "entries wait")];
  if (told.some(p => p.severity !== "Note")) return ["warn", "needs attention"];
  if (c.pending || s.plan.action !== "Keep") return ["busy", "working"];
  return ["good", "all is as asked for"];
};

const loop = s => {
  const c = s.counts, good = c.entries - c.refused - c.kept;
  const clockTime = time => new Date(time).toLocaleTimeString(undefined, { timeStyle: "medium" });
  const box = (title, value, more) => make("li", null, make("div", null, make("span", { className: "soft" }, title),
    make("b", null, ...value.split(/(?<=_)/).flatMap(part => [part, make("wbr")])), make("span", { className: "soft" }, more)));
  return [
    box("Asked", count(c.entries, "entry", "entries"), "in " + count(c.configMaps, "ConfigMap")),
    box("Request", good.toLocaleString("en") + " accepted", (c.refused + c.kept).toLocaleString("en") + " refused"),
    box("Desired", count(c.routes, "destination"), "in " + count(c.routeTables, "route table")),
    box("Plan", s.plan.action, s.dryRun ? "dry run: nothing is written" : "next look at " + clockTime(s.nextLook)),
    box("Stack", s.stack.status || "none yet", s.stack.name),
  ];
};

const exits = s => [...Object.entries(s.staticIps),
  ...[s.secondaryIps, s.announcedIps].flatMap(ips => Object.entries(ips || {}))
    .flatMap(([zone, all]) => all.map(ip => [zone, ip]))];
const ips = s => exits(s).map(([zone, ip]) => {
  const address = make("b", null, ip);
  return make("li", null, make("span", null, address, make("span", { className: "soft" }, zone)),
    consoleLink(s, ip, ...PLACES.ip),
    make("button", { type: "button", "aria-label": "Copy " + ip, onclick: () => copy(ip, address) }, "Copy"));
});
const staticIps = s => {
  const all = ips(s), data = [s.staticIps, s.secondaryIps, s.announcedIps, s.stack.arn];
  draw("ips", data, () => all.length ? all.slice(0, IPS) : [make("li", { className: "soft" }, "None yet: the stack makes them.")]);
  draw("folded-ips", data, () => all.slice(IPS));
  $("more-ips").hidden = all.length <= IPS;
  $("more-ips").firstElementChild.textContent = count(all.length - IPS, "more static IP");
  $("copy-all").hidden = !all.length;
};

const kept = s => s.keptIps.map(k => {
  const command = make("code", null, "aws ec2 release-address --allocation-id " + k.allocationId);
  const release = k.heldBy ? [make("span", { className: "soft" }, k.heldBy + " has it now")]
    : [command, " ", make("button", { type: "button", "aria-label": "Copy the command that releases " + k.ip,
      onclick: () => copy(command.textContent, command, "copied-kept") }, "Copy")];
  return make("tr", null, make("td", { className: "mono" }, k.ip, consoleLink(s, k.ip, ...PLACES.ip)), make("td", { label: "Zone" }, k.zone),
    make("td", { label: "Allocation", className: "mono" }, k.allocationId), make("td", { label: "To give it up for good" }, ...release));
});

const owner = e => (e.cluster ? e.cluster + "/" : "") + e.namespace + "/" + e.name;
const matching = s => {
  const text = $("search").value.trim().toLowerCase(), net = network(text), zone = named(s, text), list = namedList(s, text);
  const of = list ? s.routes.filter(route => route.prefixList === list.name) : zone ? routesOf(s, zone) : [];
  const cidrs = new Set(of.map(route => route.cidr));
  return s.entries.filter(e => {
    if (filter && e.state !== filter) return false;
    if (!text) return true;
    if (list) return cidrs.has(e.route);
    if (zone) return cidrs.has(e.route) || e.staticIps?.some(ip => zone.staticIps.includes(ip));
    if (net) return overlap(net, network(e.cidr || e.asked)) || e.staticIps?.includes(text);
    return [owner(e), e.key, e.asked, e.reason || ""].some(part => part.toLowerCase().includes(text));
  });
};
const row = (e, all, before) => {
  const nets = (label, values) => make("td", { label, className: "mono net" }, ...values);
  // What many entries have in common is written once.
  const same = before && e.reason && ["reason", "message", "remedy"].every(name => e[name] === before[name]);
  const why = e.reason ? make("p", same ? { className: "soft" } : null, e.reason + ": " + (same ? "as above" : e.message)) : null;
  return make("tr", { className: "entry" },
    make("td", null, pill(e.state, e.state === "Waiting" ? level(e) : null)),
    make("td", { label: "Key", className: "mono name" }, e.key),
    make("td", { label: "Asked" }, make("span", { className: "mono" }, e.asked),
      e.cidr && e.cidr !== e.asked + "/32" ? make("span", { className: "soft" }, (e.state === "Kept" ? " still routed: " : " read as ") + e.cidr)
        : null, why, e.remedy && !same ? make("p", { className: "remedy" }, "→ " + e.remedy) : null),
    nets("Route", e.route ? [make("span", null, e.route)] : []),
    nets("Static IPs", most(e.staticIps || [], all, "IPs")));
};
// Entries that need attention come first, those of one ConfigMap together.
const sorted = list => {
  const rank = e => ORDER.indexOf(e.state), text = (a, b) => a.localeCompare(b, "en");
  return list.sort((a, b) => rank(a) - rank(b) || text(owner(a), owner(b)) || text(a.key, b.key));
};
const byOwner = list => {
  const groups = new Map();
  for (const e of list) {
    const name = owner(e);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(e);
  }
  return [...groups];
};
// How many entries of each ConfigMap have each state. Not all of their rows may be drawn.
const tally = list => byOwner(list).map(([name, of]) => [name, ORDER.map(state => of.filter(e => e.state === state).length)]);
const group = (name, list, all, numbers) => {
  const pills = ORDER.map((state, at) => numbers[at] && state !== "Routed" ? pill(numbers[at] + " " + state, COLOURS[state]) : "");
  return make("tbody", null, make("tr", { className: "group" }, make("th", { scope: "rowgroup", colSpan: 5 },
    make("a", { className: "plain mono", href: "#" + encodeURIComponent(name) }, name), " ", ...pills)),
  ...list.map((e, at) => row(e, all, list[at - 1])));
};
const HEADS = ["State", "Key", "Asked", "Route", "Static IPs"];
const grouped = (list, s, numbers) => {
  const all = new Set(exits(s).map(([, ip]) => ip)), heads = HEADS.map(text => make("th", { scope: "col" }, text));
  return [make("thead", null, make("tr", null, ...heads)), ...byOwner(list).map(([name, of]) => group(name, of, all, numbers.get(name)))];
};
const entries = s => {
  const found = sorted(matching(s));
  const all = s.entries.length + s.omitted.entries;
  $("found").textContent = found.length.toLocaleString("en") + " of " + all.toLocaleString("en");
  const room = filter || $("search").value.trim() ? MANY : FEW, shown = found.slice(0, room);
  const numbers = tally(found);
  draw("entries", [shown, numbers, s.staticIps, s.secondaryIps, s.announcedIps],
    () => shown.length ? grouped(shown, s, new Map(numbers)) : []);
  const hidden = found.length - room;
  const parts = [hidden > 0 ? count(hidden, "more entry", "more entries") + ": narrow the search" : "",
    s.omitted.entries ? count(s.omitted.entries, "entry", "entries") + " left out of the status for lack of room" : "",
    !all ? "No ConfigMap with the label egress=static asks for anything." : !found.length ? "Nothing is found." : ""];
  const more = parts.filter(part => part).join("; ");
  $("more").hidden = !more;
  $("more").textContent = more;
};
const filters = s => ORDER.filter(state => s.counts[state.toLowerCase()]).map(state => {
  const button = make("button", { type: "button", "aria-pressed": String(filter === state) },
    pill(state), " " + s.counts[state.toLowerCase()].toLocaleString("en"));
  button.onclick = () => {
    filter = filter === state ? null : state;
    link();
    for (const other of $("filters").children) other.setAttribute("aria-pressed", String(other === button && filter !== null));
    place();
    entries(status);
  };
  return button;
});

const runs = s => s.stack.status?.endsWith("_IN_PROGRESS");
const progress = ({ done, total }) => done + (total ? " of " + count(total, "resource") : done === 1 ? " resource" : " resources") + " done";
const plan = s => {
  const list = s.differences.map(text => make("li", { className: "mono" }, text));
  if (s.omitted.differences) list.push(make("li", null, count(s.omitted.differences, "more difference")));
  const last = s.operation, running = runs(s), far = s.stack.progress;
  return [
    make("p", null, make("b", null, s.plan.action), ": " + s.plan.why),
    running ? make("p", null, s.stack.status + (last ? " since " + last.action + ", " + local(last.time) : ""), ...(far ? [": " + progress(far) + " ",
      far.total ? make("progress", { value: far.done, max: far.total, "aria-label": "Resources done" }) : ""] : []))
      : last ? make("p", { className: "soft" }, "Last call that changed something: " + last.action + ", " + local(last.time)) : "",
    s.stack.arn ? make("p", { className: "soft mono" }, s.stack.arn, consoleLink(s, s.stack.arn, ...PLACES.stack)) : "",
    list.length ? make("ul", { className: "plain" }, ...list) : "",
  ];
};
const route = all => r => make("tr", null, make("td", null, pill(r.state)),
  make("td", { label: "Destination", className: "mono" }, r.cidr,
    r.prefixList ? make("span", { className: "soft" }, " in " + r.prefixList) : null),
  make("td", { label: "Route tables", className: "mono" }, ...most(r.routeTables, all, "tables").flatMap(table => [table, " "])));
// Those in another state than Live come first.
const routes = s => {
  const all = new Set(s.zones.flatMap(zone => zone.routeTables)), live = r => r.state === "Live";
  const rows = [...s.routes.filter(r => !live(r)), ...s.routes.filter(live)].map(route(all)), data = [s.routes, s.zones];
  draw("routes", data, () => rows.slice(0, FEW));
  draw("folded-routes", data, () => rows.slice(FEW));
  $("more-routes").hidden = rows.length <= FEW;
  $("more-routes").firstElementChild.textContent = (rows.length - FEW).toLocaleString("en") + " more";
  $("routes-count").textContent = count(s.routes.length + s.omitted.routes, "destination");
};
const timeline = s => [...s.timeline].reverse().map(step =>
  make("li", { className: step.applied ? "sent" : step.action === "Failed" ? "fault" : "" },
    make("div", { className: "soft" }, make("time", { dateTime: step.time }, local(step.time)),
      step.stackStatus ? " · stack " + step.stackStatus : ""),
    make("div", null, make("b", null, step.action), ": " + step.why)));

// How to see the leader's own page: its name in the Lease begins with that of its pod.
const standby = answer => {
  if (answer.leading) return [make("p", null, "This replica leads and has not finished its first look yet.")];
  const pod = /^([a-z0-9.-]+)_/.exec(answer.leader || "")?.[1];
  return [make("p", null, "This replica stands by. " + (answer.leader
    ? "The leader is " + answer.leader + " (epoch " + answer.epoch + ")" + (pod ? "; its own page, which knows more: " : ".")
    : "Nobody leads at the moment."), pod ? make("code", null, "kubectl port-forward pod/" + pod + " 8080") : null),
  status ? make("p", { className: "soft" }, "What follows is what the leader last wrote into the status ConfigMap.") : null];
};

const show = answer => {
  status = answer.status;
  $("all").hidden = !status;
  $("running").hidden = !status || !runs(status);
  $("running").textContent = "operation running" + (status?.stack.progress ? ", " + progress(status.stack.progress) : "");
  $("standby").hidden = answer.leading && !!status;
  $("who").textContent = answer.replica === "alone" ? "without leader election"
    : (answer.leading ? "leader " : "replica ") + answer.replica + ", epoch " + answer.epoch;
  draw("standby", [answer.leading, answer.leader, answer.epoch, !status], () => standby(answer).filter(node => node));
  if (!status) {
    badge("busy", answer.leading ? "starting" : "standby");
    $("when").textContent = $("foot").textContent = "";
    return;
  }
  status.zones ||= [];
  status.keptIps ||= [];
  status.prefixLists ||= [];
  const [kind, text] = answer.leading || answer.leader ? verdict(status) : ["bad", "nobody leads"];
  badge(kind, (answer.leading ? "" : "standby: ") + text);
  draw("loop", [status.counts, status.plan, status.stack, status.nextLook], () => loop(status));
  attention(status);
  staticIps(status);
  $("kept-ips").hidden = !status.keptIps.length;
  $("kept-count").textContent = count(status.keptIps.length, "static IP");
  draw("kept", [status.keptIps, status.stack.arn], () => kept(status));
  draw("filters", status.counts, () => filters(status));
  entries(status);
  draw("plan", [status.plan, status.differences, status.operation, status.stack], () => plan(status));
  draw("zones", [status.zones, status.routes, status.omitted.routes, status.stack.arn], () => zones(status));
  $("zones-count").textContent = count(status.zones.length, "zone");
  $("prefix-lists").hidden = !status.prefixLists.length;
  $("lists-count").textContent = count(status.prefixLists.length, "list");
  draw("lists", [status.prefixLists, status.stack.arn], () => prefixLists(status));
  routes(status);
  draw("time", status.timeline, () => timeline(status));
  $("foot").textContent = "kube-static-egress-controller " + status.version + " · leading since " + local(status.leader.since)
    + " · the same as JSON: /api/status";
  clock();
};
const badge = (kind, text) => {
  $("state").className = "pill " + kind;
  $("state").textContent = text;
  document.title = [text, status?.stack.name, "Static egress"].filter(part => part).join(" · ");
};
const clock = () => { if (status) $("when").textContent = "seen " + ago(status.time) + ", next look " + ago(status.nextLook); };

const poll = async () => {
  try {
    const answer = await fetch("/api/status", { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      show(await answer.json());
    } else if (answer.status !== 304) throw new Error("status " + answer.status);
    document.body.dataset.polled = String(+(document.body.dataset.polled || 0) + 1);
  } catch (error) {
    tag = null;
    badge("bad", "cannot be reached");
    $("who").textContent = "What is shown is old: " + error.message;
  }
  setTimeout(poll, document.hidden ? 30000 : 3000);
};

// The address of the page holds the search and the filter, so that a view can be sent to others.
const link = () => history.replaceState(null, "", location.pathname + (filter ? "?state=" + filter : "")
  + ($("search").value ? "#" + encodeURIComponent($("search").value) : ""));
// What is found comes right below the search, before everything else.
const place = () => {
  const next = $(filter || $("search").value.trim() ? "alerts" : "prefix-lists");
  if ($("listed").nextElementSibling !== next) next.before($("listed"));
};
const follow = () => {
  const text = location.hash.slice(1), state = new URLSearchParams(location.search).get("state");
  // A person may type any text after the #, which need not be an encoded one.
  try { $("search").value = decodeURIComponent(text); } catch { $("search").value = text; }
  filter = ORDER.includes(state) ? state : null;
  if (status) entries(status);
  place();
};
$("search").oninput = () => {
  link();
  place();
  if (status) entries(status);
};
$("form").onsubmit = event => event.preventDefault();
$("copy-all").onclick = () => copy(exits(status).map(([, ip]) => ip).join("\n"), $("ips"));
document.onkeydown = event => {
  if (event.key === "/" && document.activeElement !== $("search")) { event.preventDefault(); $("search").focus(); }
  if (event.key === "Escape" && document.activeElement === $("search")) { $("search").value = ""; $("search").oninput(); }
};
onhashchange = () => {
  follow();
  $("form").scrollIntoView();
};
follow();
setInterval(clock, 1000);
poll();
