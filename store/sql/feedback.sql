-- Feedback: who opened and clicked, what bounced, which goals were reached.

-- name: lock_message
-- One hit at a time a message; nothing comes back for a message of an erased supplier.
SELECT sent_at FROM success_interventions
WHERE id = %(id)s AND supplier_id = %(supplier)s
FOR NO KEY UPDATE

-- name: recent_hits
SELECT id, kind, at, user_agent, method, link FROM message_hits
WHERE intervention_id = %(id)s AND at > %(since)s

-- name: add_hit
-- No more than `most` a message are kept: a link that somebody loads all day tells nothing new.
INSERT INTO message_hits (
    intervention_id, supplier_id, kind, link, at, method, user_agent, address_hash, classification, why)
SELECT %(id)s, %(supplier)s, %(kind)s, %(link)s, %(at)s, %(method)s, %(user_agent)s, %(address_hash)s,
    %(classification)s, %(why)s
WHERE (SELECT count(*) FROM message_hits WHERE intervention_id = %(id)s) < %(most)s

-- name: make_burst
-- Hits that looked like a person's until the next one came.
UPDATE message_hits SET classification = 'bot', why = 'burst'
WHERE id = ANY(%(hits)s::bigint[]) AND classification = 'human'

-- name: count_people
-- The first human open and click; a click implies an open.
UPDATE success_interventions i
SET opened_at = first.open, clicked_at = first.click
FROM (SELECT min(at) FILTER (WHERE kind IN ('open', 'click')) AS open, min(at) FILTER (WHERE kind = 'click') AS click
      FROM message_hits WHERE intervention_id = %(id)s AND classification = 'human') first
WHERE i.id = %(id)s AND (i.opened_at, i.clicked_at) IS DISTINCT FROM (first.open, first.click)
RETURNING i.opened_at, i.clicked_at

-- name: await_telling
-- Told once the burst window is over; what turned out to be no person's is not.
WITH told AS (
    DELETE FROM feedback_due WHERE intervention_id = %(id)s
        AND NOT (kind = ANY(%(kinds)s::text[])))
INSERT INTO feedback_due (intervention_id, kind, at)
SELECT %(id)s, kind, %(at)s FROM unnest(%(new)s::text[]) AS kind
ON CONFLICT DO NOTHING

-- name: settle
-- Opens and clicks that no burst can take back any more.
WITH due AS (
    DELETE FROM feedback_due WHERE at <= %(until)s RETURNING intervention_id, kind)
SELECT i.supplier_id::text, i.id::text, i.trigger_condition, i.intervention_type, i.template_used, i.status,
    i.signal_id::text, CASE due.kind WHEN 'opened' THEN i.opened_at ELSE i.clicked_at END, due.kind
FROM due JOIN success_interventions i ON i.id = due.intervention_id
WHERE CASE due.kind WHEN 'opened' THEN i.opened_at ELSE i.clicked_at END IS NOT NULL
ORDER BY i.supplier_id, i.id, due.kind DESC

-- name: convert
-- A goal of its trigger after sending and within the attribution window; of several the earliest. A snapshot holds
-- the newest event of each type only: docs/feedback.md says what that can miss. `since` and `until`: between what times a
-- supplier's goals lie, so that of most no message is looked at.
UPDATE success_interventions i
SET converted = true, converted_at = reached.at
FROM (
    SELECT m.id, min(goal.at) AS at
    FROM unnest(%(suppliers)s::uuid[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS asked(supplier_id, since, until)
    CROSS JOIN LATERAL (
        SELECT c.id, c.sent_at, c.trigger_condition FROM success_interventions c
        WHERE c.supplier_id = asked.supplier_id AND c.status = 'sent' AND NOT c.converted
            AND c.sent_at >= asked.since - %(attribution)s::interval AND c.sent_at < asked.until
        OFFSET 0) AS m
    JOIN customer_health h ON h.supplier_id = asked.supplier_id
    CROSS JOIN LATERAL jsonb_each_text(coalesce(h.facts -> 'last_goals', '{}')) AS last(type, text)
    CROSS JOIN LATERAL (SELECT last.text::timestamptz AS at) AS goal
    JOIN jsonb_to_recordset(%(goals)s::jsonb) AS rule(trigger text, goal text)
        ON rule.goal = last.type AND rule.trigger = m.trigger_condition
    WHERE m.sent_at < goal.at AND m.sent_at >= goal.at - %(attribution)s::interval
    GROUP BY m.id) reached
WHERE i.id = reached.id AND NOT i.converted
RETURNING i.supplier_id::text, i.id::text, i.trigger_condition, i.intervention_type, i.template_used, i.status,
    i.signal_id::text, i.converted_at

-- name: message_of_id
-- The message of a row: an intervention's or one about a call; and which address it went to.
SELECT i.id::text, NULL, i.supplier_id::text, i.metadata ->> 'address_hash', s.email
FROM success_interventions i JOIN suppliers s ON s.id = i.supplier_id
WHERE i.id = %(id)s AND i.intervention_type = 'email'
UNION ALL
SELECT NULL, m.id::text, m.supplier_id::text, encode(m.address_hash, 'hex'), s.email
FROM transactional_mails m JOIN suppliers s ON s.id = m.supplier_id
WHERE m.id = %(id)s

-- name: last_message_to
-- The last message sent to an address, in any of its spellings (lower case), with the columns of `message_of_id`.
SELECT m.intervention_id::text, m.call_mail_id::text, s.id::text, m.sent_to, s.email
FROM suppliers s
CROSS JOIN LATERAL (
    SELECT id AS intervention_id, NULL::uuid AS call_mail_id, metadata ->> 'address_hash' AS sent_to, sent_at
    FROM success_interventions
    WHERE supplier_id = s.id AND intervention_type = 'email' AND status IN ('sent', 'unknown')
    UNION ALL
    SELECT NULL, id, encode(address_hash, 'hex'), sent_at
    FROM transactional_mails
    WHERE supplier_id = s.id AND status IN ('sent', 'unknown')) m
WHERE lower(s.email) = ANY(%(addresses)s::text[])
ORDER BY m.sent_at DESC NULLS LAST
LIMIT 1

-- name: add_report
-- Each report counts once, however often it is sent.
INSERT INTO mail_reports (
    id, at, kind, bounce_class, supplier_id, intervention_id, call_mail_id, address_hash, code, diagnostic, about_us)
VALUES (
    %(id)s, %(at)s, %(kind)s, %(bounce)s, %(supplier)s, %(intervention)s, %(call_mail)s, %(address_hash)s, %(code)s,
    %(diagnostic)s, %(about_us)s)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: soft_bounces
-- Messages to this address that bounced since `since`, and since the last one arrived: it was reported as delivered,
-- somebody or his mail program loaded it, or it has not bounced for long enough.
SELECT count(DISTINCT coalesce(r.intervention_id::text, r.call_mail_id::text, r.id))
FROM mail_reports r
WHERE r.address_hash = ANY(%(address_hashes)s::bytea[]) AND r.kind = 'bounced' AND NOT r.about_us
    AND r.at > %(since)s
    AND r.at > coalesce(greatest(
        (SELECT max(d.at) FROM mail_reports d WHERE d.address_hash = ANY(%(address_hashes)s::bytea[]) AND d.kind = 'delivered'),
        (SELECT max(h.at) FROM message_hits h
         JOIN success_interventions i ON i.id = h.intervention_id
         WHERE h.supplier_id = %(supplier)s AND h.classification IN ('human', 'machine')
             AND i.metadata ->> 'address_hash' = ANY(%(address_hexes)s::text[])),
        (SELECT max(i.sent_at) FROM success_interventions i
         WHERE i.supplier_id = %(supplier)s AND i.status = 'sent' AND i.intervention_type = 'email'
             AND i.metadata ->> 'address_hash' = ANY(%(address_hexes)s::text[])
             AND i.sent_at <= %(arrived)s AND i.bounced_at IS NULL),
        (SELECT max(m.sent_at) FROM transactional_mails m
         WHERE m.supplier_id = %(supplier)s AND m.status = 'sent' AND m.address_hash = ANY(%(address_hashes)s::bytea[])
             AND m.sent_at <= %(arrived)s
             AND NOT EXISTS (SELECT FROM mail_reports b WHERE b.call_mail_id = m.id AND b.kind = 'bounced'))),
        '-infinity')

-- name: suppress_address
INSERT INTO suppressed_addresses (address_hash, reason, since)
VALUES (%(address_hash)s, %(reason)s, %(since)s)
ON CONFLICT (address_hash, reason) DO UPDATE SET since = greatest(suppressed_addresses.since, excluded.since)

-- name: suppressions
-- One address under every key in force.
SELECT reason, since FROM success_suppressed(%(address_hashes)s::bytea[])

-- name: mark_bounced
UPDATE success_interventions SET bounced_at = %(at)s
WHERE id = %(id)s AND bounced_at IS NULL
RETURNING supplier_id::text, id::text, trigger_condition, intervention_type, template_used, status, signal_id::text,
    bounced_at

-- name: mark_complained
UPDATE success_interventions SET complained_at = %(at)s
WHERE id = %(id)s AND complained_at IS NULL
RETURNING supplier_id::text, id::text, trigger_condition, intervention_type, template_used, status, signal_id::text,
    complained_at

-- name: by_template
-- What became of each template's messages; machines and bots are those whom no person's hit is known for.
SELECT coalesce(i.template_used, i.trigger_condition) AS template, i.intervention_type AS channel,
    count(*) FILTER (WHERE i.status = 'sent') AS sent,
    count(i.opened_at) AS opened,
    count(i.clicked_at) AS clicked,
    count(*) FILTER (WHERE i.converted) AS converted,
    count(i.unsubscribed_at) AS unsubscribed,
    count(i.bounced_at) AS bounced,
    count(i.complained_at) AS complained,
    count(*) FILTER (WHERE i.opened_at IS NULL AND hits.machines > 0) AS opened_by_machines,
    coalesce(sum(hits.bots), 0)::bigint AS bot_hits,
    count(*) FILTER (WHERE i.status = 'suppressed') AS suppressed,
    count(*) FILTER (WHERE i.status = 'failed') AS failed,
    count(*) FILTER (WHERE i.status = 'unknown') AS unknown
FROM success_interventions i
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE h.classification = 'machine') AS machines,
        count(*) FILTER (WHERE h.classification = 'bot') AS bots
    FROM message_hits h WHERE h.intervention_id = i.id) hits ON true
GROUP BY 1, 2
ORDER BY sent DESC, template
