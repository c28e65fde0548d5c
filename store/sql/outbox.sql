-- Events written with the change they tell of, published afterwards, at least once.

-- name: add
INSERT INTO outbox (topic, key, value)
SELECT topic, key, value
FROM unnest(%(topics)s::text[], %(keys)s::text[], %(values)s::bytea[]) AS event(topic, key, value)

-- name: fetch_unpublished
-- The oldest first.
SELECT id, topic, key, value FROM outbox
WHERE published_at IS NULL
ORDER BY id
LIMIT %(limit)s

-- name: mark_published
UPDATE outbox SET published_at = now() WHERE id = ANY(%(ids)s::bigint[])

-- name: prune
-- What was published before `until`, the oldest first, no more than `limit`; what another process prunes is left to it.
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE published_at < %(until)s
    ORDER BY published_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)


-- name: add_notes
-- Notes to agents' tools, each once. No conflict is named, for callers who may not read the outbox.
INSERT INTO outbox (topic, key, value, note_id, note_due_at, published_at)
SELECT 'agents', note.key, note.value, note.id, note.due_at, now()
FROM unnest(%(keys)s::text[], %(values)s::bytea[], %(ids)s::uuid[], %(due)s::timestamptz[]) AS note(key, value, id, due_at)
ON CONFLICT DO NOTHING

-- name: wake
SELECT pg_notify('success_delivery', '')

-- name: due_notes
SELECT id, note_id::text, key, value, attempts FROM outbox
WHERE note_due_at <= %(now)s
ORDER BY note_due_at, id
LIMIT %(limit)s

-- name: note_told
UPDATE outbox SET note_due_at = NULL, attempts = attempts + 1, last_error = NULL, failed_at = NULL WHERE id = %(id)s

-- name: note_later
UPDATE outbox SET note_due_at = %(at)s, attempts = attempts + 1, last_error = %(error)s WHERE id = %(id)s

-- name: note_failed
UPDATE outbox SET note_due_at = NULL, attempts = attempts + 1, last_error = %(error)s, failed_at = %(now)s
WHERE id = %(id)s

-- name: forget_notes
-- Nobody listens: what was meant for them is not kept for later.
DELETE FROM outbox WHERE note_due_at IS NOT NULL

-- name: failed_notes
SELECT note_id::text, key, value, attempts, last_error, failed_at FROM outbox
WHERE failed_at IS NOT NULL ORDER BY failed_at DESC, id DESC LIMIT %(limit)s

-- name: retry_notes
-- Those of these ids that failed, or all of them, with all of their attempts before them.
UPDATE outbox SET note_due_at = %(now)s, attempts = 0, failed_at = NULL
WHERE failed_at IS NOT NULL AND (%(ids)s::uuid[] IS NULL OR note_id = ANY(%(ids)s::uuid[]))
