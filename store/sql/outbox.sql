-- Events written with the change they tell of, published afterwards, at least once.

-- name: add
INSERT INTO outbox (topic, key, value)
SELECT topic, key, value
FROM unnest(%(topics)s::text[], %(keys)s::text[], %(values)s::bytea[]) AS event(topic, key, value)

-- name: fetch_unpublished
-- The oldest first; rows that another publisher holds are left to it.
SELECT id, topic, key, value FROM outbox
WHERE published_at IS NULL
ORDER BY id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- name: mark_published
UPDATE outbox SET published_at = now() WHERE id = ANY(%(ids)s::bigint[])

-- name: prune
-- What was published before `until`, the oldest first, no more than `limit`; what another process prunes is left to it.
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE published_at < %(until)s
    ORDER BY published_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
