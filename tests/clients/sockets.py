"""The socket, with the package websockets."""

import json
from contextlib import contextmanager

from checks import SECONDS, URL, KEY, answered, caller, check, equal, finished, fresh, in_status, key_of, run
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

ADDRESS = URL.replace("http", "ws", 1) + "/v1/socket"
client = caller()


class Socket:
    """Commands and the frames that answer them. Events that come in between are kept."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.sent = 0

    def frame(self):
        frame = json.loads(self.connection.recv(timeout=SECONDS))
        if frame["type"] == "event":
            self.events.append(frame["event"])
        return frame

    def ask(self, type, **fields):
        """The frame that answers this command."""
        self.sent += 1
        self.connection.send(json.dumps({"type": type, "id": self.sent, **fields}))
        frame = self.frame()
        while frame.get("id") != self.sent:
            frame = self.frame()
        return frame

    def until(self, type, run_id):
        """Reads on to this event of this run, unless it has come already."""
        while not any((event["type"], event["run_id"]) == (type, run_id) for event in self.events):
            self.frame()

    def seqs(self):
        return [event["seq"] for event in self.events]


@contextmanager
def socket(key=KEY, address=ADDRESS):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with connect(address, additional_headers=headers) as connection:
        yield Socket(connection)


@check
def a_run_is_started_and_watched_to_its_end():
    with socket() as ws:
        started = ws.ask("start", agent="count", input=3, subscribe=True)["run"]
        ws.until("agent_completed", started["run_id"])
    whole = answered(client.get(f"/v1/threads/{started['thread_id']}/events"), 200)["events"]
    equal(ws.events, whole)


@check
def a_ticket_lets_a_browser_in_once():
    ticket = answered(client.post("/v1/tickets"), 201)["ticket"]
    with socket(None, f"{ADDRESS}?ticket={ticket}") as ws:
        equal(ws.ask("ping")["type"], "pong")
    try:
        with socket(None, f"{ADDRESS}?ticket={ticket}"):
            raise AssertionError("a ticket was good twice")
    except InvalidStatus as refused:
        equal(refused.response.status_code, 401)


@check
def a_question_is_answered_over_the_socket():
    with socket() as ws:
        run_id = ws.ask("start", agent="refund", input={"order": "A-8", "amount": 50}, subscribe=True)["run"]["run_id"]
        ws.until("agent_waiting", run_id)
        equal(ws.ask("answer", run_id=run_id, answer="yes")["answer"], "recorded")
        ws.until("agent_completed", run_id)
    equal(in_status(client, run_id, "completed")["result"]["refunded"], 50)


@check
def a_run_is_cancelled_over_the_socket():
    with socket() as ws:
        run_id = ws.ask("start", agent="sleep", input=60_000, subscribe=True)["run"]["run_id"]
        ws.until("agent_started", run_id)
        equal(ws.ask("cancel", run_id=run_id, reason="enough")["cancel"], "recorded")
        ws.until("agent_cancelled", run_id)


@check
def whoever_comes_back_gets_each_event_once():
    thread = fresh("resumed")
    with socket() as ws:
        ws.ask("subscribe", thread_id=thread, after=0)
        first = ws.ask("start", agent="count", input=3, thread_id=thread)["run"]
        while len(ws.events) < 3:
            ws.frame()
    last = ws.events[-1]["seq"]
    in_status(client, first["run_id"], "completed")
    second = finished(client, "count", 3, thread_id=thread)
    with socket() as again:
        again.ask("subscribe", thread_id=thread, after=last)
        again.until("agent_completed", second["run_id"])
    seqs = ws.seqs() + again.seqs()
    equal(seqs, list(range(1, len(seqs) + 1)))


@check
def many_threads_come_over_one_socket():
    with socket() as ws:
        runs = [ws.ask("start", agent="echo", input=n, subscribe=True)["run"] for n in range(10)]
        for started in runs:
            ws.until("agent_completed", started["run_id"])
    for started in runs:
        seqs = [event["seq"] for event in ws.events if event["thread_id"] == started["thread_id"]]
        equal(seqs, list(range(1, len(seqs) + 1)))


@check
def a_wrong_command_is_a_problem_and_the_socket_goes_on():
    with socket() as ws:
        for command, name in [
            ({"type": "start", "agent": "nobody"}, "not-found"),
            ({"type": "start", "agent": "refund", "input": {}}, "invalid-input"),
            ({"type": "answer", "run_id": "nobodys", "answer": 1}, "not-found"),
            ({"type": "halt"}, "invalid-request"),
        ]:
            refused = ws.ask(**command)
            equal((refused["type"], refused["problem"]["type"]), ("error", f"urn:insula:problem:{name}"))
        equal(ws.ask("ping")["type"], "pong")


@check
def another_users_thread_stays_silent():
    mine = finished(client, "echo", "mine")
    with socket(key_of(fresh("mallory"))["key"]) as ws:
        ws.ask("subscribe", thread_id=mine["thread_id"], after=0)
        own = ws.ask("start", agent="echo", input="own", thread_id=mine["thread_id"])["run"]
        ws.until("agent_completed", own["run_id"])
    equal({event["user_id"] for event in ws.events}, {own["user_id"]})
    equal(ws.seqs(), list(range(1, len(ws.events) + 1)))


@check
def a_revoked_key_closes_its_sockets():
    made = answered(client.post("/v1/keys", json={"name": "short"}), 201)
    with socket(made["key"]) as ws:
        equal(ws.ask("ping")["type"], "pong")
        answered(client.delete(f"/v1/keys/{made['key_id']}"), 200)
        try:
            while True:
                ws.frame()
        except ConnectionClosed as closed:
            equal(closed.rcvd.code, 1008)


@check
def a_frame_that_is_too_large_closes_the_socket():
    with socket() as ws:
        try:
            ws.connection.send("x" * (2 << 20))
            while True:
                ws.frame()
        except ConnectionClosed as closed:
            equal(closed.rcvd.code, 1009)


@check
def whoever_leaves_stops_nothing():
    with socket() as ws:
        run_id = ws.ask("start", agent="sleep", input=300)["run"]["run_id"]
    equal(in_status(client, run_id, "completed")["result"], {"slept_ms": 300})


run()
