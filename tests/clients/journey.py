"""The whole journey over HTTP, with httpx."""

import json

from checks import answered, caller, check, equal, finished, fresh, in_status, key_of, problem, run, submitted, until

client = caller()


@check
def a_key_signs_its_user_in():
    me = answered(client.get("/v1/me"), 200)
    equal((me["tenant_id"], me["user_id"], me["access"]), ("local", "local", "write"))
    equal(me["credential"]["kind"], "key")
    assert me["server"]["version"]


@check
def nobody_comes_in_without_a_credential():
    for headers in [{}, {"Authorization": "Bearer insula_00_11"}, {"Authorization": "Basic eDp5"}]:
        with caller() as stranger:
            stranger.headers.pop("Authorization")
            problem(stranger.get("/v1/runs", headers=headers), 401, "unauthenticated")


@check
def a_submission_waits_for_its_result():
    ended = finished(client, "echo", {"greeting": "salve"})
    equal((ended["status"], ended["result"]["echo"]), ("completed", {"greeting": "salve"}))
    equal(answered(client.get(f"/v1/runs/{ended['run_id']}"), 200)["input"], {"greeting": "salve"})


@check
def a_wait_that_is_too_short_shows_the_run_as_it_stands():
    begun = answered(client.post("/v1/runs?wait=50ms", json={"agent": "sleep", "input": 60_000}), 202)
    assert begun["status"] in ("queued", "running"), begun
    answered(client.post(f"/v1/runs/{begun['run_id']}/cancel", json={}), 202)
    in_status(client, begun["run_id"], "cancelled")


@check
def a_repeated_submission_is_the_same_run():
    key = {"Idempotency-Key": fresh("key")}
    order = {"agent": "echo", "input": 1}
    first, second = (answered(client.post("/v1/runs", json=order, headers=key), 202) for _ in range(2))
    equal(first["run_id"], second["run_id"])


@check
def a_run_is_cancelled_before_it_exists():
    run_id = fresh("early")
    equal(answered(client.post(f"/v1/runs/{run_id}/cancel", json={"reason": "no"}), 202)["cancel"], "ahead")
    late = answered(client.post("/v1/runs?wait=20s", json={"agent": "sleep", "input": 60_000, "run_id": run_id}), 200)
    equal(late["status"], "cancelled")


@check
def a_running_run_is_cancelled_with_its_reason():
    begun = submitted(client, "sleep", 60_000)
    in_status(client, begun["run_id"], "running")
    answered(client.post(f"/v1/runs/{begun['run_id']}/cancel", json={"reason": "enough"}), 202)
    equal(in_status(client, begun["run_id"], "cancelled")["cancel"]["why"], "enough")


def stream(path, **headers):
    """Server-sent events as they come: (id, event, data)."""
    with client.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as response:
        equal(response.status_code, 200)
        assert response.headers["content-type"].startswith("text/event-stream")
        fields = {}
        for line in response.iter_lines():
            if line == "" and fields:
                yield fields
                fields = {}
            elif line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")


@check
def a_stream_that_was_cut_goes_on_where_it_was():
    begun = submitted(client, "count", 3)
    path = f"/v1/runs/{begun['run_id']}/events"
    seen = []
    for event in stream(path):
        seen.append(event)
        if len(seen) == 3:
            break
    seen += stream(path, **{"Last-Event-ID": seen[-1]["id"]})
    whole = answered(client.get(path), 200)
    equal([json.loads(event["data"])["seq"] for event in seen], [event["seq"] for event in whole["events"]])
    equal([event["event"] for event in seen], [event["type"] for event in whole["events"]])
    after_the_end = client.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": seen[-1]["id"]})
    equal(after_the_end.status_code, 204)


@check
def events_come_in_pages_without_gaps():
    thread = finished(client, "count", 3)["thread_id"]
    path, after, seqs = f"/v1/threads/{thread}/events", 0, []
    while after is not None:
        page = answered(client.get(path, params={"after": after, "limit": 2}), 200)
        seqs += [event["seq"] for event in page["events"]]
        after = page.get("next")
    equal(seqs, list(range(1, page["head"] + 1)))


@check
def a_question_is_found_in_the_inbox_and_answered():
    asking = submitted(client, "refund", {"order": "A-7", "amount": 90})["run_id"]
    question = until(lambda: answered(client.get("/v1/inbox", params={"run_id": asking}), 200)["items"])[0]
    equal((question["agent"], question["waiting_for"]), ("refund", "human"))
    equal(question["question"]["choices"], ["yes", "no"])
    path = f"/v1/runs/{asking}/answer"
    assert problem(client.post(path, json={"answer": "perhaps"}), 422, "invalid-input")["violations"]
    equal(answered(client.post(path, json={"answer": "yes"}), 200)["answer"], "recorded")
    equal(in_status(client, asking, "completed")["result"]["refunded"], 90)
    problem(client.post(path, json={"answer": "no"}), 404, "not-found")


@check
def a_thread_holds_a_conversation_and_forks():
    thread = fresh("thread")
    equal(answered(client.post("/v1/threads", json={"thread_id": thread}), 201)["thread_id"], thread)
    first = finished(client, "echo", 1, thread_id=thread)
    finished(client, "echo", 2, thread_id=thread)
    seq = answered(client.get(f"/v1/runs/{first['run_id']}/events"), 200)["events"][-1]["seq"]
    fork = answered(client.post(f"/v1/threads/{thread}/fork", json={"seq": seq}), 201)
    equal(fork["forked_from"], {"thread_id": thread, "seq": seq})
    equal(fork["head"], seq)
    finished(client, "echo", 3, thread_id=fork["thread_id"])
    problem(client.delete(f"/v1/threads/{thread}"), 409, "conflict")
    answered(client.delete(f"/v1/threads/{fork['thread_id']}"), 200)
    equal(answered(client.delete(f"/v1/threads/{thread}"), 200), {"threads": 1, "runs": 2})
    problem(client.get(f"/v1/threads/{thread}"), 404, "not-found")


@check
def a_run_is_tried_again_as_a_new_one():
    first = finished(client, "echo", "again")
    second = answered(client.post(f"/v1/runs/{first['run_id']}/retry"), 202)
    assert second["run_id"] != first["run_id"]
    equal(in_status(client, second["run_id"], "completed")["result"]["echo"], "again")


@check
def a_run_is_exported_imported_and_replayed():
    ended = finished(client, "count", 3)
    exported = client.get(f"/v1/runs/{ended['run_id']}/export", params={"part": "whole"})
    equal(exported.headers["content-type"], "application/x-ndjson")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert len(lines) > ended["events"], lines[0]
    headers = {"Content-Type": "application/x-ndjson"}
    problem(client.post("/v1/runs/import", content=exported.content, headers=headers), 409, "conflict")
    with caller(key_of(fresh("heir"))["key"]) as heir:
        imported = answered(heir.post("/v1/runs/import", content=exported.content, headers=headers), 201)
        copy = answered(heir.get(f"/v1/runs/{imported['run_id']}"), 200)
    equal((copy["status"], copy["result"]), (ended["status"], ended["result"]))
    replay = answered(client.post(f"/v1/runs/{ended['run_id']}/replay"), 200)
    assert replay["same_events"] and replay["same_end"], replay


@check
def a_large_value_comes_back_whole_and_by_its_hash():
    text = "long " * 10_000
    ended = finished(client, "echo", text)
    equal(ended["result"]["echo"], text)
    listed = answered(client.get("/v1/runs", params={"thread_id": ended["thread_id"]}), 200)["items"][0]["result"]
    assert listed["bytes"] > 16 << 10
    equal(answered(client.get(f"/v1/payloads/{listed['$payload']}"), 200), ended["result"])


@check
def a_list_is_walked_page_by_page():
    thread = fresh("pages")
    runs = [finished(client, "echo", n, thread_id=thread)["run_id"] for n in range(5)]
    found, cursor = [], None
    while True:
        query = {"thread_id": thread, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = answered(client.get("/v1/runs", params=query), 200)
        found += [run["run_id"] for run in page["items"]]
        cursor = page.get("next")
        if not cursor:
            break
    equal(found, runs[::-1])


@check
def agents_say_what_they_take_and_refuse_the_rest():
    schema = answered(client.get("/v1/agents/refund"), 200)["input_schema"]
    equal(schema["required"], ["order", "amount"])
    wrong = client.post("/v1/runs", json={"agent": "refund", "input": {"order": "A-7"}})
    assert problem(wrong, 422, "invalid-input")["violations"]


@check
def what_a_user_spent_is_counted():
    day = answered(client.get("/v1/usage"), 200)["items"]
    assert any(item["agent"] == "echo" and item["completed"] > 0 for item in day), day


@check
def a_schedule_is_kept_paused_and_removed():
    path = f"/v1/schedules/{fresh('nightly')}"
    made = answered(client.put(path, json={"cron": "0 3 * * *", "agent": "echo", "input": 1}), 200)
    assert made["next_at"] and not made["paused"], made
    assert answered(client.post(f"{path}/pause"), 200)["paused"]
    assert not answered(client.post(f"{path}/resume"), 200)["paused"]
    answered(client.delete(path), 204)
    problem(client.delete(path), 404, "not-found")
    problem(client.put(path, json={"cron": "often", "agent": "echo"}), 422, "invalid-input")


@check
def a_key_works_until_it_is_revoked():
    made = answered(client.post("/v1/keys", json={"name": "for an hour", "access": "read", "expires_in": "1h"}), 201)
    with caller(made["key"]) as reader:
        answered(reader.get("/v1/runs"), 200)
        problem(reader.post("/v1/runs", json={"agent": "echo"}), 403, "forbidden")
        equal(answered(client.delete(f"/v1/keys/{made['key_id']}"), 200)["key_id"], made["key_id"])
        problem(reader.get("/v1/runs"), 401, "unauthenticated")
    assert made["key"] not in client.get("/v1/keys").text


@check
def two_users_never_see_each_other():
    mine = finished(client, "echo", "mine")
    with caller(key_of(fresh("bob"))["key"]) as bob:
        equal(answered(bob.get("/v1/runs"), 200)["items"], [])
        equal(answered(bob.get("/v1/threads"), 200)["items"], [])
        for path in ["runs/{run_id}", "runs/{run_id}/events", "runs/{run_id}/export", "threads/{thread_id}"]:
            theirs, nobodys = path.format(**mine), path.format(run_id="nobodys", thread_id="nobodys")
            foreign = problem(bob.get(f"/v1/{theirs}"), 404, "not-found")
            absent = problem(bob.get(f"/v1/{nobodys}"), 404, "not-found")
            equal(foreign["title"], absent["title"])
        problem(bob.post(f"/v1/runs/{mine['run_id']}/retry"), 404, "not-found")
        problem(bob.get("/v1/admin/keys"), 403, "forbidden")
        problem(bob.get("/v1/operator/overview"), 403, "forbidden")


@check
def whoever_leaves_takes_everything_along():
    user = fresh("eve")
    with caller(key_of(user)["key"]) as eve:
        run_id = finished(eve, "echo", "gone")["run_id"]
        problem(eve.delete("/v1/me", params={"confirm": "somebody"}), 400, "invalid-request")
        answered(eve.delete("/v1/me", params={"confirm": user}), 200)
        problem(eve.get(f"/v1/runs/{run_id}"), 404, "not-found")


@check
def what_is_wrong_is_a_problem():
    problem(client.get("/v1/nothing"), 404, "not-found")
    problem(client.get("/v1/runs/nobodys"), 404, "not-found")
    problem(client.put("/v1/me"), 405, "method-not-allowed")
    problem(client.post("/v1/runs", json={"agent": "echo", "colour": "red"}), 400, "invalid-request")
    problem(client.post("/v1/runs", json={"agent": "nobody"}), 404, "not-found")
    text = {"Content-Type": "text/plain"}
    problem(client.post("/v1/runs", content="{}", headers=text), 415, "unsupported-media-type")
    problem(client.post("/v1/runs", json={"agent": "echo", "input": "x" * (9 << 20)}), 413, "too-large")


@check
def operators_see_counts_and_nobodys_content():
    overview = answered(client.get("/v1/operator/overview"), 200)
    assert overview["version"] and overview["health"], overview
    metrics = client.get("/metrics")
    equal(metrics.status_code, 200)
    assert "insula_" in metrics.text
    equal(answered(client.get("/healthz"), 200), {"status": "alive"})
    equal(answered(client.get("/readyz"), 200)["status"], "ready")


run()
