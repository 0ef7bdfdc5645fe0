-- Moments are RFC 3339 text in UTC. Numbers of 64 bits without a sign are stored with their bits as they are.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which database this is, in its own copies too, and how often it was opened to send.
INSERT INTO meta (key, value) VALUES ('id', random()), ('epoch', 0);

CREATE TABLE documents (
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    labels     TEXT NOT NULL,
    spec       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    applied_at TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What a security group's folder was like when its agents were read from there.
CREATE TABLE mirrors (
    security_group TEXT PRIMARY KEY,
    fingerprint    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    security_group TEXT NOT NULL,
    name           TEXT NOT NULL,
    sender_id      TEXT,
    vendor         TEXT NOT NULL,
    class          TEXT NOT NULL,
    labels         TEXT NOT NULL,
    enrolled_at    TEXT,
    progress       TEXT,
    installed      INTEGER NOT NULL DEFAULT 0,
    heard          TEXT,
    rollout        TEXT,
    PRIMARY KEY (security_group, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    name       TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    plan       TEXT NOT NULL,
    state      TEXT NOT NULL,
    outcome    TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_agents (
    rollout        TEXT NOT NULL REFERENCES rollouts (name) ON DELETE CASCADE,
    security_group TEXT NOT NULL,
    name           TEXT NOT NULL,
    wave           INTEGER NOT NULL,
    progress       TEXT NOT NULL,
    since          TEXT NOT NULL,
    reason         INTEGER NOT NULL,
    missing        INTEGER NOT NULL,
    installed      INTEGER NOT NULL,
    heard          TEXT,
    told           INTEGER NOT NULL,
    tries          INTEGER NOT NULL,
    retry_at       TEXT,
    PRIMARY KEY (rollout, security_group, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollout_agents_by_agent ON rollout_agents (security_group, name);

CREATE TABLE orders (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout    TEXT NOT NULL,
    command    TEXT NOT NULL,
    reason     TEXT,
    given_by   TEXT NOT NULL,
    given_at   TEXT NOT NULL,
    outcome    TEXT,
    settled_at TEXT
) STRICT;

CREATE INDEX orders_open ON orders (rollout, id) WHERE outcome IS NULL;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    rollout TEXT,
    agent   TEXT,
    kind    TEXT NOT NULL,
    text    TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_rollout ON events (rollout, id);
CREATE INDEX events_by_agent ON events (agent, id);
