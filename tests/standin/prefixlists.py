"""Managed prefix lists as EC2 has them: sizes, versions, states over time, and what is refused."""

import fnmatch
import ipaddress

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.managed_prefixes import ManagedPrefixList, ManagedPrefixListBackend
from moto.ec2.responses import EC2Response

from .ec2nat import _wrap
from .hub import STANDIN

# Entries that one call may add or remove, entries that a list may have, and versions that are kept.
PER_CALL, MOST, VERSIONS = 100, 1000, 1000


def install():
    # The lists are AWS's own while moto makes them at first, and have no state that changes.
    ManagedPrefixList.state = property(_state, lambda prefix_list, value: None)
    ManagedPrefixList.state_message = property(_message, lambda prefix_list, value: None)
    _wrap(ManagedPrefixListBackend, "create_managed_prefix_list", _create)
    ManagedPrefixListBackend.describe_managed_prefix_lists = _describe
    ManagedPrefixListBackend.delete_managed_prefix_list = _delete
    EC2Response.modify_managed_prefix_list = _modify_call
    EC2Response.get_managed_prefix_list_entries = _entries_call


def of_customers(ec2):
    return [one for one in ec2.managed_prefix_lists.values() if one.owner_id != "AWS"]


def find(ec2, list_id):
    found = ec2.managed_prefix_lists.get(list_id)
    if found is None:
        raise EC2ClientError("InvalidPrefixListID.NotFound", f"The prefix list ID '{list_id}' does not exist")
    return found


def entries(prefix_list, version=None):
    """CIDR to description, of the version that counts or of another."""
    listed = prefix_list.entries.get(version or prefix_list.version) or []
    return {entry["Cidr"]: entry.get("Description") for entry in listed}


def shown_entries(prefix_list, version=None):
    """In an order that is nobody's: EC2 promises none."""
    found = entries(prefix_list, version)
    listed = [{"Cidr": cidr, "Description": found[cidr]} for cidr in sorted(found, key=lambda cidr: cidr[::-1])]
    return [{key: value for key, value in entry.items() if value is not None} for entry in listed]


def routes_to(ec2, prefix_list):
    return [
        route
        for table in ec2.route_tables.values()
        for route in table.routes
        if route.destination_prefix_list is prefix_list
    ]


def _invalid(message, code="InvalidParameterValue"):
    return EC2ClientError(code, message)


def _state(prefix_list):
    pending = getattr(prefix_list, "_pending", None)
    if pending:
        return f"{pending['what']}-in-progress"
    return getattr(prefix_list, "_state", "create-complete")


def _message(prefix_list):
    return getattr(prefix_list, "_state_message", None)


def canonical(cidr):
    try:
        return str(ipaddress.ip_network(str(cidr), strict=False))
    except ValueError:
        raise _invalid(f"The CIDR '{cidr}' is invalid.") from None


def _canonical(cidr, family):
    found = canonical(cidr)
    if family != ("IPv6" if ":" in found else "IPv4"):
        raise _invalid(f"The CIDR '{cidr}' is not of the address family {family}.")
    return found


def _read(listed, family):
    found = [{**entry, "Cidr": _canonical(entry["Cidr"], family)} for entry in listed or []]
    cidrs = [entry["Cidr"] for entry in found]
    if len(set(cidrs)) < len(cidrs):
        raise _invalid("The request contains the same CIDR more than once.")
    return found


def _create(original, ec2, address_family=None, entry=None, max_entries=None, prefix_list_name=None, tags=None, owner_id=None):
    if owner_id == "AWS":
        return original(ec2, address_family, entry, max_entries, prefix_list_name, tags, owner_id)
    for name, value in (
        ("PrefixListName", prefix_list_name), ("MaxEntries", max_entries), ("AddressFamily", address_family),
    ):
        if not value:
            raise _invalid(f"The request must contain the parameter {name}", "MissingParameter")
    if address_family not in ("IPv4", "IPv6"):
        raise _invalid(f"Value ({address_family}) for parameter addressFamily is invalid.")
    if prefix_list_name.startswith("com.amazonaws") or len(prefix_list_name) > 255:
        raise _invalid(f"Value ({prefix_list_name}) for parameter prefixListName is invalid.")
    found = _read(entry, address_family)
    if len(found) > PER_CALL:
        raise _invalid(f"The number of entries per request cannot exceeds limit ({PER_CALL}).")
    most = _size(max_entries)
    _fits(len(found), most)
    if len(of_customers(ec2)) >= STANDIN.settings.prefix_list_quota:
        raise _invalid("You've reached the limit on the number of prefix lists.", "PrefixListLimitExceeded")
    made = original(ec2, address_family, found, most, prefix_list_name, tags, None)
    made.entries[1] = found
    _begin(made, "create")
    return made


def _size(max_entries):
    most = int(max_entries)
    if not 1 <= most <= MOST:
        raise _invalid(f"Value ({max_entries}) for parameter maxEntries is invalid. Must specify a max size between 1 and {MOST}.")
    return most


def _fits(number, most):
    if number > most:
        raise _invalid("You've reached the maximum number of entries for the prefix list.", "PrefixListMaxEntriesExceeded")


def _begin(prefix_list, what, **wanted):
    due = STANDIN.clock.now() + STANDIN.settings.prefix_list_pending_ms / 1000
    prefix_list._state_message = None
    prefix_list._pending = {"what": what, "due": due, **wanted}
    settle(prefix_list.ec2_backend)


def _describe(ec2, prefix_list_ids=None, filters=None):
    shown = list(ec2.managed_prefix_lists.values())
    if prefix_list_ids:
        shown = [find(ec2, list_id) for list_id in prefix_list_ids]
    values = {
        "owner-id": lambda one: [one.owner_id],
        "prefix-list-id": lambda one: [one.id],
        "prefix-list-name": lambda one: [one.prefix_list_name],
    }
    for name, wanted in (filters or {}).items():
        if name.startswith("tag:"):
            read = lambda one, key=name[4:]: [ec2.tags.get(one.id, {}).get(key)]  # noqa: E731
        elif name in values:
            read = values[name]
        else:
            raise _invalid(f"The filter '{name}' is invalid")
        shown = [one for one in shown if any(fnmatch.fnmatchcase(v, p) for v in read(one) if v is not None for p in wanted)]
    return shown


def _entries_call(self):
    found = find(self.ec2_backend, self._get_param("PrefixListId"))
    version = self._get_param("TargetVersion")
    if version and found.owner_id != "AWS" and int(version) not in found.entries:
        raise _invalid(f"The specified value for version is not valid. The version {version} does not exist.")
    return ActionResult({"Entries": shown_entries(found, version and int(version))})


def _modify_call(self):
    given = {
        "name": self._get_param("PrefixListName"),
        "add": self._get_param("AddEntries", []),
        "remove": [entry["Cidr"] for entry in self._get_param("RemoveEntries", [])],
        "max_entries": self._get_param("MaxEntries"),
        "current_version": self._get_param("CurrentVersion"),
    }
    return ActionResult({"PrefixList": modify(self.ec2_backend, self._get_param("PrefixListId"), **given)})


def modify(ec2, list_id, name=None, add=(), remove=(), max_entries=None, current_version=None):
    found = find(ec2, list_id)
    if found.owner_id == "AWS":
        raise _invalid(f"The prefix list {list_id} is owned by AWS.", "UnauthorizedOperation")
    if not _state(found).endswith(("-complete", "-failed")):
        raise _invalid(f"The prefix list {list_id} is in the state {_state(found)}.", "IncorrectState")
    if max_entries and (add or remove):
        raise _invalid(
            "You cannot modify the entries and the maximum entries for the prefix list in the same request.",
            "InvalidParameterCombination",
        )
    if current_version and int(current_version) != found.version:
        raise _invalid(f"The prefix list has the version {found.version}, not {current_version}.", "PrefixListVersionMismatch")
    wanted = {}
    if add or remove:
        wanted["entries"] = _changed(found, add, remove)
    if max_entries:
        wanted["max_entries"] = _size(max_entries)
        if wanted["max_entries"] < len(entries(found)):
            raise _invalid(f"The prefix list {list_id} has more entries than {max_entries}.")
    if name:
        found.prefix_list_name = name
    if wanted:
        _begin(found, "modify", **wanted)
    return found


def _changed(found, add, remove):
    """The entries that the list is to have."""
    if len(add) > PER_CALL or len(remove) > PER_CALL:
        raise _invalid(f"The request cannot contain more than {PER_CALL} entry additions or removals.")
    add, have = _read(add, found.address_family), entries(found)
    remove = [_canonical(cidr, found.address_family) for cidr in remove]
    both = [entry["Cidr"] for entry in add if entry["Cidr"] in remove]
    if both:
        raise _invalid(f"Request cannot contain Cidr {both[0]} in both AddPrefixListEntries and RemovePrefixListEntries")
    lost = [cidr for cidr in remove if cidr not in have]
    if lost:
        raise _invalid(f"The entry {lost[0]} does not exist.", "InvalidPrefixListModification")
    left = {cidr: description for cidr, description in have.items() if cidr not in remove}
    left |= {entry["Cidr"]: entry.get("Description") for entry in add}
    _fits(len(left), int(found.max_entries))
    return [{"Cidr": cidr, "Description": description} for cidr, description in left.items()]


def _delete(ec2, prefix_list_id):
    found = find(ec2, prefix_list_id)
    if found.owner_id == "AWS":
        raise _invalid(f"The prefix list {prefix_list_id} is owned by AWS.", "UnauthorizedOperation")
    if routes_to(ec2, found):
        raise _invalid(f"The prefix list '{prefix_list_id}' has dependencies and cannot be deleted.", "DependencyViolation")
    _begin(found, "delete")
    return found


def settle(ec2):
    """Changes that have taken their time: they are carried out whole, or not at all."""
    for one in of_customers(ec2):
        pending = getattr(one, "_pending", None)
        if not pending or STANDIN.clock.now() < pending["due"]:
            continue
        one._pending = None
        if pending["what"] == "delete":
            forget(ec2, one)
            continue
        reason = _objection(ec2, one, pending)
        one._state, one._state_message = f"{pending['what']}-{'failed' if reason else 'complete'}", reason
        if reason:
            continue
        one.max_entries = pending.get("max_entries", one.max_entries)
        if "entries" in pending:
            one.version += 1
            one.entries[one.version] = pending["entries"]
            one.entries.pop(one.version - VERSIONS, None)


def _objection(ec2, one, pending):
    """Why what refers to the list cannot have it so, in EC2's message of the list's state."""
    from . import ec2rules

    full, wrong = [], None
    for route in routes_to(ec2, one):
        table = route.route_table
        if "max_entries" in pending:
            more = pending["max_entries"] - int(one.max_entries)
            is_ipv6 = one.address_family == "IPv6"
            if ec2rules.counted(table, is_ipv6) + more > STANDIN.settings.route_quota:
                full.append(table.id)
        for entry in pending.get("entries", ()) if wrong is None and one.address_family == "IPv4" else ():
            wrong = wrong or ec2rules.list_entry_refused(ec2, table, entry["Cidr"])
    if full:
        return f"The following resources do not support the new maximum size: {', '.join(full[:10])}"
    return wrong


def fail(ec2, list_id, message):
    """The last change has failed, so that the entries are those of before."""
    found = find(ec2, list_id)
    found._pending, found._state, found._state_message = None, "modify-failed", message


def forget(ec2, prefix_list):
    ec2.managed_prefix_lists.pop(prefix_list.id, None)
    ec2.tags.pop(prefix_list.id, None)
