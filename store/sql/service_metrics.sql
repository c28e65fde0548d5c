-- What /metrics says of the work that waits; each reads a partial index of what waits, never a whole table.

-- name: waiting
SELECT
    (SELECT count(*) FROM outbox WHERE published_at IS NULL),
    (SELECT extract(epoch FROM %(now)s::timestamptz - created_at)::float8 FROM outbox
        WHERE published_at IS NULL ORDER BY id LIMIT 1),
    (SELECT count(*) FROM success_interventions WHERE status = 'scheduled' AND not_before <= %(now)s::timestamptz)


-- name: suppliers
-- By level; the tallies are small.
SELECT level, sum(suppliers)::bigint FROM population_now GROUP BY level HAVING sum(suppliers) <> 0
