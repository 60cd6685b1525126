-- Runs that wait, are ordered and are deleted again; questions, schedules and accounts.
--
-- The table of runs is written anew instead of being given columns at its end: what follows a large input or result would
-- be found only by walking through the pages that hold them.

-- What an owner has at the moment, so that nobody looks for what is not there.
ALTER TABLE owners ADD COLUMN weight   INTEGER NOT NULL DEFAULT 1; -- runs that are claimed in a turn
ALTER TABLE owners ADD COLUMN queued   INTEGER NOT NULL DEFAULT 0; -- submitted runs with in_turn that were never claimed
ALTER TABLE owners ADD COLUMN ahead    INTEGER NOT NULL DEFAULT 0; -- rows in ahead
ALTER TABLE owners ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0; -- rows in reservations

-- A fork's log begins with the first base_seq events of another thread.
ALTER TABLE threads ADD COLUMN base_no  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE threads ADD COLUMN base_seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX threads_forked ON threads (base_no) WHERE base_no <> 0;

CREATE TABLE runs_2 (
    run_no         INTEGER PRIMARY KEY,
    owner_no       INTEGER NOT NULL,
    run_id         TEXT NOT NULL,
    thread_no      INTEGER NOT NULL,
    prev_of_owner  INTEGER NOT NULL, -- the owner's run before this one, or 0
    prev_of_thread INTEGER NOT NULL, -- the thread's run before this one, or 0
    status         TEXT NOT NULL,
    place          INTEGER, -- 1 ready, 2 asleep until due_at, 3 held, 4 until its turn in the thread, NULL ended
    due_at         INTEGER, -- since when it is ready, or when it wakes
    priority       INTEGER NOT NULL,
    in_turn        INTEGER NOT NULL, -- 1 for a submitted run: they go one at a time in their thread
    token          INTEGER NOT NULL,
    worker         TEXT,
    lease_until    INTEGER,
    asked          INTEGER NOT NULL, -- rows in questions
    answered       INTEGER NOT NULL, -- those of them with an answer
    events         INTEGER NOT NULL,
    first_pos      INTEGER NOT NULL,
    last_pos       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    ended_at       INTEGER,
    deadline       INTEGER,
    waits_for      TEXT,
    rolled_back    INTEGER NOT NULL,
    parent_run_id  TEXT,
    agent          TEXT NOT NULL,
    version        TEXT NOT NULL,
    cancel_by      TEXT,
    cancel_why     TEXT,
    fail_reason    TEXT,
    fail_message   TEXT,
    idempotency    TEXT,
    options        TEXT, -- the engine's own
    input          TEXT NOT NULL,
    result         TEXT,
    UNIQUE (run_id, owner_no)
) STRICT;
INSERT INTO runs_2 SELECT run_no, owner_no, run_id, thread_no, prev_of_owner, prev_of_thread, status, place, due_at, 0, 0,
    token, worker, lease_until, 0, 0, events, first_pos, last_pos, last_at, created_at, started_at, ended_at, deadline,
    NULL, 0, parent_run_id, agent, version, cancel_by, cancel_why, fail_reason, fail_message, idempotency, NULL, input,
    result FROM runs;
DROP TABLE runs;
ALTER TABLE runs_2 RENAME TO runs;

CREATE UNIQUE INDEX runs_by_key ON runs (owner_no, idempotency) WHERE idempotency IS NOT NULL;
-- A run is in none of these once it has ended: finding work costs the same after a hundred thousand runs as after one.
CREATE INDEX runs_ready ON runs (owner_no, priority DESC, due_at) WHERE place = 1;
CREATE INDEX runs_asleep ON runs (due_at) WHERE place = 2;
CREATE INDEX runs_held ON runs (worker, lease_until) WHERE place = 3;
-- Children that nobody waits for any more are found when their parent ends.
CREATE INDEX runs_children ON runs (owner_no, parent_run_id) WHERE place IS NOT NULL AND parent_run_id IS NOT NULL;
CREATE INDEX runs_open ON runs (owner_no) WHERE place IS NOT NULL;
CREATE INDEX runs_told ON runs (worker) WHERE place = 3 AND (cancel_by IS NOT NULL OR answered > 0);
-- Runs that were not submitted are not in these either.
CREATE INDEX runs_in_turn ON runs (thread_no) WHERE in_turn = 1 AND place IS NOT NULL;
CREATE INDEX runs_held_of_owner ON runs (owner_no) WHERE in_turn = 1 AND place = 3;

-- Which runs refer to a payload. It goes with the last of them.
CREATE TABLE payload_uses (
    run_no   INTEGER NOT NULL, -- 0 for a use that was not written down: it goes with its owner
    hash     BLOB NOT NULL,
    owner_no INTEGER NOT NULL,
    PRIMARY KEY (run_no, hash, owner_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX payload_users ON payload_uses (owner_no, hash);
INSERT INTO payload_uses SELECT 0, hash, owner_no FROM payloads;

-- Questions that are not closed.
CREATE TABLE questions (
    question_no INTEGER PRIMARY KEY,
    owner_no    INTEGER NOT NULL,
    run_no      INTEGER NOT NULL,
    place       INTEGER NOT NULL, -- in the run's order of calls
    kind        TEXT NOT NULL,
    asked_at    INTEGER NOT NULL,
    expires_at  INTEGER,
    question    TEXT NOT NULL,
    answer      TEXT,
    answered_by TEXT,
    UNIQUE (run_no, place)
) STRICT;
CREATE INDEX questions_open ON questions (owner_no) WHERE answer IS NULL;

-- Wishes to stop runs that are not there yet.
CREATE TABLE ahead (
    ahead_no INTEGER PRIMARY KEY,
    owner_no INTEGER NOT NULL,
    run_id   TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    by       TEXT NOT NULL,
    why      TEXT NOT NULL,
    UNIQUE (owner_no, run_id)
) STRICT;
CREATE INDEX ahead_by_age ON ahead (owner_no);

CREATE TABLE schedules (
    owner_no   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    next_at    INTEGER,
    spec       TEXT NOT NULL,
    PRIMARY KEY (owner_no, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

-- What a user, or with an empty user_id a tenant, has spent in a window and reserved. Amounts are JSON.
CREATE TABLE accounts (
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    ends_at   INTEGER NOT NULL,
    window    INTEGER NOT NULL, -- how long the next one is
    spent     TEXT NOT NULL,
    reserved  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;

-- Under the run's id: a call may reserve before its run is written down.
CREATE TABLE reservations (
    owner_no  INTEGER NOT NULL,
    run_id    TEXT NOT NULL,
    place     INTEGER NOT NULL, -- in the run's order of calls
    of_tenant INTEGER NOT NULL,
    of_user   INTEGER NOT NULL,
    amounts   TEXT NOT NULL,
    PRIMARY KEY (owner_no, run_id, place)
) STRICT, WITHOUT ROWID;

-- Threads that are being deleted: nobody sees them any more, and they go in steps.
CREATE TABLE doomed (
    thread_no INTEGER PRIMARY KEY,
    owner_no  INTEGER NOT NULL,
    last_run  INTEGER NOT NULL, -- the youngest run that is left
    last_pos  INTEGER NOT NULL, -- the last chunk that is left
    above     INTEGER NOT NULL  -- a younger run of the owner, from which the next one to be taken out is found; or 0
) STRICT;
