"""What every script here shares: checks that print one line each, and a caller of the server.

`cargo xtask test clients` starts a server for each script and says in the environment where it is:
INSULA_SERVER, INSULA_KEY (of a user, operator and admin), CLIENTS_BINARY.
"""

import os
import time
import traceback
import uuid

import httpx

URL = os.environ["INSULA_SERVER"]
KEY = os.environ["INSULA_KEY"]
SECONDS = 20
CHECKS = []


def check(promise):
    """Registers a check. Its name is its promise."""
    CHECKS.append(promise)
    return promise


def run():
    """Every check, whatever became of the others; one line for each, the place of a failure on stderr."""
    failed = 0
    for promise in CHECKS:
        name = promise.__name__
        try:
            promise()
            print(f"ok {name}", flush=True)
        except Exception as error:
            failed += 1
            traceback.print_exc()
            why = " ".join(f"{type(error).__name__} {error}".split())[:300]
            print(f"not ok {name}: {why}", flush=True)
    raise SystemExit(1 if failed else 0)


def caller(key=KEY):
    return httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS)


def fresh(prefix):
    """An id that nobody else has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def answered(response, status):
    """The JSON of an answer that has to have this status."""
    assert response.status_code == status, f"{response.status_code} is not {status}: {response.text[:200]}"
    assert response.headers["x-request-id"]
    return response.json() if response.content else None


def problem(response, status, name):
    """A refusal is a problem of RFC 9457, and says under which id the server's log has it."""
    body = answered(response, status)
    equal(response.headers["content-type"], "application/problem+json")
    equal(body["type"], f"urn:insula:problem:{name}")
    equal(body["status"], status)
    equal(body["request_id"], response.headers["x-request-id"])
    assert body["title"] and body["detail"], body
    return body


def until(condition):
    """What the condition finds, as soon as it finds anything."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{condition.__name__} did not come true in {SECONDS} s")


def finished(client, agent, input, **more):
    """The ended run of a submission."""
    return answered(client.post("/v1/runs?wait=20s", json={"agent": agent, "input": input, **more}), 200)


def submitted(client, agent, input, **more):
    return answered(client.post("/v1/runs", json={"agent": agent, "input": input, **more}), 202)


def in_status(client, run_id, status):
    """The run, as soon as it has this status."""

    def run_in_status():
        run = answered(client.get(f"/v1/runs/{run_id}"), 200)
        return run if run["status"] == status else None

    return until(run_in_status)


def key_of(user, **more):
    """A new key of a user, as an admin makes it."""
    with caller() as admin:
        order = {"tenant_id": "local", "user_id": user, "name": f"{user}'s", **more}
        return answered(admin.post("/v1/admin/keys", json=order), 201)
