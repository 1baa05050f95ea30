// The way out: a row a zone, from its route tables to the networks.

// The console of AWS has another domain in each partition. Nothing is linked that is in no account, as in a try-out.
const HOSTS = { aws: "console.aws.amazon.com", "aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com" };
const consoleUrl = (s, service, place) => {
  const match = /^arn:(aws|aws-cn|aws-us-gov):cloudformation:([a-z]{2}(?:-[a-z]+)+-\d):\d{12}:/.exec(s.stack.arn || "");
  if (!match) return null;
  const [, partition, region] = match;
  return "https://" + region + "." + HOSTS[partition] + "/" + service + "/home?region=" + region + "#" + place;
};
const consoleLink = (s, id, service, place) => {
  const href = consoleUrl(s, service, place + encodeURIComponent(id));
  return href ? make("a", { className: "console", href, target: "_blank", rel: "noreferrer noopener",
    "aria-label": id + " in the AWS console" }, "↗") : null;
};
const PLACES = { nat: ["vpcconsole", "NatGatewayDetails:natGatewayId="], rtb: ["vpcconsole", "RouteTableDetails:RouteTableId="],
  pl: ["vpcconsole", "PrefixListDetails:prefixListId="], ip: ["ec2", "Addresses:PublicIp="], stack: ["cloudformation", "/stacks/stackinfo?stackId="] };
// A part of the way: a link to its entries, and one to the console.
const part = (s, kind, id) => make("span", { className: "part" },
  make("a", { className: "plain mono", href: "#" + encodeURIComponent(id) }, id), consoleLink(s, id, ...PLACES[kind]));

// The routes in the tables of a zone.
const routesOf = (s, zone) => s.routes.filter(route => route.routeTables.some(table => zone.routeTables.includes(table)));
const zones = s => s.zones.map(zone => {
  const cell = (label, parts, none) => make("td", { label }, ...(parts.length ? parts : [make("span", { className: "soft" }, none)]));
  const all = routesOf(s, zone), states = {};
  for (const route of all) states[route.state] = (states[route.state] || 0) + 1;
  const odd = Object.keys(states).filter(state => state !== "Live");
  const number = (s.omitted.routes ? "at least " : "") + count(all.length, "network");
  const networks = all.length ? [make("a", { className: "plain", href: "#" + encodeURIComponent(zone.zone) }, number),
    ...odd.map(state => make("span", { className: "part" }, pill(state), " " + states[state]))] : [];
  const tables = zone.routeTables.map(id => part(s, "rtb", id));
  if (zone.omittedTables) tables.push(make("span", { className: "soft" }, count(zone.omittedTables, "more table")));
  return make("tr", null, make("th", { scope: "row" }, zone.zone, " ", pill(zone.state)),
    cell("Route tables", tables, "none"),
    cell("NAT gateway", zone.natGateway ? [part(s, "nat", zone.natGateway)] : [],
      zone.staticIps.length ? "its id is read when drift is looked for" : "not made yet"),
    cell("Static IPs", zone.staticIps.map(id => part(s, "ip", id)), "none yet"),
    cell("Networks", networks, "none"));
});
// The zone that a person means by its name, its NAT gateway or one of its route tables.
const named = (s, text) => s.zones.find(zone => [zone.zone, zone.natGateway, ...zone.routeTables].includes(text));
// The prefix lists, each with a link to its entries.
const prefixLists = s => s.prefixLists.map(list => {
  const link = make("a", { className: "plain mono", href: "#" + encodeURIComponent(list.name) }, list.name);
  return make("tr", null, make("th", { scope: "row" }, link),
    make("td", { label: "Prefix list" }, list.prefixListId ? part(s, "pl", list.prefixListId) : "its id is read when drift is looked for"),
    make("td", { label: "Networks" }, list.networks + " of at most " + list.maxEntries));
});
const namedList = (s, text) => s.prefixLists.find(list => [list.name.toLowerCase(), list.prefixListId].includes(text));
// A list that is the same as the whole is named by its size.
const most = (ids, all, noun) => ids.length > 1 && ids.length === all.size && ids.every(id => all.has(id))
  ? [make("span", { title: ids.join(" ") }, "all " + ids.length + " " + noun)] : ids.map(id => make("span", null, id));
