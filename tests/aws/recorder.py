"""A proxy on loopback through which every call goes: it signs the request again, sends it on, and writes down both sides."""

import http.client
import json
import os
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
READ_ONLY = ("Describe", "List", "Get", "Detect", "Validate", "Assume")
# What was signed, or is about the connection.
NOT_PASSED = {
    "host", "authorization", "x-amz-date", "x-amz-security-token", "connection", "content-length", "accept-encoding",
    "transfer-encoding", "expect", "x-amz-content-sha256",
}
# Their answers are credentials.
NOT_RECORDED = ("AssumeRole",)


class Exchange:
    """One call of the script or of the program."""

    def __init__(self, step, who, service, action, parameters):
        self.step, self.who, self.service, self.action, self.parameters = step, who, service, action, parameters
        self.error = None

    @property
    def mutating(self):
        return not self.action.startswith(READ_ONLY)


class Recorder:
    def __init__(self, session, region, upstream, file, redactor):
        self.session, self.region, self.upstream = session, region, upstream
        self.file, self.redactor = file, redactor
        self.lock, self.calls, self.step = threading.Lock(), [], "start"
        # Access key of a caller -> (its name, a function that returns botocore credentials).
        self.callers = {}
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=10, read=120))
        # KSEC_AWS_RUN_DIES=STEP:N is the test of the clean-up: the process is killed when the step's Nth change has been
        # carried out and nobody has had its answer.
        self.dies, _, number = os.environ.get("KSEC_AWS_RUN_DIES", "").partition(":")
        self.countdown = int(number or 1)
        self.endpoints = {}

    def start(self):
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, answer = recorder.carry(self.command, self.path, self.headers, body)
                try:
                    self.reply(status, headers, answer)
                except ConnectionError:
                    # Who asked is gone: the program was stopped.
                    self.close_connection = True

            def reply(self, status, headers, answer):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server", "content-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def carry(self, method, path, headers, body):
        found = CREDENTIAL.search(headers.get("Authorization", ""))
        if not found or found.group(1) not in self.callers:
            return 403, {}, b"the recorder does not know this caller"
        key, region, service = found.groups()
        who, credentials = self.callers[key]
        action, parameters = _read(headers, body)
        exchange = Exchange(self.step, who, service, action, parameters)
        try:
            status, answer_headers, answer = self._send(method, path, headers, body, service, region, credentials())
        except urllib3.exceptions.HTTPError as error:
            # The caller tries again, as it does when AWS does not answer.
            return 503, {}, f"no answer: {error}".encode()
        if exchange.mutating and self.step == self.dies:
            self.countdown -= 1
            if self.countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        self._note(exchange, status, answer_headers, answer)
        return status, answer_headers, answer

    def _send(self, method, path, headers, body, service, region, credentials):
        passed = {name: value for name, value in headers.items() if name.lower() not in NOT_PASSED}
        request = AWSRequest(method, self._endpoint(service, region).rstrip("/") + path, headers=passed, data=body)
        SigV4Auth(credentials, service, region).add_auth(request)
        prepared = request.prepare()
        answer = self.pool.request(
            method, prepared.url, body=body, headers=dict(prepared.headers), redirect=False, decode_content=True
        )
        return answer.status, dict(answer.headers), answer.data

    def _endpoint(self, service, region):
        if self.upstream:
            return self.upstream
        place = (service, region)
        if place not in self.endpoints:
            self.endpoints[place] = self.session.client(service, region_name=region).meta.endpoint_url
        return self.endpoints[place]

    def _note(self, exchange, status, headers, body):
        parsed = parse(self.session, exchange.service, exchange.action, status, headers, body)
        exchange.error = parsed.get("Error", {}).get("Code") if status >= 400 else None
        with self.lock:
            self.calls.append(exchange)
            if exchange.action in NOT_RECORDED:
                return
            # The answer first: it is what tells which addresses are to be replaced.
            answer = self.redactor.answer(parsed)
            parameters = {key: self.redactor.text(value) for key, value in exchange.parameters.items()}
            line = {
                "n": len(self.calls), "step": exchange.step, "who": exchange.who, "service": exchange.service,
                "action": exchange.action, "parameters": parameters, "status": status, "answer": answer,
            }
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def since(self, number, who=None, action=None, mutating=None):
        with self.lock:
            return [
                call for call in self.calls[number:]
                if (who is None or call.who == who) and (action is None or call.action == action)
                and (mutating is None or call.mutating == mutating)
            ]

    def mark(self):
        with self.lock:
            return len(self.calls)


def _read(headers, body):
    target = headers.get("X-Amz-Target", "").rpartition(".")[2]
    if target:
        return target, {"body": body.decode("utf-8", "replace")}
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    action = form.pop("Action", "unknown")
    form.pop("Version", None)
    return action, form


def parse(session, service, action, status, headers, body):
    """The answer as botocore reads it; what it cannot read, as text."""
    try:
        model = service_model(session, service)
        parser = create_parser(model.resolved_protocol)
        answer = {"status_code": status, "headers": {name.lower(): value for name, value in headers.items()}, "body": body}
        return parser.parse(answer, model.operation_model(action).output_shape)
    except Exception as error:  # Whatever it is, the walk goes on and the recording says so.
        return {"unreadable": f"{type(error).__name__}: {error}", "text": body.decode("utf-8", "replace")[:2000]}


MODELS = {}


def service_model(session, service):
    if service not in MODELS:
        name = {"servicequotas": "service-quotas"}.get(service, service)
        MODELS[service] = session.client(name, region_name="us-east-1").meta.service_model
    return MODELS[service]
