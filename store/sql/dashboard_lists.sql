-- What lists of suppliers show beside `describe`, what they may be narrowed by, tags, and views that agents keep. The list
-- itself is put together in store/dashboard/lists.py.

-- name: labels
-- Of these suppliers.
SELECT wanted.id::text AS id,
    ARRAY(SELECT t.tag FROM supplier_tags t WHERE t.supplier_id = wanted.id ORDER BY t.tag) AS tags,
    (SELECT o.owner FROM supplier_owners o WHERE o.supplier_id = wanted.id) AS owner
FROM unnest(%(ids)s::uuid[]) AS wanted(id)

-- name: choices
-- Each plan, trade, tag and owner that there is: from one to the next by the index, never by looking at all rows.
WITH RECURSIVE plans AS (
    (SELECT plan AS said, 1 AS n FROM supplier_standings WHERE plan > '' ORDER BY plan LIMIT 1)
    UNION ALL
    SELECT (SELECT s.plan FROM supplier_standings s WHERE s.plan > p.said ORDER BY s.plan LIMIT 1), p.n + 1
    FROM plans p WHERE p.said IS NOT NULL AND p.n < %(most)s
), trades AS (
    (SELECT trade AS said, 1 AS n FROM supplier_standings WHERE trade > '' ORDER BY trade LIMIT 1)
    UNION ALL
    SELECT (SELECT s.trade FROM supplier_standings s WHERE s.trade > p.said ORDER BY s.trade LIMIT 1), p.n + 1
    FROM trades p WHERE p.said IS NOT NULL AND p.n < %(most)s
), tags AS (
    (SELECT tag AS said, 1 AS n FROM supplier_tags ORDER BY tag LIMIT 1)
    UNION ALL
    SELECT (SELECT t.tag FROM supplier_tags t WHERE t.tag > p.said ORDER BY t.tag LIMIT 1), p.n + 1
    FROM tags p WHERE p.said IS NOT NULL AND p.n < %(most)s
), owners AS (
    (SELECT owner AS said, 1 AS n FROM supplier_owners ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT o.owner FROM supplier_owners o WHERE o.owner > p.said ORDER BY o.owner LIMIT 1), p.n + 1
    FROM owners p WHERE p.said IS NOT NULL AND p.n < %(most)s
)
SELECT 'plan' AS kind, said FROM plans WHERE said IS NOT NULL
UNION ALL SELECT 'trade', said FROM trades WHERE said IS NOT NULL
UNION ALL SELECT 'tag', said FROM tags WHERE said IS NOT NULL
UNION ALL SELECT 'owner', said FROM owners WHERE said IS NOT NULL

-- name: known
-- Which of these suppliers there are, locked one after the other.
SELECT id::text AS id FROM suppliers WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: tag
INSERT INTO supplier_tags (supplier_id, tag, at, tagged_by)
SELECT id, %(tag)s, %(at)s, %(by)s FROM unnest(%(ids)s::uuid[]) AS id
ON CONFLICT DO NOTHING
RETURNING supplier_id::text

-- name: untag
DELETE FROM supplier_tags WHERE supplier_id = ANY(%(ids)s::uuid[]) AND tag = %(tag)s
RETURNING supplier_id::text

-- name: views
-- An agent's own, then the team's, by name.
SELECT id::text AS id, agent, name, query, shared FROM (
    (SELECT * FROM list_views WHERE agent = %(agent)s ORDER BY name LIMIT %(most)s)
    UNION
    (SELECT * FROM list_views WHERE shared ORDER BY name LIMIT %(most)s)) v
ORDER BY agent = %(agent)s DESC, name, agent

-- name: keep_view
INSERT INTO list_views AS v (id, agent, name, query, shared, at)
VALUES (%(id)s, %(agent)s, %(name)s, %(query)s, %(shared)s, %(at)s)
ON CONFLICT (agent, name) DO UPDATE SET query = excluded.query, shared = excluded.shared, at = excluded.at

-- name: drop_view
DELETE FROM list_views WHERE id = %(id)s AND agent = %(agent)s
