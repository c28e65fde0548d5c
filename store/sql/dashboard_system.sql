-- The dashboard's page of the system itself.

-- name: outbox_waiting
-- How much waits to be published (counted up to `most`), and since when.
SELECT count(*) AS waiting, min(created_at) AS oldest
FROM (SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT %(most)s) waiting

-- name: delivery
-- How many delivery processes hold their lock, what is overdue (counted up to `most`), and what was left unknown.
SELECT
    (SELECT count(*) FROM pg_locks l
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.objid::bigint <> 0
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND l.classid = %(namespace)s::bigint::oid) AS processes,
    (SELECT count(*) FROM (SELECT FROM success_interventions WHERE status = 'scheduled' AND not_before < %(now)s
                           LIMIT %(most)s) overdue) AS overdue,
    (SELECT min(not_before) FROM success_interventions WHERE status = 'scheduled') AS next_at

-- name: newest_change
-- When the level of anybody last changed: a pipeline that stands still shows here.
SELECT at FROM level_changes ORDER BY at DESC, supplier_id DESC LIMIT 1

-- name: published_letters
SELECT partition, position, stamp, at, published_by FROM dead_letters_published
WHERE (partition, position) IN (SELECT * FROM unnest(%(partitions)s::int[], %(positions)s::bigint[]))

-- name: note_published
INSERT INTO dead_letters_published (partition, position, stamp, at, published_by)
VALUES (%(partition)s, %(position)s, %(stamp)s, %(at)s, %(by)s)
ON CONFLICT DO NOTHING

-- name: stored_until
-- The newest moment that a stored health stands for: how far the pipeline has come.
SELECT max(calculated_at) AS at FROM pipeline_progress

-- name: begun
-- The first suppliers (at most `most`): how many there are, how many have an address, and whether anybody has a score.
SELECT count(*) AS suppliers, count(email) AS addresses,
    EXISTS (SELECT FROM population_now) AS scored
FROM (SELECT email FROM suppliers ORDER BY id LIMIT %(most)s) some_of_them
