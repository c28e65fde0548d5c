-- Health: the newest snapshot a supplier, and the history of what changed.

-- name: save_snapshots
-- One row a supplier; an older evaluation never overwrites a newer one. Their suppliers are locked, so nobody adds a row
-- meanwhile, and a row is not locked a second time (which ON CONFLICT would do). Percent columns round halves up. Beside it
-- stands how far the pipeline has come: few writers share a slot.
WITH progress AS (
    INSERT INTO pipeline_progress AS p (slot, calculated_at) VALUES (pg_backend_pid() %% 1024, %(newest)s)
    ON CONFLICT (slot) DO UPDATE SET calculated_at = excluded.calculated_at
    WHERE p.calculated_at < excluded.calculated_at)
MERGE INTO customer_health AS h
USING (
    SELECT r.supplier_id::uuid, r.seq, r.calculated_at::timestamptz, r.score, r.level, r.breakdown::jsonb,
        r.last_login::timestamptz, floor(r.feature_adoption::numeric * 100 + 0.5) AS feature_adoption,
        floor(r.client_activity::numeric * 100 + 0.5) AS client_activity, r.login_frequency::numeric,
        r.form_completion::numeric, r.journey_performance::numeric, r.churn_probability,
        r.next_change_at::timestamptz, r.facts::jsonb
    FROM unnest(
        %(supplier_id)b::text[], %(seq)s::bigint[], %(calculated_at)b::text[], %(score)s::int[], %(level)b::text[],
        %(breakdown)b::text[], %(last_login)b::text[], %(feature_adoption)b::float8[], %(client_activity)b::float8[],
        %(login_frequency)b::float8[], %(form_completion)b::float8[], %(journey_performance)b::float8[],
        %(churn_probability)b::float8[], %(next_change_at)b::text[], %(facts)b::text[]
    ) AS r(
        supplier_id, seq, calculated_at, score, level, breakdown, last_login, feature_adoption, client_activity,
        login_frequency, form_completion, journey_performance, churn_probability, next_change_at, facts)
) AS r ON h.supplier_id = r.supplier_id
WHEN MATCHED AND h.seq <= r.seq THEN UPDATE SET
    seq = r.seq,
    calculated_at = r.calculated_at,
    health_score = r.score,
    risk_level = r.level,
    breakdown = r.breakdown,
    last_login = r.last_login,
    feature_adoption_score = r.feature_adoption,
    client_engagement_score = r.client_activity,
    login_frequency = r.login_frequency,
    form_completion_rate = r.form_completion,
    journey_performance = r.journey_performance,
    churn_probability = r.churn_probability,
    next_change_at = r.next_change_at,
    facts = r.facts,
    updated_at = now()
WHEN NOT MATCHED THEN INSERT (
    supplier_id, seq, calculated_at, health_score, risk_level, breakdown, last_login,
    feature_adoption_score, client_engagement_score, login_frequency, form_completion_rate, journey_performance,
    churn_probability, next_change_at, facts)
VALUES (
    r.supplier_id, r.seq, r.calculated_at, r.score, r.level, r.breakdown, r.last_login,
    r.feature_adoption, r.client_activity, r.login_frequency, r.form_completion, r.journey_performance,
    r.churn_probability, r.next_change_at, r.facts)

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
-- Once a supplier and seq. A row that is there already keeps its id.
INSERT INTO health_history AS h (id, supplier_id, seq, at, score, risk_level, causes)
SELECT r.id::uuid, r.supplier_id::uuid, r.seq, r.at::timestamptz, r.score, r.level, r.causes::jsonb
FROM unnest(
    %(id)b::text[], %(supplier_id)b::text[], %(seq)s::bigint[], %(at)b::text[], %(score)s::int[], %(level)b::text[],
    %(causes)b::text[]
) AS r(id, supplier_id, seq, at, score, level, causes)
ON CONFLICT (supplier_id, seq) DO UPDATE SET
    at = excluded.at, score = excluded.score, risk_level = excluded.risk_level, causes = excluded.causes
WHERE (h.at, h.score, h.risk_level, h.causes)
    IS DISTINCT FROM (excluded.at, excluded.score, excluded.risk_level, excluded.causes)
