"""The control API under /_standin/: what tests use to set the scene and to see what happened."""

import json
import traceback
from urllib.parse import parse_qs

from moto.core.exceptions import ServiceException

from . import tampering, world
from .hub import STANDIN

OK = "200 OK"


def handle(method, path, query, body):
    """(status line, JSON value) for one control request."""
    route = ROUTES.get((method, path))
    if route is None:
        known = sorted(f"{verb} {name}" for verb, name in ROUTES)
        return "404 Not Found", {"error": f"there is no {method} {path}", "known": known}
    try:
        request = json.loads(body) if body.strip() else {}
        if method == "GET":
            request = {key: values[-1] for key, values in parse_qs(query).items()}
        return OK, route(request)
    except ServiceException as error:
        return "400 Bad Request", {"error": str(error.message), "code": error.code}
    except (ValueError, KeyError) as error:
        return "400 Bad Request", {"error": f"{type(error).__name__}: {error}"}
    except Exception as error:
        traceback.print_exc()
        return "500 Internal Server Error", {"error": f"{type(error).__name__}: {error}"}


def _reset(request):
    STANDIN.reset(int(request.get("seed", 1)))
    return {"seed": int(request.get("seed", 1))}


def _settings(request):
    mode = request.get("clock")
    STANDIN.settings.update(request)
    if mode:
        STANDIN.clock.use(mode)
    return STANDIN.settings.as_dict()


def _clock(request):
    if "advance_ms" in request:
        STANDIN.clock.advance(request["advance_ms"])
        STANDIN.tick()
    now = STANDIN.clock.now()
    return {"clock": STANDIN.settings.clock, "now_ms": int(now * 1000), "now": STANDIN.clock.stamp(now).isoformat()}


def _finish(request):
    """Carries out all that is under way, however long it would take."""
    for number in range(int(request.get("max_steps", 10_000))):
        if not STANDIN.jobs.running:
            break
        STANDIN.jobs.step_next()
        # Some steps wait for a NAT gateway, and that for the clock.
        if number % 100 == 99:
            STANDIN.clock.pass_time()
    return {"running": len(STANDIN.jobs.running)}


def _add_faults(request):
    items = request if isinstance(request, list) else [request]
    STANDIN.faults.add(items)
    return _faults({})


def _faults(request):
    return {"faults": [vars(fault) for fault in STANDIN.faults.all]}


def _clear_faults(request):
    STANDIN.faults.clear()
    return _faults({})


def _log(request):
    entries = STANDIN.log.since(int(request.get("since", 0)))
    if "mutating" in request:
        wanted = request["mutating"] in ("1", "true")
        entries = [entry for entry in entries if entry["mutating"] == wanted]
    for key in ("service", "action", "access_key"):
        if key in request:
            entries = [entry for entry in entries if entry[key] == request[key]]
    return {"entries": entries, "last": len(STANDIN.log.entries)}


ROUTES = {
    ("GET", "health"): lambda request: {"ok": True},
    ("POST", "reset"): _reset,
    ("POST", "world"): world.build,
    ("POST", "settings"): _settings,
    ("GET", "settings"): lambda request: STANDIN.settings.as_dict(),
    ("POST", "clock"): _clock,
    ("GET", "clock"): _clock,
    ("POST", "finish"): _finish,
    ("POST", "faults"): _add_faults,
    ("GET", "faults"): _faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "log"): _log,
    ("GET", "state"): world.state,
    ("POST", "stack-status"): world.force_status,
    ("POST", "foreign-stacks"): world.foreign_stacks,
    ("POST", "tamper"): tampering.tamper,
}
