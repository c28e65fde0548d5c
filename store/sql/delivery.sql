-- Delivery: claim under a lock on the supplier, decide, note what became of it. The decision is scoring/decisions/decide.py.

-- name: lock_oldest
-- The supplier whose row has been due longest at `now`, locked until the transaction ends; those whom another process
-- holds are left to it. Suppliers to whom an email is on its way are left alone until its fate is known: a bounce
-- forbids the next one. Rows that wait are not due: whoever stores what they wait for makes them so (suppliers.sql).
SELECT s.id::text, nullif(s.email, '')
FROM claimable_interventions i JOIN suppliers s ON s.id = i.supplier_id
WHERE i.not_before <= %(now)s
ORDER BY i.not_before
LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: lock_newest
-- As `lock_oldest`, what became due last first: behind a backlog a celebration still leaves at once.
SELECT s.id::text, nullif(s.email, '')
FROM claimable_interventions i JOIN suppliers s ON s.id = i.supplier_id
WHERE i.not_before <= %(now)s
ORDER BY i.not_before DESC
LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED

-- name: ready_rows
-- All that is due of one supplier, who is locked. These rows are few: they are found first, by supplier.
SELECT i.id::text, i.trigger_condition, i.intervention_type, i.template_used, i.kind, i.priority, i.seq, i.attempts,
    i.signal_id::text, i.signal_at, i.due_at, i.metadata
FROM (
    SELECT * FROM success_interventions
    WHERE supplier_id = %(supplier)s AND status = 'scheduled'
    FOR NO KEY UPDATE) AS i
WHERE i.not_before <= %(now)s

-- name: counted_rows
-- What was sent, may have been, or is being sent, by claim or by signal within `span` before now and before what is
-- to be decided.
SELECT id::text, trigger_condition, intervention_type, template_used, kind, priority, seq, attempts,
    signal_id::text, signal_at, due_at, metadata, status, claimed_at
FROM success_interventions
WHERE supplier_id = %(supplier)s AND status IN ('sending', 'sent', 'unknown')
    AND greatest(claimed_at, signal_at) > %(span)s * interval '-1 ms' + (
        SELECT least(%(now)s, min(signal_at)) FROM success_interventions
        WHERE supplier_id = %(supplier)s AND status = 'scheduled')

-- name: supplier
-- Who she is and how she is doing, as far as a decision and a letter need it.
SELECT s.id::text AS id, nullif(s.email, '') AS email, s.first_name, s.business_name, s.vendor_type, s.timezone,
    s.locale, s.email_opt_out, s.all_opt_out, s.paused_until,
    (SELECT o.until FROM supplier_holds o WHERE o.supplier_id = s.id) AS held_until,
    h.seq, h.health_score, h.risk_level, h.last_login, h.calculated_at, h.breakdown, h.facts
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE s.id = %(supplier)s

-- name: apply_decisions
-- What was decided of each row; only rows that are still scheduled change. An agent's own first lines go once nobody needs
-- them: what was sent is in message_words, with an end.
UPDATE success_interventions i
SET status = r.status,
    reason = r.reason,
    not_before = coalesce(r.not_before, least(i.not_before, r.claimed_at)),  -- what it waited for came sooner
    claimed_at = r.claimed_at,
    sent_at = r.sent_at,
    last_error = coalesce(r.last_error, i.last_error),
    experiment = r.experiment,
    variant = r.variant,
    metadata = (i.metadata - CASE WHEN r.status = 'suppressed' THEN '{waiting,opening}'::text[] ELSE '{waiting}' END)
        || r.metadata
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, status text, reason text, not_before timestamptz, claimed_at timestamptz, sent_at timestamptz,
    last_error text, experiment text, variant text, metadata jsonb)
WHERE i.id = r.id AND i.status = 'scheduled'

-- name: open_call
-- The agents' task of a support_call; its id is the row's, so that it is opened once. Where a call is to be made already, that
-- one stays, with the newer words unless they are an agent's own. Delivery holds the supplier's lock.
WITH open AS (
    UPDATE support_interactions
    SET notes = CASE WHEN added_by IS NULL THEN %(notes)s ELSE notes END, intervention_id = %(id)s, updated_at = %(now)s
    WHERE supplier_id = %(supplier)s AND interaction_type = 'churn_prevention' AND status = 'scheduled' AND scheduled_at IS NULL
    RETURNING id
)
INSERT INTO support_interactions (id, supplier_id, interaction_type, status, notes, urgency, weight, created_at)
SELECT %(id)s, %(supplier)s, 'churn_prevention', 'scheduled', %(notes)s, 'high',
    coalesce((SELECT s.weight FROM supplier_standings s WHERE s.supplier_id = %(supplier)s), 0), %(now)s
WHERE NOT EXISTS (SELECT FROM open)
ON CONFLICT (id) DO NOTHING

-- name: note_outcome
-- What became of an email that this process claimed. A sibling that took us for dead may have written 'unknown':
-- we know better. Nothing comes back if the supplier was erased meanwhile, else whether she has done
-- anything since that an email may be for.
UPDATE success_interventions
SET status = %(status)s,
    sent_at = %(sent_at)s,
    not_before = coalesce(%(not_before)s, not_before),
    claimed_at = CASE WHEN %(status)s IN ('scheduled', 'suppressed') THEN NULL ELSE claimed_at END,
    attempts = attempts + 1,
    last_error = %(last_error)s,
    reason = %(reason)s,
    metadata = (metadata - CASE WHEN %(status)s IN ('sent', 'suppressed') THEN '{claim,opening}'::text[] ELSE '{claim}' END)
        || %(metadata)s::jsonb
WHERE id = %(id)s AND (metadata ->> 'claim')::int = %(claim)s
    AND status IN ('sending', 'unknown')
RETURNING EXISTS (
    SELECT FROM customer_health h
    CROSS JOIN LATERAL jsonb_each_text(coalesce(h.facts -> 'last_goals', '{}')) AS goal
    WHERE h.supplier_id = success_interventions.supplier_id
        AND goal.value::timestamptz > success_interventions.sent_at)

-- name: keep_words
-- What was handed over, the last try's.
INSERT INTO message_words (intervention_id, at, subject, body)
SELECT i.id, %(at)s, %(subject)s, %(body)s FROM success_interventions i WHERE i.id = %(id)s
ON CONFLICT (intervention_id) DO UPDATE SET at = excluded.at, subject = excluded.subject, body = excluded.body

-- name: celebrate
-- The milestone of a celebration whose email has been sent.
UPDATE success_milestones SET celebrated = true, celebration_sent_at = %(now)s
WHERE supplier_id = %(supplier)s AND milestone_type = %(milestone)s AND celebration_sent_at IS NULL

-- name: abandoned
-- Claims whose owner holds its lock no more (it died), or which `owner` itself no longer works on: nobody knows
-- whether the mail server said yes.
SELECT i.id::text, i.supplier_id::text
FROM success_interventions i
WHERE i.status = 'sending'
    AND NOT (i.id = ANY(%(in_flight)s::uuid[]))
    AND (coalesce((i.metadata ->> 'claim')::int, %(owner)s) = %(owner)s
        OR NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.classid = %(namespace)s::bigint::oid AND l.objid = ((i.metadata ->> 'claim')::bigint)::oid))

-- name: give_up
-- An abandoned claim, once more under the lock of its row.
UPDATE success_interventions
SET status = 'unknown', last_error = %(last_error)s
WHERE id = %(id)s AND status = 'sending'
RETURNING id::text, trigger_condition, intervention_type, template_used, kind, priority, seq, attempts,
    signal_id::text, signal_at, due_at, metadata

-- name: take_back
-- A message that an agent asked for and that has not left, under its supplier's lock.
UPDATE success_interventions
SET status = 'suppressed', reason = 'held',
    metadata = (metadata - '{waiting,opening}'::text[])
        || jsonb_build_object('why', 'taken back before it left', 'taken_back_by', %(by)s::text)
WHERE id = %(id)s AND supplier_id = %(supplier)s AND status = 'scheduled' AND metadata -> 'signal' ? 'by'
RETURNING id::text, trigger_condition, intervention_type, template_used, kind, priority, seq, attempts,
    signal_id::text, signal_at, due_at, metadata

-- name: fail_due
-- What is due of a supplier on whom nothing can be decided.
UPDATE success_interventions
SET status = 'failed', last_error = %(last_error)s
WHERE supplier_id = %(supplier)s AND status = 'scheduled' AND not_before <= %(now)s
RETURNING id::text, trigger_condition, intervention_type, template_used, kind, priority, seq, attempts,
    signal_id::text, signal_at, due_at, '{}'::jsonb AS metadata

-- name: hold_owner_lock
-- Held as long as the connection lives: how others see that this process does.
SELECT pg_try_advisory_lock(%(namespace)s::int, %(owner)s::int)

-- name: publish_alone
-- One publisher at a time, as long as its connection lives: two would mix up the order of a supplier's events. Lines
-- are nobody's owner number.
SELECT pg_advisory_lock(%(namespace)s::int, %(line)s::int)

-- name: publish_alone_limits
-- Nobody waits long for another publisher, and one that is frozen loses its lock.
SELECT set_config('lock_timeout', '5s', false), set_config('idle_session_timeout', '60s', false)

-- name: next_due
-- When the next scheduled row wants to be looked at.
SELECT min(not_before) FROM success_interventions WHERE status = 'scheduled'
