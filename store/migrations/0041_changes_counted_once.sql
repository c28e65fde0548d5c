-- What each batch of changes costs the lists: looked at are only suppliers whose standing moves.

-- A row of health stays as it is up to half a page: to compress its facts at every write, and to unpack them at every look,
-- cost more than the room.
ALTER TABLE customer_health SET (toast_tuple_target = 4080);

-- Openings, clicks and reports, which no index knows, find room on the row's page.
ALTER TABLE success_interventions SET (fillfactor = 85);

-- A name that is given with the row is not looked up again.
ALTER TABLE supplier_standings ALTER COLUMN name DROP DEFAULT;
DROP TRIGGER standing_described ON supplier_standings;
CREATE TRIGGER standing_described BEFORE INSERT ON supplier_standings
    FOR EACH ROW WHEN (NEW.name IS NULL) EXECUTE FUNCTION success_describe_standing();

CREATE OR REPLACE FUNCTION success_note_changes() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
DECLARE
    movers UUID[];
BEGIN
    -- Whose standing one of these changes is other than: level, risk, band, week or end of being new. Most change none.
    SELECT array_agg(DISTINCT a.supplier_id) INTO movers
    FROM added a
    LEFT JOIN supplier_standings s ON s.supplier_id = a.supplier_id
    LEFT JOIN customer_health h ON h.supplier_id = a.supplier_id
    CROSS JOIN LATERAL (SELECT (h.facts ->> 'signed_up_at')::timestamptz AS joined OFFSET 0) y
    WHERE s.supplier_id IS NULL
        OR a.seq > s.seq AND (
            s.level = 'new' OR a.risk_level IS DISTINCT FROM s.risk OR least(a.score / 5, 19) <> s.band
            OR y.joined + success_new_for() IS DISTINCT FROM s.new_until
            OR success_counted_as(a.risk_level, a.at, s.new_until) <> s.level
            OR success_week(coalesce(y.joined, (SELECT u.signed_up_at FROM suppliers u WHERE u.id = a.supplier_id)))
                <> s.cohort);
    IF movers IS NULL THEN
        RETURN NULL;
    END IF;
    -- success_end_newness() may be at the same rows: whoever comes second sees what the first has counted. (They are found by
    -- supplier: written so, the index of all newcomers does not fit.)
    PERFORM 1 FROM supplier_standings s
    WHERE s.level || '' = 'new' AND s.supplier_id = ANY(movers)
    ORDER BY s.supplier_id FOR NO KEY UPDATE;

    WITH who AS (
        SELECT mover.id AS supplier_id, s.seq, s.level, s.risk,
            CASE WHEN s.level = 'new' THEN (SELECT h.score FROM health_history h
                WHERE h.supplier_id = s.supplier_id AND h.seq <= s.seq ORDER BY h.seq DESC LIMIT 1) END AS score,
            (SELECT (h.facts ->> 'signed_up_at')::timestamptz FROM customer_health h WHERE h.supplier_id = mover.id)
                + success_new_for() AS new_until
        FROM unnest(movers) AS mover(id) LEFT JOIN supplier_standings s ON s.supplier_id = mover.id),
    levels AS (
        SELECT a.supplier_id, a.seq, a.at, a.score, a.risk_level, w.new_until,
            success_counted_as(a.risk_level, a.at, w.new_until) AS level,
            w.seq AS old_seq, w.score AS old_score, coalesce(w.risk, w.level) AS old_risk, w.level AS old_level
        FROM added a JOIN who w ON w.supplier_id = a.supplier_id
        WHERE a.seq > coalesce(w.seq, -1)),
    steps AS (
        SELECT (a.supplier_id, a.seq, a.at, a.score, a.risk_level, a.new_until,
                coalesce(lag(a.seq) OVER line, a.old_seq), coalesce(lag(a.score) OVER line, a.old_score),
                coalesce(lag(a.risk_level) OVER line, a.old_risk), coalesce(lag(a.level) OVER line, a.old_level)
               )::success_step AS step
        FROM levels a
        WINDOW line AS (PARTITION BY a.supplier_id ORDER BY a.seq)),
    changed AS (
        SELECT c.* FROM steps, success_level_changes(steps.step) c),
    kept AS (
        INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
        SELECT supplier_id, seq, at, previous, level, score FROM changed
        ON CONFLICT DO NOTHING)
    INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
    SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, pg_backend_pid(), count(*)
    FROM changed GROUP BY 1, 2, 3
    ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers;

    WITH newest AS (
        SELECT DISTINCT ON (a.supplier_id) a.supplier_id, a.seq, a.risk_level AS risk, least(a.score / 5, 19) AS band, a.at
        FROM added a WHERE a.supplier_id = ANY(movers) ORDER BY a.supplier_id, a.seq DESC),
    known AS (
        SELECT n.*, u.signed_up_at AS profile_signed_up_at, u.plan AS profile_plan, u.vendor_type, u.business_name,
            u.first_name, f.signed_up_at, f.plan, f.cancelled, h.churn_probability
        FROM newest n
        JOIN suppliers u ON u.id = n.supplier_id
        LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id
        CROSS JOIN LATERAL (
            SELECT (h.facts ->> 'signed_up_at')::timestamptz AS signed_up_at, h.facts ->> 'plan' AS plan,
                (h.facts ->> 'cancelled')::boolean AS cancelled OFFSET 0) f),
    standing AS (
        SELECT n.supplier_id, n.seq, success_counted_as(n.risk, n.at, n.signed_up_at + success_new_for()) AS level, n.risk,
            n.signed_up_at + success_new_for() AS new_until, n.band,
            success_week(coalesce(n.signed_up_at, n.profile_signed_up_at)) AS cohort,
            coalesce((SELECT max(c.at) FROM level_changes c WHERE c.supplier_id = n.supplier_id), n.at) AS since,
            CASE WHEN n.cancelled THEN 0
                 ELSE coalesce(n.churn_probability, 0) * success_plan_value(coalesce(n.plan, n.profile_plan)) END AS weight,
            CASE WHEN s.supplier_id IS NOT NULL THEN s.name
                 WHEN coalesce(n.business_name, n.first_name) IS NULL THEN ''
                 ELSE success_fold(coalesce(nullif(trim(n.business_name), ''), n.first_name, '')) END AS name,
            CASE WHEN s.supplier_id IS NOT NULL THEN s.plan ELSE coalesce(n.plan, n.profile_plan) END AS plan,
            CASE WHEN s.supplier_id IS NOT NULL THEN s.trade ELSE n.vendor_type END AS trade,
            s.level AS old_level, s.risk AS old_risk, s.new_until AS old_until, s.band AS old_band, s.cohort AS old_cohort,
            s.since AS old_since
        FROM known n
        LEFT JOIN supplier_standings s ON s.supplier_id = n.supplier_id
        WHERE n.seq > coalesce(s.seq, -1)),
    moved AS (
        SELECT * FROM standing
        WHERE (level, risk, band, cohort, new_until, since)
            IS DISTINCT FROM (old_level, old_risk, old_band, old_cohort, old_until, old_since)),
    kept AS (
        INSERT INTO supplier_standings AS s (
            supplier_id, seq, level, risk, new_until, band, cohort, since, weight, name, plan, trade)
        SELECT supplier_id, seq, level, risk, new_until, band, cohort, since, weight, name, plan, trade FROM moved
        ON CONFLICT (supplier_id) DO UPDATE SET seq = excluded.seq, level = excluded.level, risk = excluded.risk,
            new_until = excluded.new_until, band = excluded.band, cohort = excluded.cohort, since = excluded.since,
            weight = excluded.weight),
    counted AS (
        SELECT cohort, level, band, 1 AS one FROM moved
        UNION ALL SELECT old_cohort, old_level, old_band, -1 FROM moved WHERE old_level IS NOT NULL)
    INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
    SELECT cohort, level, band, pg_backend_pid(), sum(one) FROM counted GROUP BY 1, 2, 3 HAVING sum(one) <> 0
    ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers;
    RETURN NULL;
END
$$;
