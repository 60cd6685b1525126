-- What a server needs beside runs: keys, audit logs, calls when runs end, and what was used.

-- Keys and audit logs outlive their user, so they do not hang on an owner by number.
CREATE TABLE keys (
    key_no       INTEGER PRIMARY KEY,
    key_id       TEXT NOT NULL UNIQUE,
    tenant_id    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL, -- of the secret half
    grants       TEXT NOT NULL, -- a JSON array of words
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;
CREATE INDEX keys_of_user ON keys (tenant_id, user_id);

CREATE TABLE audit_logs (
    log_no    INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    number    INTEGER NOT NULL, -- of the last entry
    hash      TEXT NOT NULL,    -- of the last entry
    UNIQUE (tenant_id, user_id)
) STRICT;
CREATE TABLE audit (
    log_no INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash   TEXT NOT NULL,
    PRIMARY KEY (log_no, number)
) STRICT, WITHOUT ROWID;

-- Who is to be told of the end of a run. Most runs have no row here.
CREATE TABLE webhooks (
    owner_no   INTEGER NOT NULL,
    run_no     INTEGER NOT NULL,
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    INTEGER, -- while it is due
    last_error TEXT,
    target     TEXT NOT NULL,
    PRIMARY KEY (owner_no, run_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_due ON webhooks (next_at) WHERE state = 'due';
CREATE INDEX webhooks_open ON webhooks (owner_no, state, run_no) WHERE state <> 'delivered';

-- One row per owner, day and agent. Those of a day lie together, because that is where all owners write.
CREATE TABLE usage (
    day        INTEGER NOT NULL,
    owner_no   INTEGER NOT NULL,
    agent      TEXT NOT NULL,
    completed  INTEGER NOT NULL,
    failed     INTEGER NOT NULL,
    cancelled  INTEGER NOT NULL,
    tokens     INTEGER NOT NULL,
    money      INTEGER NOT NULL,
    run_micros INTEGER NOT NULL,
    took       TEXT NOT NULL, -- a JSON array: how many runs took less than 1, 2, 4 … ms, without zeros at its end
    PRIMARY KEY (day, owner_no, agent)
) STRICT, WITHOUT ROWID;

-- Runs that sleep are counted by what they wait for.
DROP INDEX runs_asleep;
CREATE INDEX runs_asleep ON runs (due_at, status) WHERE place = 2;

-- What single users may have. They outlive what the user has here.
CREATE TABLE plans (
    tenant_id TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    plan      TEXT NOT NULL, -- JSON
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;
