"""The HTTP front: control calls, faults and the log around moto's own application."""

import io
import json
import re
import socket
import struct
import sys
import time
import traceback

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from . import control, iam, identity
from .calls import Call, result_of
from .faults import AFTER, answer
from .hub import STANDIN

CONTROL = "/_standin/"
ISSUED = re.compile(rb"<AccessKeyId>([^<]+)</AccessKeyId>")


class Handler(MotoRequestHandler):
    # Headers and body go out in two writes; without this the second waits for the first one's receipt.
    disable_nagle_algorithm = True

    def log(self, type, message, *args):
        if type == "error":
            sys.stderr.write((message % args if args else message) + "\n")


class Front:
    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        body = _read(environ)
        if environ["PATH_INFO"].startswith(CONTROL):
            return self._control(environ, body, start_response)
        return self._aws(environ, body, start_response)

    def _control(self, environ, body, start_response):
        with STANDIN.lock:
            STANDIN.tick()
            status, result = control.handle(
                environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(CONTROL), environ.get("QUERY_STRING", ""), body
            )
        text = json.dumps(result, default=str).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text]

    def _aws(self, environ, body, start_response):
        call = Call(environ, body)
        with STANDIN.lock:
            STANDIN.tick(by_request=True)
            entry = STANDIN.log.open(call, STANDIN.clock.now())
            delays, fault = STANDIN.faults.for_call(call)
            known = STANDIN.settings.known_access_keys
            missing = iam.denied(STANDIN.settings, call)
            request_id = f"{STANDIN.random.getrandbits(128):032x}"
        entry["fault"] = fault.kind if fault else "delay" if delays else None
        if delays:
            # Outside the lock: a slow answer to one client must not hold up the others.
            time.sleep(sum(delay.ms for delay in delays) / 1000)
        if fault and fault.kind == "reset_before":
            entry["result"] = "reset"
            _reset(environ)
        if fault and fault.kind not in AFTER:
            response = answer(fault.kind, call, fault.message, request_id)
        elif known is not None and call.access_key not in known and call.action != "AssumeRoleWithWebIdentity":
            response = answer("invalid_credentials", call, None, request_id)
        elif missing:
            response = answer("access_denied", call, missing, request_id)
        else:
            response = self._execute(environ, body, call, entry)
            if fault and fault.kind in AFTER and fault.kind != "reset_after":
                response = answer(fault.kind, call, fault.message, request_id)
        status, headers, text = response
        entry["result"] = result_of(status, text)
        if fault and fault.kind == "reset_after":
            _reset(environ)
        start_response(status, headers)
        return [text]

    def _execute(self, environ, body, call, entry):
        if call.action == "AssumeRoleWithWebIdentity":
            try:
                entry["pod"] = identity.pod(identity.bearer(call.form.get("WebIdentityToken", ""), STANDIN.clock.now()))
            except identity.Refused as refused:
                return _with_code(refused.code, call, str(refused))
        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        kept = {}

        def keep(status, headers, exc_info=None):
            kept.update(status=status, headers=headers)

        with STANDIN.lock:
            STANDIN.tick()
            STANDIN.caller = call.access_key
            try:
                result = self.moto(environ, keep)
                text = b"".join(result)
                if hasattr(result, "close"):
                    result.close()
            except NotImplementedError as error:
                return _unknown_action(call, error)
            except Exception:
                traceback.print_exc()
                return answer("error500", call, "the stand-in itself failed; see its standard error")
        if call.action == "AssumeRoleWithWebIdentity" and (issued := ISSUED.search(text)):
            entry["issued"] = issued.group(1).decode()
        return kept["status"], kept["headers"], text


def _unknown_action(call, error):
    return _with_code("InvalidAction", call, f"The stand-in does not know the action {call.action}: {error}")


def _with_code(wanted, call, message):
    _, headers, text = answer("error500", call, message)
    for code in (b"InternalFailure", b"InternalError"):
        text = text.replace(code, wanted.encode())
    headers = [(key, str(len(text)) if key == "Content-Length" else value) for key, value in headers]
    return f"400 {wanted}", headers, text


def _read(environ):
    if environ.get("wsgi.input_terminated"):
        return environ["wsgi.input"].read()
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _reset(environ):
    """Breaks the connection without an answer, as a network would."""
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("a fault asked for this")


def serve(port):
    """A server on the loopback interface, bound and listening; `serve_forever` starts it."""
    return make_server("127.0.0.1", port, Front(), threaded=True, request_handler=Handler)
