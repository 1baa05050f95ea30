"use strict";
// Whatever comes from a ConfigMap gets onto the page by textContent only.
const $ = id => document.getElementById(id);
const make = (tag, properties, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "label") node.dataset.label = value;
    else if (name.startsWith("aria-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return node;
};
// One severity for each thing, as the alerts have it: red is what a critical alert is about. A test compares the two.
const URGENT = new Set(["AnotherController", "DriftRepairFailed", "ForeignOperation", "NatGatewayChanged", "NatGatewayFailed",
  "NatGatewayGone", "NatRouteTableGone", "NatSubnetChanged", "NatSubnetGone", "NatSubnetUnassociated", "OwnedByAnotherCluster",
  "OwnerUnknown", "PrefixListChanged", "RouteBlackhole", "RouteMissing", "RouteRetargeted", "SourceNotLoaded", "SourceStale", "StackInAnotherVpc",
  "StaticIpDetached", "StaticIpLost", "TemplateTooLarge", "ZoneWaits"]);
const level = thing => URGENT.has(thing.reason) ? "bad" : thing.severity === "Note" ? "note" : "warn";
const COLOURS = { Routed: "good", Live: "good", Pending: "busy", Leaving: "busy", Waiting: "warn", Kept: "warn", Drifted: "bad",
  Refused: "warn" };
const ORDER = ["Refused", "Kept", "Waiting", "Drifted", "Pending", "Routed"];
// Rows that are drawn: few without a search, so that the next section is near.
const FEW = 50, MANY = 200;
// Static IPs that are shown unfolded.
const IPS = 6;
const pill = (state, colour) => make("span", { className: "pill " + (colour || COLOURS[state] || "") }, state);
const count = (number, one, many) => number.toLocaleString("en") + " " + (number === 1 ? one : many || one + "s");
