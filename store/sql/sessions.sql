-- Sessions of agents at the dashboard.

-- name: begin
INSERT INTO dashboard_sessions (id_hash, agent, started_at, seen_at)
VALUES (%(id)s, %(agent)s, %(now)s, %(now)s)

-- name: find
-- The agent of a session that is neither ended, nor too old, nor idle for too long.
SELECT agent, seen_at FROM dashboard_sessions
WHERE id_hash = %(id)s AND ended_at IS NULL AND started_at > %(started_after)s AND seen_at > %(seen_after)s

-- name: see
UPDATE dashboard_sessions SET seen_at = greatest(seen_at, %(now)s) WHERE id_hash = %(id)s AND ended_at IS NULL

-- name: end_one
UPDATE dashboard_sessions SET ended_at = %(now)s WHERE id_hash = %(id)s AND ended_at IS NULL

-- name: end_all
UPDATE dashboard_sessions SET ended_at = %(now)s WHERE agent = %(agent)s AND ended_at IS NULL

-- name: open
-- Sessions that are still good, the newest first.
SELECT agent, started_at, seen_at FROM dashboard_sessions
WHERE ended_at IS NULL AND started_at > %(started_after)s AND seen_at > %(seen_after)s
ORDER BY started_at DESC
