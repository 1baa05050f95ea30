"""Recordings without what names an account: ids, addresses, keys and everything of others, replaced consistently."""

import re

ACCOUNT = "123456789012"
# Resource ids of EC2: a word or more, then 8 or 17 hex digits.
RESOURCE_ID = re.compile(r"\b([a-z]{2,10}(?:-[a-z]{2,6}){0,2})-([0-9a-f]{17}|[0-9a-f]{8})\b")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
# As it stands in logical ids, which have no hyphens.
IN_NAME = re.compile(r"(rtb|subnet|vpc|nat)([0-9a-f]{17}|[0-9a-f]{8})")
PRINCIPAL = re.compile(r"\bA(?:KIA|SIA|ROA|IDA)[A-Z0-9]{12,}\b")
IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
# Their values are secret, or are about the request and not about its answer.
DROPPED = {
    "ResponseMetadata", "RequestId", "CustomerGatewayConfiguration", "PreSharedKey", "SecretAccessKey", "SessionToken",
    "Options", "UserId", "RoleId", "RoleLastUsed",
}
# Lists in which an account shows what others have made.
SHARED = {
    "Stacks", "StackSummaries", "Vpcs", "Subnets", "RouteTables", "NatGateways", "Addresses", "InternetGateways", "VpnGateways",
    "VpnConnections", "CustomerGateways", "PrefixLists", "NetworkInterfaces", "Roles",
}


class Redactor:
    """Replaces what names the account of one run; the same text becomes the same substitute everywhere."""

    def __init__(self, run, account):
        self.run, self.account = run, account
        self.known, self.counts, self.own = {}, {}, set()

    def answer(self, value, key=None):
        """An answer as it may be kept: the items of others are only counted."""
        if isinstance(value, dict):
            kept = {}
            for name, item in value.items():
                if name in DROPPED:
                    continue
                if name in ("PublicIp", "PrivateIp", "PrivateIpAddress", "OutsideIpAddress") and isinstance(item, str):
                    self._learn_address(item)
                if name in SHARED and isinstance(item, list):
                    mine = [one for one in item if self._mine(one)]
                    if len(mine) < len(item):
                        kept[f"{name}OfOthers"] = len(item) - len(mine)
                    item = mine
                kept[name] = self.answer(item, name)
            return kept
        if isinstance(value, list):
            return [self.answer(item, key) for item in value]
        if isinstance(value, str):
            return self.text(value)
        return value if isinstance(value, (bool, int, float, type(None))) else value.isoformat()

    def text(self, text):
        text = text.replace(self.account, ACCOUNT).replace(self.run, "RUN")
        text = UUID.sub(lambda found: self._as("uuid", found.group(), "00000000-0000-4000-8000-{:012d}"), text)
        text = RESOURCE_ID.sub(
            lambda found: self._as(found.group(1), found.group(), found.group(1) + "-{:017d}"), text
        )
        text = IN_NAME.sub(lambda found: self.known.get("-".join(found.groups()), found.group()).replace("-", ""), text)
        text = PRINCIPAL.sub("PRINCIPAL", text)
        return IPV4.sub(lambda found: self.known.get(found.group(), found.group()), text)

    def _mine(self, item):
        """Whether it has the run's name in it, or an id that something of the run has had."""
        text = repr(item)
        ids = {found.group() for found in RESOURCE_ID.finditer(text)}
        if self.run not in text and not ids & self.own:
            return False
        # What everybody's things name says nothing of whose they are.
        self.own |= {name for name in ids if not name.startswith(("dopt-", "acl-", "eni-"))}
        return True

    def _learn_address(self, address):
        if address not in self.known:
            self._as("address", address, "192.0.2.{}")

    def _as(self, kind, text, form):
        if text not in self.known:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.known[text] = form.format(self.counts[kind])
        return self.known[text]
