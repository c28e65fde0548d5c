-- Calls (support_interactions) and the emails about them (transactional_mails).

-- name: lock_bookings
-- One booking at a time, until the transaction ends: two must not find the same time free.
SELECT pg_advisory_xact_lock(%(lock)s::bigint)

-- name: taken
-- When agents are on the phone; also what row-level security hides, but no more than the times.
SELECT starts_at, ends_at FROM success_taken_times(%(since)s)

-- name: caller
-- What a booking needs to know of a supplier.
SELECT timezone FROM suppliers WHERE id = %(supplier)s

-- name: add
INSERT INTO support_interactions (id, supplier_id, interaction_type, status, scheduled_at, ends_at, notes, urgency,
    preferred_times, intervention_id, agent_id, created_at, updated_at)
VALUES (%(id)s, %(supplier)s, %(interaction_type)s, 'scheduled', %(scheduled_at)s, %(ends_at)s, %(notes)s, %(urgency)s,
    %(preferred_times)s, %(intervention)s, NULL, %(now)s, %(now)s)
ON CONFLICT (id) DO NOTHING
RETURNING id::text

-- name: count_open
SELECT count(*) FROM support_interactions
WHERE supplier_id = %(supplier)s AND interaction_type <> 'churn_prevention' AND status = 'scheduled'
    AND (scheduled_at IS NULL OR coalesce(ends_at, scheduled_at + interval '15 minutes') > %(now)s)

-- name: close_offers
-- Offers of a call that they have taken up, and calls that agents meant to make; the call carries the offer's id on.
UPDATE support_interactions
SET status = 'completed', completed_at = %(now)s, outcome = 'resolved', updated_at = %(now)s
WHERE supplier_id = %(supplier)s AND interaction_type = 'churn_prevention' AND status = 'scheduled'
    AND scheduled_at IS NULL
RETURNING coalesce(intervention_id, CASE WHEN added_by IS NULL THEN id END)::text, created_at

-- name: ahead
SELECT id::text AS id, supplier_id::text AS supplier_id, interaction_type, status, scheduled_at, ends_at,
    completed_at, duration_minutes, agent_id::text AS agent_id, notes, outcome, satisfaction_score, preferred_times,
    urgency, sequence, intervention_id::text AS intervention_id, created_at
FROM support_interactions
WHERE supplier_id = %(supplier)s AND interaction_type <> 'churn_prevention' AND status = 'scheduled'
    AND (scheduled_at IS NULL OR coalesce(ends_at, scheduled_at + interval '15 minutes') > %(now)s)
ORDER BY scheduled_at NULLS LAST, id

-- name: find
SELECT id::text AS id, supplier_id::text AS supplier_id, interaction_type, status, scheduled_at, ends_at,
    completed_at, duration_minutes, agent_id::text AS agent_id, notes, outcome, satisfaction_score, preferred_times,
    urgency, sequence, intervention_id::text AS intervention_id, created_at
FROM support_interactions WHERE id = %(id)s

-- name: find_locked
-- As `find`, locked until the transaction ends.
SELECT id::text AS id, supplier_id::text AS supplier_id, interaction_type, status, scheduled_at, ends_at,
    completed_at, duration_minutes, agent_id::text AS agent_id, notes, outcome, satisfaction_score, preferred_times,
    urgency, sequence, intervention_id::text AS intervention_id, created_at
FROM support_interactions WHERE id = %(id)s FOR UPDATE

-- name: save
UPDATE support_interactions
SET status = %(status)s, scheduled_at = %(scheduled_at)s, ends_at = %(ends_at)s, completed_at = %(completed_at)s,
    duration_minutes = %(duration_minutes)s, agent_id = %(agent_id)s, notes = %(notes)s, outcome = %(outcome)s,
    satisfaction_score = %(satisfaction_score)s, sequence = %(sequence)s, updated_at = %(now)s
WHERE id = %(id)s

-- name: supersede_mails
-- What waits about this call is no longer true. One that is being sent is left to its sender.
UPDATE transactional_mails SET status = 'superseded' WHERE call_id = %(call)s AND status = 'queued'

-- name: queue_mail
-- At most `most` an hour to one supplier: the next waits until the oldest of the last so many is an hour old.
INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at, not_before, expires_at,
    created_at)
VALUES (%(id)s, %(supplier)s, %(call)s, %(method)s, %(sequence)s, %(starts_at)s, %(ends_at)s,
    greatest(%(now)s, (
        SELECT not_before + interval '1 hour' FROM transactional_mails
        WHERE supplier_id = %(supplier)s AND status <> 'superseded'
        ORDER BY not_before DESC OFFSET %(most)s - 1 LIMIT 1)),
    %(expires_at)s, %(now)s)

-- name: expire_mails
-- Too late to be of use: the mail server was away, or no address came.
UPDATE transactional_mails
SET status = 'failed', last_error = coalesce(last_error, 'no address was known in time')
WHERE status = 'queued' AND expires_at <= %(now)s
RETURNING id::text

-- name: set_aside
-- What is due and has no address waits until one comes (the trigger `address_came` takes it back); a supplier who is
-- being written at this moment is left to the next look.
UPDATE transactional_mails m SET waits_for_address = true
WHERE m.id IN (
    SELECT d.id FROM transactional_mails d JOIN suppliers s ON s.id = d.supplier_id
    WHERE d.status = 'queued' AND NOT d.waits_for_address AND d.not_before <= %(now)s AND coalesce(s.email, '') = ''
    FOR NO KEY UPDATE OF s SKIP LOCKED)

-- name: claim_mail
-- The next email to send; those whose address is not known wait, and so does one behind another of its call that is
-- being sent. Which of its call's were sent before says whether they have heard of the call at all.
WITH next AS (
    SELECT m.id FROM transactional_mails m
    JOIN suppliers s ON s.id = m.supplier_id AND s.email <> ''
    WHERE m.status = 'queued' AND NOT m.waits_for_address AND m.not_before <= %(now)s AND m.expires_at > %(now)s
        AND NOT EXISTS (SELECT FROM transactional_mails other
                        WHERE other.call_id = m.call_id AND other.status = 'sending')
    ORDER BY m.not_before, m.id
    LIMIT 1
    FOR UPDATE OF m SKIP LOCKED
)
UPDATE transactional_mails m
SET status = 'sending', claimed_at = %(now)s, claim = %(claim)s
FROM next, suppliers s, support_interactions c
WHERE m.id = next.id AND s.id = m.supplier_id AND c.id = m.call_id
RETURNING m.id::text AS id, m.supplier_id::text AS supplier_id, m.call_id::text AS call_id, m.method, m.sequence,
    m.starts_at, m.ends_at, m.expires_at, m.attempts, c.interaction_type, s.email, s.first_name, s.timezone, s.locale,
    EXISTS (SELECT FROM transactional_mails earlier
            WHERE earlier.call_id = m.call_id AND earlier.sequence < m.sequence
                AND earlier.status IN ('sent', 'unknown')) AS heard_before

-- name: note_mail
-- What became of a claimed email. One that is to be tried again gives way if a newer one has come meanwhile.
UPDATE transactional_mails m
SET status = CASE
        WHEN %(status)s = 'queued' AND EXISTS (
            SELECT FROM transactional_mails newer WHERE newer.call_id = m.call_id AND newer.sequence > m.sequence)
        THEN 'superseded' ELSE %(status)s END,
    sent_at = %(sent_at)s,
    not_before = coalesce(%(not_before)s, not_before),
    attempts = attempts + 1,
    claim = NULL,
    last_error = %(last_error)s,
    address_hash = %(address_hash)s
WHERE m.id = %(id)s AND m.status IN ('sending', 'unknown') AND (m.claim = %(claim)s)
RETURNING m.status

-- name: give_up_mails
-- Claims whose owner holds its lock no more, or which `owner` itself no longer works on: nobody knows whether the
-- mail server said yes. The claim stays, so that whoever was only taken for dead can still note what it knows.
UPDATE transactional_mails m
SET status = 'unknown', last_error = 'its delivery died before noting the outcome'
WHERE m.status = 'sending' AND NOT (m.id = ANY(%(in_flight)s::uuid[]))
    AND (m.claim = %(owner)s
        OR NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.classid = %(namespace)s::bigint::oid AND l.objid = m.claim::bigint::oid))
RETURNING m.id::text

-- name: next_mail
-- When the next email can be sent, or expires.
SELECT least(
    (SELECT min(not_before) FROM transactional_mails WHERE status = 'queued' AND NOT waits_for_address),
    (SELECT min(expires_at) FROM transactional_mails WHERE status = 'queued'))
