-- What the last rollout measured on the way to the agents of a security group: image blocks that they missed when
-- they were sent, and how many of those they missed afterwards.

CREATE TABLE losses (
    security_group TEXT PRIMARY KEY,
    awaited        INTEGER NOT NULL,
    missed         INTEGER NOT NULL,
    measured_at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
