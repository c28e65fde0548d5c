-- What operators look at and mend: messages that failed or of which nobody knows, addresses that get no email.

-- name: find_intervention
SELECT * FROM success_interventions WHERE id = %(id)s

-- name: count_interventions
-- `reason` is the column's, or words of the error of a failed or unknown one.
SELECT count(*) FROM success_interventions
WHERE (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s
        OR status IN ('failed', 'unknown') AND position(lower(%(reason)s) IN lower(last_error)) > 0)
    AND (%(trigger)s::text IS NULL OR trigger_condition = %(trigger)s)
    AND (%(supplier)s::uuid IS NULL OR supplier_id = %(supplier)s)
    AND due_at >= coalesce(%(since)s, '-infinity'::timestamptz)
    AND due_at < coalesce(%(until)s, 'infinity'::timestamptz)

-- name: list_interventions
-- As `count_interventions`, the newest first.
SELECT id::text, supplier_id::text, trigger_condition, intervention_type, template_used, status, reason, due_at,
    attempts, last_error
FROM success_interventions
WHERE (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s
        OR status IN ('failed', 'unknown') AND position(lower(%(reason)s) IN lower(last_error)) > 0)
    AND (%(trigger)s::text IS NULL OR trigger_condition = %(trigger)s)
    AND (%(supplier)s::uuid IS NULL OR supplier_id = %(supplier)s)
    AND due_at >= coalesce(%(since)s, '-infinity'::timestamptz)
    AND due_at < coalesce(%(until)s, 'infinity'::timestamptz)
ORDER BY due_at DESC, id DESC
LIMIT %(most)s

-- name: lock_supplier_of
-- In the order in which delivery locks: the supplier first.
SELECT s.id FROM suppliers s JOIN success_interventions i ON i.supplier_id = s.id
WHERE i.id = %(id)s FOR NO KEY UPDATE OF s

-- name: schedule_again
-- Decided anew at once, with caps, hours and consent as they are then; what an earlier attempt left is no claim of it.
-- Nothing comes back for a row that is neither failed nor unknown.
WITH was AS (
    SELECT id, status FROM success_interventions
    WHERE id = %(id)s AND status IN ('failed', 'unknown') FOR NO KEY UPDATE)
UPDATE success_interventions i
SET status = 'scheduled', reason = NULL, not_before = %(now)s, claimed_at = NULL, bounced_at = NULL,
    metadata = (i.metadata - 'claim' - 'waiting') || jsonb_build_object('retried_at', %(now)s::timestamptz)
FROM was
WHERE i.id = was.id
RETURNING was.status, i.supplier_id::text, i.id::text, i.trigger_condition, i.intervention_type, i.template_used,
    i.signal_id::text

-- name: deliveries
-- How many deliveries hold the lock that says they live; publishers' locks have lines (0, -1), not owners.
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = %(namespace)s::bigint::oid AND objid NOT IN (0::oid, 4294967295::oid)

-- name: statuses
SELECT id::text, status FROM success_interventions WHERE id = ANY(%(ids)s::uuid[])

-- name: settle
-- After a restore: what is known from elsewhere to have become of rows that are still open.
UPDATE success_interventions i
SET status = r.status,
    reason = r.reason,
    claimed_at = CASE WHEN r.status = 'suppressed' THEN NULL ELSE r.at END,
    sent_at = CASE WHEN r.status = 'sent' THEN r.at END,
    last_error = CASE WHEN r.status IN ('failed', 'unknown') THEN 'so it was before Postgres was restored' END,
    metadata = (i.metadata - 'claim' - 'waiting') || jsonb_build_object('recovered_at', %(now)s::timestamptz)
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, status text, reason text, at timestamptz)
WHERE i.id = r.id AND i.status IN ('scheduled', 'sending')

-- name: list_suppressions
-- What is in force, as success_suppressed says of one address: a later yes has ended a complaint or an opt-out.
SELECT encode(address_hash, 'hex') AS address_hash, reason, since FROM (
    SELECT s.address_hash, s.reason, s.since FROM suppressed_addresses s
    WHERE s.reason <> 'complained' OR NOT EXISTS (
        SELECT FROM address_consent c
        WHERE c.address_hash = s.address_hash AND NOT c.opt_out AND c.at > s.since)
    UNION ALL
    SELECT c.address_hash, 'opted_out', max(c.at) FROM address_consent c
    WHERE c.opt_out AND NOT EXISTS (
        SELECT FROM address_consent own
        WHERE own.address_hash = c.address_hash AND own.said_by = '' AND own.at > c.at)
    GROUP BY 1) AS in_force
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY since DESC, address_hash, reason

-- name: suppressed
SELECT reason FROM success_suppressed(%(hashes)s::bytea[])

-- name: add_suppression
INSERT INTO suppressed_addresses (address_hash, reason, since) VALUES (%(hash)s, %(reason)s, %(since)s)
ON CONFLICT (address_hash, reason) DO UPDATE SET since = excluded.since

-- name: remove_suppressions
DELETE FROM suppressed_addresses WHERE address_hash = ANY(%(hashes)s::bytea[]) RETURNING reason
