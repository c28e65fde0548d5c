-- The versions of the configuration.

-- name: lock
-- Numbers are given one at a time.
SELECT pg_advisory_xact_lock(hashtextextended('success.config_versions', 0))

-- name: greatest
SELECT coalesce(max(number), 0) FROM config_versions

-- name: add
INSERT INTO config_versions (
    number, digest, source_digest, author, note, copy_of, partitions, limits, forecast, rules, policy, churn, brand,
    templates, created_at)
VALUES (%(number)s, %(digest)s, %(source_digest)s, %(author)s, %(note)s, %(copy_of)s, %(partitions)s, %(limits)s,
    %(forecast)s, %(rules)s, %(policy)s, %(churn)s, %(brand)s, %(templates)s, %(created_at)s)

-- name: put_into_force
UPDATE config_versions SET in_force_at = %(at)s
WHERE number = ANY(%(numbers)s::int[]) AND in_force_at IS NULL
RETURNING number, pg_notify('success_configuration', number::text)

-- name: one
SELECT number, digest, source_digest, author, note, copy_of, partitions, limits, forecast, rules, policy, churn, brand,
    templates, created_at, in_force_at
FROM config_versions WHERE number = %(number)s

-- name: history
SELECT number, digest, author, note, copy_of, partitions, limits, created_at, in_force_at
FROM config_versions ORDER BY number DESC

-- name: in_force
-- All that are needed to say what is in force where: the newest on all partitions, and what came after it.
SELECT number FROM config_versions
WHERE in_force_at IS NOT NULL AND number >= coalesce(
    (SELECT max(number) FROM config_versions WHERE in_force_at IS NOT NULL AND partitions IS NULL), 0)
ORDER BY number

-- name: watched
-- The version that went into force last, if it has limits, and what has come of the messages that it decided.
SELECT v.number, v.limits, count(i.complained_at) AS complaints, count(i.bounced_at) AS bounces,
    count(i.unsubscribed_at) AS unsubscribes, count(*) FILTER (WHERE i.status = 'failed') AS failures
FROM config_versions v
LEFT JOIN success_interventions i ON i.metadata ->> 'decided_version' = v.number::text
    AND (i.complained_at IS NOT NULL OR i.bounced_at IS NOT NULL OR i.unsubscribed_at IS NOT NULL OR i.status = 'failed')
WHERE v.limits IS NOT NULL AND v.number = (SELECT max(number) FROM config_versions WHERE in_force_at IS NOT NULL)
GROUP BY v.number

-- name: before
-- What was in force on all partitions before a version was; null if that was none.
SELECT max(number) FROM config_versions WHERE in_force_at IS NOT NULL AND partitions IS NULL AND number < %(number)s

-- name: was_activated
SELECT EXISTS (
    SELECT FROM config_versions
    WHERE in_force_at IS NOT NULL AND (digest = %(digest)s OR source_digest = %(source_digest)s))

-- name: waiting_for_nobody
-- Messages that wait, of triggers that these are not.
SELECT trigger_condition, count(*) FROM success_interventions
WHERE status = 'scheduled' AND trigger_condition <> ALL(%(known)s::text[]) GROUP BY trigger_condition ORDER BY trigger_condition
