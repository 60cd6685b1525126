"""A receiver of webhooks, which believes nothing that is not signed."""

import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from checks import SECONDS, answered, caller, check, equal, fresh, run, submitted, until

SECRET = "at least sixteen characters"
client = caller()
calls = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        calls.put((self.path, self.headers, body))
        self.send_response(410 if self.path.startswith("/gone") else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()


def hook(path):
    return {"url": f"http://127.0.0.1:{server.server_port}{path}", "secret": SECRET}


def state_of(run_id):
    items = answered(client.get("/v1/webhooks"), 200)["items"]
    return next((item for item in items if item["run_id"] == run_id), None)


def signature(secret, timestamp, body):
    """As the receiver computes it: over the time and the body as it came, before it is read as JSON."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


@check
def the_end_of_a_run_is_told_and_signed():
    begun = submitted(client, "echo", "tell me", webhook=hook("/done"))
    path, headers, body = calls.get(timeout=SECONDS)
    equal(path, "/done")
    timestamp = headers["Insula-Timestamp"]
    assert abs(time.time() - int(timestamp)) < 60
    assert hmac.compare_digest(headers["Insula-Signature"], signature(SECRET, timestamp, body))
    told = json.loads(body)
    equal((told["type"], told["delivery_id"]), ("run.ended", headers["Insula-Delivery"]))
    equal((told["run"]["run_id"], told["run"]["result"]["echo"]), (begun["run_id"], "tell me"))
    until(lambda: state_of(begun["run_id"])["state"] == "delivered")


@check
def a_call_is_made_again_by_hand_under_the_same_id():
    begun = submitted(client, "echo", "twice", webhook=hook("/twice"))
    first = calls.get(timeout=SECONDS)[1]["Insula-Delivery"]
    until(lambda: state_of(begun["run_id"])["state"] == "delivered")
    answered(client.post(f"/v1/webhooks/{begun['run_id']}/resend"), 202)
    equal(calls.get(timeout=SECONDS)[1]["Insula-Delivery"], first)


@check
def a_call_that_fails_is_due_again():
    begun = submitted(client, "echo", "nobody there", webhook=hook("/gone"))
    calls.get(timeout=SECONDS)
    until(lambda: state_of(begun["run_id"])["attempts"] == 1)
    waiting = state_of(begun["run_id"])
    equal(waiting["state"], "due")
    assert waiting["next_at"] and "410" in waiting["last_error"], waiting


@check
def the_secret_is_never_shown():
    begun = submitted(client, "echo", fresh("quiet"), webhook=hook("/quiet"))
    calls.get(timeout=SECONDS)
    for path in [f"/v1/runs/{begun['run_id']}", f"/v1/runs/{begun['run_id']}/events", "/v1/webhooks", "/v1/audit"]:
        assert SECRET not in client.get(path).text, path


run()
