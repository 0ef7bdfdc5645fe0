-- What an agent's device says about the reason that it reports.

ALTER TABLE rollout_agents ADD COLUMN remark TEXT NOT NULL DEFAULT '';
