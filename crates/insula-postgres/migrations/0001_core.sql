-- Everything stands in a schema of its own. Every table with an owner begins with the owner's number, because that is what
-- the walls (the next migration) compare. A number is given once to a tenant's user and never changes, so it outlives what
-- the user has here: keys, plans and the audit log hang on it as well. Times are microseconds since 1970.

CREATE SCHEMA insula;

CREATE TABLE insula.owners (
    owner_no  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    user_id   text COLLATE "C" NOT NULL, -- empty for the tenant itself, who has an account
    UNIQUE (tenant_id, user_id)
);

-- What an owner has in the queue. The row is locked by those who submit, and by nobody who hands runs out.
CREATE TABLE insula.lines (
    owner_no  bigint PRIMARY KEY,
    weight    integer NOT NULL DEFAULT 1, -- runs that are claimed in a turn
    submitted bigint NOT NULL DEFAULT 0   -- submitted runs that go in turn, ever
) WITH (fillfactor = 50);

-- How many of them were claimed for the first time, ever: submitted less claimed is how many wait. A row of its own, so that
-- those who submit and those who claim never wait for one another.
CREATE TABLE insula.served (
    owner_no bigint PRIMARY KEY,
    claimed  bigint NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE insula.thread_numbers;
CREATE TABLE insula.threads (
    owner_no   bigint NOT NULL,
    thread_no  bigint NOT NULL,
    thread_id  text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    head       bigint NOT NULL,           -- seq of the last event
    base_no    bigint NOT NULL DEFAULT 0, -- a fork's log begins with the first base_seq events of this thread
    base_seq   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (owner_no, thread_no),
    UNIQUE (owner_no, thread_id)
) WITH (fillfactor = 80);
CREATE INDEX threads_forked ON insula.threads (base_no) WHERE base_no <> 0;
CREATE INDEX threads_by_age ON insula.threads USING brin (created_at);

CREATE SEQUENCE insula.run_numbers;
CREATE TABLE insula.runs (
    owner_no      bigint NOT NULL,
    run_no        bigint NOT NULL,
    run_id        text COLLATE "C" NOT NULL,
    thread_no     bigint NOT NULL,
    status        text COLLATE "C" NOT NULL,
    place         smallint, -- 1 ready, 2 asleep until due_at, 3 held, 4 until its turn in the thread, NULL ended
    due_at        bigint,   -- since when it is ready, or when it wakes
    priority      smallint NOT NULL,
    in_turn       boolean NOT NULL, -- a submitted run: they go one at a time in their thread
    token         bigint NOT NULL,
    worker        text COLLATE "C",
    lease_until   bigint,
    asked         bigint NOT NULL, -- rows in questions
    answered      bigint NOT NULL, -- those of them with an answer
    events        bigint NOT NULL,
    first_seq     bigint NOT NULL, -- of its first event; 0 while it has none
    last_seq      bigint NOT NULL,
    last_at       bigint NOT NULL,
    created_at    bigint NOT NULL,
    started_at    bigint,
    ended_at      bigint,
    deadline      bigint,
    waits_for     text COLLATE "C",
    rolled_back   boolean NOT NULL,
    has_call      boolean NOT NULL, -- a row in webhooks
    parent_run_id text COLLATE "C",
    agent         text COLLATE "C" NOT NULL,
    version       text COLLATE "C" NOT NULL,
    cancel_by     text,
    cancel_why    text,
    fail_reason   text COLLATE "C",
    fail_message  text,
    idempotency   text COLLATE "C",
    options       text, -- the engine's own
    input         text NOT NULL,
    result        text,
    PRIMARY KEY (owner_no, run_no),
    UNIQUE (owner_no, run_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX runs_of_thread ON insula.runs (thread_no, run_no);
CREATE UNIQUE INDEX runs_by_key ON insula.runs (owner_no, idempotency) WHERE idempotency IS NOT NULL;
-- A run is in none of these once it has ended: finding work costs the same after a hundred thousand runs as after one.
CREATE INDEX runs_ready ON insula.runs (owner_no, priority DESC, due_at, run_no) WHERE place = 1;
CREATE INDEX runs_asleep ON insula.runs (due_at, status) WHERE place = 2;
CREATE INDEX runs_held ON insula.runs (worker, lease_until) WHERE place = 3;
CREATE INDEX runs_children ON insula.runs (owner_no, parent_run_id) WHERE place IS NOT NULL AND parent_run_id IS NOT NULL;
CREATE INDEX runs_open ON insula.runs (owner_no, run_no) WHERE place IS NOT NULL;
CREATE INDEX runs_told ON insula.runs (worker, run_no) WHERE place = 3 AND (cancel_by IS NOT NULL OR answered > 0);
CREATE INDEX runs_in_turn ON insula.runs (thread_no, run_no) WHERE in_turn AND place IS NOT NULL;
CREATE INDEX runs_held_of_owner ON insula.runs (owner_no) WHERE in_turn AND place = 3;

-- One row per append. Its key is where readers find it, and what makes a second event of the same number impossible.
CREATE TABLE insula.log (
    owner_no  bigint NOT NULL,
    thread_no bigint NOT NULL,
    first_seq bigint NOT NULL,
    count     bigint NOT NULL,
    run_no    bigint NOT NULL,
    sum       bigint NOT NULL, -- checksum of the body
    body      bytea NOT NULL,
    PRIMARY KEY (thread_no, first_seq)
);
-- Compressing costs more than it saves.
ALTER TABLE insula.log ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE insula.payloads (
    owner_no bigint NOT NULL,
    hash     bytea NOT NULL,
    bytes    bytea NOT NULL,
    PRIMARY KEY (owner_no, hash)
);
ALTER TABLE insula.payloads ALTER COLUMN bytes SET STORAGE EXTERNAL;
-- Which runs refer to a payload. It goes with the last of them.
CREATE TABLE insula.payload_uses (
    owner_no bigint NOT NULL,
    run_no   bigint NOT NULL,
    hash     bytea NOT NULL,
    PRIMARY KEY (owner_no, run_no, hash)
);
CREATE INDEX payload_users ON insula.payload_uses (owner_no, hash);

-- Questions that are not closed.
CREATE TABLE insula.questions (
    owner_no    bigint NOT NULL,
    run_no      bigint NOT NULL,
    place       bigint NOT NULL, -- in the run's order of calls
    question_no bigint GENERATED ALWAYS AS IDENTITY,
    kind        text COLLATE "C" NOT NULL,
    asked_at    bigint NOT NULL,
    expires_at  bigint,
    question    text NOT NULL,
    answer      text,
    answered_by text,
    PRIMARY KEY (owner_no, run_no, place)
);
CREATE INDEX questions_open ON insula.questions (owner_no, question_no) WHERE answer IS NULL;

-- Wishes to stop runs that are not there yet.
CREATE TABLE insula.ahead (
    owner_no bigint NOT NULL,
    ahead_no bigint GENERATED ALWAYS AS IDENTITY,
    run_id   text COLLATE "C" NOT NULL,
    asked_at bigint NOT NULL,
    by       text NOT NULL,
    why      text NOT NULL,
    PRIMARY KEY (owner_no, ahead_no),
    UNIQUE (owner_no, run_id)
);

CREATE TABLE insula.schedules (
    owner_no   bigint NOT NULL,
    name       text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    next_at    bigint,
    spec       text NOT NULL,
    PRIMARY KEY (owner_no, name)
);
CREATE INDEX schedules_due ON insula.schedules (next_at) WHERE next_at IS NOT NULL;

-- What a user or a tenant has spent in a window and reserved. Amounts are JSON.
CREATE TABLE insula.accounts (
    owner_no bigint PRIMARY KEY,
    ends_at  bigint NOT NULL,
    span     bigint NOT NULL, -- how long the next window is
    spent    text NOT NULL,
    reserved text NOT NULL
);
-- Under the run's id: a call may reserve before its run is written down.
CREATE TABLE insula.reservations (
    owner_no  bigint NOT NULL,
    run_id    text COLLATE "C" NOT NULL,
    place     bigint NOT NULL, -- in the run's order of calls
    of_tenant boolean NOT NULL,
    of_user   boolean NOT NULL,
    amounts   text NOT NULL,
    PRIMARY KEY (owner_no, run_id, place)
);

CREATE TABLE insula.state (
    owner_no bigint NOT NULL,
    space    text COLLATE "C" NOT NULL, -- run, thread, user or agent
    holder   text COLLATE "C" NOT NULL, -- which run, thread or agent
    name     text COLLATE "C" NOT NULL,
    version  bigint NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (owner_no, space, holder, name)
);

CREATE TABLE insula.quota (
    owner_no bigint NOT NULL,
    name     text COLLATE "C" NOT NULL,
    ends_at  bigint NOT NULL,
    taken    bigint NOT NULL,
    PRIMARY KEY (owner_no, name)
) WITH (fillfactor = 50);

CREATE TABLE insula.keys (
    key_no       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id       text COLLATE "C" NOT NULL UNIQUE,
    owner_no     bigint NOT NULL,
    name         text NOT NULL,
    hash         bytea NOT NULL, -- of the secret half
    grants       text NOT NULL,  -- a JSON array of words
    created_at   bigint NOT NULL,
    expires_at   bigint,
    last_used_at bigint,
    revoked_at   bigint
);
CREATE INDEX keys_of_owner ON insula.keys (owner_no, key_no);

CREATE TABLE insula.audit (
    owner_no bigint NOT NULL,
    number   bigint NOT NULL,
    at       bigint NOT NULL,
    action   text NOT NULL,
    detail   text NOT NULL,
    hash     text NOT NULL,
    PRIMARY KEY (owner_no, number)
);

-- What single users may have. They outlive what the user has here.
CREATE TABLE insula.plans (
    owner_no bigint PRIMARY KEY,
    plan     text NOT NULL -- JSON
);

-- Who is to be told of the end of a run. Most runs have no row here.
CREATE TABLE insula.webhooks (
    owner_no   bigint NOT NULL,
    run_no     bigint NOT NULL,
    state      text COLLATE "C" NOT NULL,
    attempts   bigint NOT NULL,
    next_at    bigint, -- while it is due
    last_error text,
    target     text NOT NULL,
    PRIMARY KEY (owner_no, run_no)
);
CREATE INDEX webhooks_due ON insula.webhooks (next_at) WHERE state = 'due';
CREATE INDEX webhooks_open ON insula.webhooks (owner_no, state, run_no) WHERE state <> 'delivered';

-- One row per owner, day, agent and writing process: two that end runs of one user at the same time do not wait for each other.
CREATE TABLE insula.usage (
    owner_no   bigint NOT NULL,
    day        bigint NOT NULL,
    agent      text COLLATE "C" NOT NULL,
    shard      smallint NOT NULL,
    completed  bigint NOT NULL,
    failed     bigint NOT NULL,
    cancelled  bigint NOT NULL,
    tokens     bigint NOT NULL,
    money      bigint NOT NULL,
    run_micros bigint NOT NULL,
    took       bigint[] NOT NULL, -- how many runs took less than 1, 2, 4 … ms
    PRIMARY KEY (owner_no, day, agent, shard)
) WITH (fillfactor = 50);

-- Nobody's: processes that work, and until when they are believed to live.
CREATE TABLE insula.workers (
    worker      text COLLATE "C" PRIMARY KEY,
    lease_until bigint NOT NULL
) WITH (fillfactor = 50);
