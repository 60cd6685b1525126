-- Every table hangs on an owner by number. Numbers are small and never change, so they make short keys; they are found
-- only through the owner's tenant and user, in the same transaction that uses them.
--
-- Hot tables stand in order of arrival. Their lists are chains (each row knows the one before it) and their unique keys
-- begin with the id, because ids are made in order of time: so all that a commit writes lies together, however many owners
-- take part in it and however many runs there are already.

CREATE TABLE owners (
    owner_no    INTEGER PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    last_run    INTEGER NOT NULL, -- the youngest run; older ones follow by runs.prev_of_owner
    last_thread INTEGER NOT NULL, -- the youngest thread; older ones follow by threads.prev_thread
    UNIQUE (tenant_id, user_id)
) STRICT;

CREATE TABLE threads (
    thread_no   INTEGER PRIMARY KEY,
    owner_no    INTEGER NOT NULL,
    thread_id   TEXT NOT NULL,
    prev_thread INTEGER NOT NULL, -- the owner's thread before this one, or 0
    created_at  INTEGER NOT NULL,
    head        INTEGER NOT NULL, -- seq of the last event
    last_pos    INTEGER NOT NULL, -- its chunk in the log, 0 while there is none
    last_run    INTEGER NOT NULL, -- the youngest run; older ones follow by runs.prev_of_thread
    UNIQUE (thread_id, owner_no)
) STRICT;

CREATE TABLE runs (
    run_no         INTEGER PRIMARY KEY,
    owner_no       INTEGER NOT NULL,
    run_id         TEXT NOT NULL,
    thread_no      INTEGER NOT NULL,
    prev_of_owner  INTEGER NOT NULL, -- the owner's run before this one, or 0
    prev_of_thread INTEGER NOT NULL, -- the thread's run before this one, or 0
    status         TEXT NOT NULL,
    place          INTEGER, -- 1 ready, 2 asleep until due_at or until it is asked to stop, 3 held, NULL ended
    due_at         INTEGER, -- since when it is ready, or when it wakes
    token          INTEGER NOT NULL,
    worker         TEXT,
    lease_until    INTEGER,
    events         INTEGER NOT NULL,
    first_pos      INTEGER NOT NULL,
    last_pos       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    ended_at       INTEGER,
    deadline       INTEGER,
    parent_run_id  TEXT,
    agent          TEXT NOT NULL,
    version        TEXT NOT NULL,
    cancel_by      TEXT,
    cancel_why     TEXT,
    fail_reason    TEXT,
    fail_message   TEXT,
    idempotency    TEXT,
    input          TEXT NOT NULL,
    result         TEXT,
    UNIQUE (run_id, owner_no)
) STRICT;
CREATE UNIQUE INDEX runs_by_key ON runs (owner_no, idempotency) WHERE idempotency IS NOT NULL;
-- A run is in none of these once it has ended: finding work costs the same after a hundred thousand runs as after one.
CREATE INDEX runs_ready ON runs (owner_no, due_at) WHERE place = 1;
CREATE INDEX runs_asleep ON runs (due_at) WHERE place = 2;
CREATE INDEX runs_held ON runs (worker, lease_until) WHERE place = 3;
CREATE INDEX runs_waiting ON runs (owner_no) WHERE status = 'waiting';
CREATE INDEX runs_stopping ON runs (worker) WHERE place = 3 AND cancel_by IS NOT NULL;

-- One row per append, in the order of appends and under no second index.
CREATE TABLE log (
    pos       INTEGER PRIMARY KEY,
    thread_no INTEGER NOT NULL,
    run_no    INTEGER NOT NULL,
    prev_pos  INTEGER NOT NULL, -- the thread's chunk before this one, or 0
    first_seq INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    sum       INTEGER NOT NULL, -- checksum of the body
    body      BLOB NOT NULL
) STRICT;

-- Where to enter a long thread's log: the chunk that holds each 64th event.
CREATE TABLE marks (
    thread_no INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    pos       INTEGER NOT NULL,
    PRIMARY KEY (thread_no, last_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE payloads (
    owner_no INTEGER NOT NULL,
    hash     BLOB NOT NULL,
    bytes    BLOB NOT NULL,
    PRIMARY KEY (owner_no, hash)
) STRICT;

CREATE TABLE state (
    owner_no INTEGER NOT NULL,
    space    TEXT NOT NULL, -- run, thread, user or agent
    holder   TEXT NOT NULL, -- which run, thread or agent
    name     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (owner_no, space, holder, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE quota (
    owner_no INTEGER NOT NULL,
    name     TEXT NOT NULL,
    ends_at  INTEGER NOT NULL,
    taken    INTEGER NOT NULL,
    PRIMARY KEY (owner_no, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    worker      TEXT PRIMARY KEY,
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
