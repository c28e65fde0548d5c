-- Health: the newest snapshot a supplier, and the history of what changed.

-- name: save_snapshots
-- One row a supplier; an older evaluation never overwrites a newer one. Percent columns round halves up. Beside it stands
-- how far the pipeline has come: few writers share a slot.
WITH progress AS (
    INSERT INTO pipeline_progress AS p (slot, calculated_at) VALUES (pg_backend_pid() %% 1024, %(newest)s)
    ON CONFLICT (slot) DO UPDATE SET calculated_at = excluded.calculated_at
    WHERE p.calculated_at < excluded.calculated_at)
INSERT INTO customer_health AS h (
    supplier_id, seq, calculated_at, health_score, risk_level, breakdown, last_login,
    feature_adoption_score, client_engagement_score, login_frequency, form_completion_rate, journey_performance,
    churn_probability, next_change_at, facts)
SELECT
    r.supplier_id, r.seq, r.calculated_at, r.score, r.level, r.breakdown, r.last_login,
    floor(r.feature_adoption * 100 + 0.5), floor(r.client_activity * 100 + 0.5),
    r.login_frequency, r.form_completion, r.journey_performance,
    r.churn_probability, r.next_change_at, r.facts
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    supplier_id uuid, seq bigint, calculated_at timestamptz, score int, level text, breakdown jsonb,
    last_login timestamptz, feature_adoption numeric, client_activity numeric, login_frequency numeric,
    form_completion numeric, journey_performance numeric, churn_probability float8,
    next_change_at timestamptz, facts jsonb)
ORDER BY r.supplier_id
ON CONFLICT (supplier_id) DO UPDATE SET
    seq = excluded.seq,
    calculated_at = excluded.calculated_at,
    health_score = excluded.health_score,
    risk_level = excluded.risk_level,
    breakdown = excluded.breakdown,
    last_login = excluded.last_login,
    feature_adoption_score = excluded.feature_adoption_score,
    client_engagement_score = excluded.client_engagement_score,
    login_frequency = excluded.login_frequency,
    form_completion_rate = excluded.form_completion_rate,
    journey_performance = excluded.journey_performance,
    churn_probability = excluded.churn_probability,
    next_change_at = excluded.next_change_at,
    facts = excluded.facts,
    updated_at = now()
WHERE h.seq <= excluded.seq

-- name: wake
-- Messages that waited for this health are due now. (`not_before` tells those that are due already apart.) A shadow takes
-- no lock on suppliers: its rows are all touched, so that one that begins to wait at this moment is not missed.
WITH shadows AS (
    UPDATE shadow_interventions i SET not_before = CASE
        WHEN i.metadata ->> 'waiting' = 'health' THEN least(i.due_at, i.not_before) ELSE i.not_before END
    FROM customer_health h
    WHERE h.supplier_id = ANY(%(ids)s::uuid[]) AND i.supplier_id = h.supplier_id AND i.status = 'scheduled'
        AND i.seq <= h.seq
)
UPDATE success_interventions i SET not_before = i.due_at
FROM customer_health h
WHERE h.supplier_id = ANY(%(ids)s::uuid[]) AND i.supplier_id = h.supplier_id AND i.status = 'scheduled'
    AND i.seq <= h.seq AND i.metadata ->> 'waiting' = 'health' AND i.not_before > i.due_at

-- name: save_changes
-- Ids follow from supplier and seq; those of rows that releases up to 0.1 wrote did not, and such a row stays.
INSERT INTO health_history AS h (id, supplier_id, seq, at, score, risk_level, causes)
SELECT r.id, r.supplier_id, r.seq, r.at, r.score, r.level, r.causes
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, supplier_id uuid, seq bigint, at timestamptz, score int, level text, causes jsonb)
WHERE NOT EXISTS (
    SELECT FROM health_history e WHERE e.supplier_id = r.supplier_id AND e.seq = r.seq AND e.id <> r.id)
ON CONFLICT (id) DO UPDATE SET
    seq = excluded.seq, at = excluded.at, score = excluded.score, risk_level = excluded.risk_level,
    causes = excluded.causes
WHERE (h.seq, h.at, h.score, h.risk_level, h.causes)
    IS DISTINCT FROM (excluded.seq, excluded.at, excluded.score, excluded.risk_level, excluded.causes)
