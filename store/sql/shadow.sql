-- A shadow policy's decisions, and how they compare with the live ones. In the role success_reader.

-- name: hold
-- One process a policy: whoever comes second gets false.
SELECT pg_try_advisory_lock(hashtext('success_shadow'), hashtext(%(policy)s))

-- name: register
-- A policy that is tried again goes on with its old rows.
INSERT INTO shadow_policies (policy, name, started_at, last_seen_at, content)
VALUES (%(policy)s, %(name)s, %(now)s, %(now)s, %(content)s)
ON CONFLICT (policy) DO UPDATE SET last_seen_at = excluded.last_seen_at, name = excluded.name

-- name: topic_ids
SELECT topic_ids FROM shadow_policies WHERE policy = %(policy)s

-- name: note_topic_ids
UPDATE shadow_policies SET topic_ids = %(ids)s WHERE policy = %(policy)s

-- name: known
-- Which of these suppliers have rows, as the live agents made them.
SELECT id::text FROM suppliers WHERE id = ANY(%(ids)s::uuid[])

-- name: erased
SELECT success_erased(%(hashes)s::bytea[])

-- name: add
-- A repeated signal adds nothing.
INSERT INTO shadow_interventions (
    policy, id, supplier_id, trigger_condition, intervention_type, template_used, kind, priority, status, reason,
    due_at, not_before, signal_id, signal_at, seq, metadata, created_at)
SELECT
    %(policy)s, r.id, r.supplier_id, r.trigger, r.channel, r.template, r.kind, r.priority, r.status, r.reason,
    r.due_at, r.due_at, r.signal_id, r.signal_at, r.seq, r.metadata, r.created_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, supplier_id uuid, trigger text, channel text, template text, kind text, priority int, status text,
    reason text, due_at timestamptz, signal_id uuid, signal_at timestamptz, seq bigint, metadata jsonb,
    created_at timestamptz)
JOIN suppliers s ON s.id = r.supplier_id
ON CONFLICT (policy, id) DO NOTHING

-- name: due_supplier
-- A supplier with something to decide. Rows that wait are not due: whoever stores what they wait for makes them so
-- (suppliers.sql, health.sql).
SELECT supplier_id::text FROM shadow_interventions
WHERE policy = %(policy)s AND status = 'scheduled' AND not_before <= %(now)s
ORDER BY not_before
LIMIT 1

-- name: ready_rows
SELECT i.id::text, i.trigger_condition, i.intervention_type, i.kind, i.priority, i.seq, i.signal_at, i.due_at,
    i.status, i.decided_at, i.metadata -> 'signal' AS signal
FROM shadow_interventions i
WHERE i.policy = %(policy)s AND i.supplier_id = %(supplier)s AND i.status = 'scheduled' AND i.not_before <= %(now)s

-- name: wake
-- What began to wait a moment ago for what had come meanwhile.
UPDATE shadow_interventions i SET not_before = i.due_at
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE i.policy = %(policy)s AND i.id = ANY(%(ids)s::uuid[]) AND i.status = 'scheduled' AND i.not_before > i.due_at
    AND s.id = i.supplier_id
    AND (i.metadata ->> 'waiting' = 'health' AND h.seq >= i.seq
        OR i.metadata ->> 'waiting' = 'address' AND s.email <> '')

-- name: counted_rows
-- What it would have sent lately.
SELECT i.id::text, i.trigger_condition, i.intervention_type, i.kind, i.priority, i.seq, i.signal_at, i.due_at,
    i.status, i.decided_at, i.metadata -> 'signal' AS signal
FROM shadow_interventions i
WHERE i.policy = %(policy)s AND i.supplier_id = %(supplier)s AND i.status = 'would_send'
    AND greatest(i.decided_at, i.signal_at) > %(since)s

-- name: settle
UPDATE shadow_interventions i
SET status = r.status,
    reason = r.reason,
    why = r.why,
    not_before = coalesce(r.not_before, i.not_before),
    decided_at = r.decided_at,
    metadata = (i.metadata - 'waiting') || r.metadata
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, status text, reason text, why text, not_before timestamptz, decided_at timestamptz, metadata jsonb)
WHERE i.policy = %(policy)s AND i.id = r.id AND i.status = 'scheduled'

-- name: next_due
SELECT min(not_before) FROM shadow_interventions WHERE policy = %(policy)s AND status = 'scheduled'

-- name: policies
-- Every policy tried, the one seen last first.
SELECT policy, name, started_at, last_seen_at FROM shadow_policies ORDER BY last_seen_at DESC, policy

-- name: compare
-- Message by message over the signals since the shadow began: a row's id is the same on both sides.
WITH live AS (
    SELECT id, trigger_condition, status, reason, signal_at FROM success_interventions
    WHERE signal_at >= %(since)s AND signal_at <= %(until)s),
shadow AS (
    SELECT id, trigger_condition, status, reason, signal_at FROM shadow_interventions
    WHERE policy = %(policy)s AND signal_at >= %(since)s AND signal_at <= %(until)s)
SELECT coalesce(live.trigger_condition, shadow.trigger_condition) AS trigger,
    count(*) FILTER (WHERE live.status = 'sent') AS live_sent,
    count(*) FILTER (WHERE shadow.status = 'would_send') AS shadow_sent,
    count(*) FILTER (WHERE live.status = 'sent' AND shadow.status = 'would_send') AS both,
    count(*) FILTER (WHERE live.status = 'sent' AND shadow.status IS DISTINCT FROM 'would_send'
        AND shadow.status IS DISTINCT FROM 'scheduled') AS only_live,
    count(*) FILTER (WHERE shadow.status = 'would_send' AND live.status IS DISTINCT FROM 'sent'
        AND coalesce(live.status, '') NOT IN ('scheduled', 'sending')) AS only_shadow,
    count(*) FILTER (WHERE shadow.status = 'scheduled' OR live.status IN ('scheduled', 'sending')) AS undecided
FROM live FULL JOIN shadow USING (id)
GROUP BY 1 ORDER BY 1

-- name: differences
-- Messages that one of the two sends and the other does not.
WITH live AS (
    SELECT id, supplier_id, trigger_condition, status, reason, signal_at FROM success_interventions
    WHERE signal_at >= %(since)s AND signal_at <= %(until)s),
shadow AS (
    SELECT id, supplier_id, trigger_condition, status, reason, signal_at FROM shadow_interventions
    WHERE policy = %(policy)s AND signal_at >= %(since)s AND signal_at <= %(until)s)
SELECT id::text, coalesce(live.supplier_id, shadow.supplier_id)::text AS supplier_id,
    coalesce(live.trigger_condition, shadow.trigger_condition) AS trigger,
    coalesce(live.signal_at, shadow.signal_at) AS signal_at,
    live.status AS live_status, live.reason AS live_reason,
    shadow.status AS shadow_status, shadow.reason AS shadow_reason
FROM live FULL JOIN shadow USING (id)
WHERE (coalesce(live.status, '') = 'sent') <> (coalesce(shadow.status, '') = 'would_send')
    AND coalesce(live.status, '') NOT IN ('scheduled', 'sending') AND coalesce(shadow.status, '') <> 'scheduled'
ORDER BY 4 DESC, 1
LIMIT %(limit)s
