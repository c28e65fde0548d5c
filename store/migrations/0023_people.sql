-- What people see of people: newcomers are their own state wherever totals are shown, and a phone number.

-- From the profile; it goes with the row.
ALTER TABLE suppliers ADD COLUMN phone TEXT;

-- Newcomers ------------------------------------------------------------------------------------------------------------

-- For so long after sign-up somebody who is not healthy is `new`, not at risk or critical, in everything that counts.
CREATE FUNCTION success_new_for() RETURNS INTERVAL LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT interval '14 days' $$;

-- Under what somebody of this risk level is counted at a moment; `new_until` is null without a known sign-up.
CREATE FUNCTION success_counted_as(risk TEXT, at TIMESTAMPTZ, new_until TIMESTAMPTZ) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN risk <> 'healthy' AND at < new_until THEN 'new' ELSE risk END $$;

-- `level` is what they are counted as; `risk` what they are counted as once they are no longer new.
ALTER TABLE supplier_standings ADD COLUMN risk TEXT, ADD COLUMN new_until TIMESTAMPTZ;
CREATE INDEX idx_standings_new ON supplier_standings(new_until) WHERE level = 'new';
-- The end of being new is a change of level without a change of the score: it has the `seq` of the last one.
ALTER TABLE level_changes DROP CONSTRAINT level_changes_pkey, ADD PRIMARY KEY (supplier_id, seq, level);

-- The changes of level in `steps` of one supplier each in order: what happened, and between two of them the end of being
-- new. An array of rows in, so that a batch and the whole history are worked out by the same words.
CREATE TYPE success_step AS (
    supplier_id UUID, seq BIGINT, at TIMESTAMPTZ, score INT, risk TEXT, new_until TIMESTAMPTZ,
    before_seq BIGINT, before_score INT, before_risk TEXT, before_level TEXT
);
CREATE FUNCTION success_level_changes(step success_step)
RETURNS TABLE (supplier_id UUID, seq BIGINT, at TIMESTAMPTZ, previous TEXT, level TEXT, score INT)
LANGUAGE sql IMMUTABLE AS
$$
    SELECT step.supplier_id, step.before_seq, step.new_until, 'new', step.before_risk, step.before_score
    WHERE step.before_level = 'new' AND step.at >= step.new_until
    UNION ALL
    SELECT step.supplier_id, step.seq, step.at, was.level, now_is.level, step.score
    FROM (SELECT CASE WHEN step.before_level = 'new' AND step.at >= step.new_until THEN step.before_risk
                      ELSE step.before_level END AS level) was,
        (SELECT success_counted_as(step.risk, step.at, step.new_until) AS level) now_is
    WHERE was.level IS DISTINCT FROM now_is.level
$$;

CREATE OR REPLACE FUNCTION success_note_changes() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    -- success_end_newness() may be at the same rows: whoever comes second sees what the first has counted.
    PERFORM 1 FROM supplier_standings s
    WHERE s.level = 'new' AND s.supplier_id IN (SELECT supplier_id FROM added)
    ORDER BY s.supplier_id FOR NO KEY UPDATE;
    WITH who AS (
        SELECT DISTINCT supplier_id FROM added),
    young AS (
        SELECT w.supplier_id, (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until
        FROM who w LEFT JOIN customer_health h ON h.supplier_id = w.supplier_id),
    levels AS (
        SELECT a.*, y.new_until, success_counted_as(a.risk_level, a.at, y.new_until) AS level
        FROM added a JOIN young y ON y.supplier_id = a.supplier_id),
    steps AS (
        SELECT (a.supplier_id, a.seq, a.at, a.score, a.risk_level, a.new_until,
                coalesce(lag(a.seq) OVER line, s.seq),
                coalesce(lag(a.score) OVER line,
                         CASE WHEN s.level = 'new' THEN (SELECT h.score FROM health_history h
                             WHERE h.supplier_id = s.supplier_id AND h.seq <= s.seq ORDER BY h.seq DESC LIMIT 1) END),
                coalesce(lag(a.risk_level) OVER line, s.risk, s.level),
                coalesce(lag(a.level) OVER line, s.level))::success_step AS step
        FROM levels a LEFT JOIN supplier_standings s ON s.supplier_id = a.supplier_id
        WHERE a.seq > coalesce(s.seq, -1)
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
        SELECT DISTINCT ON (supplier_id) supplier_id, seq, risk_level AS risk, least(score / 5, 19) AS band, at
        FROM added ORDER BY supplier_id, seq DESC),
    standing AS (
        SELECT n.supplier_id, n.seq, success_counted_as(n.risk, n.at, y.new_until) AS level, n.risk, y.new_until, n.band,
            success_week(coalesce((h.facts ->> 'signed_up_at')::timestamptz, u.signed_up_at)) AS cohort,
            coalesce((SELECT c.at FROM level_changes c WHERE c.supplier_id = n.supplier_id
                      ORDER BY c.at DESC, c.seq DESC LIMIT 1), n.at) AS since,
            CASE WHEN (h.facts ->> 'cancelled')::boolean THEN 0
                 ELSE coalesce(h.churn_probability, 0) * success_plan_value(coalesce(h.facts ->> 'plan', u.plan)) END
                AS weight,
            s.level AS old_level, s.risk AS old_risk, s.new_until AS old_until, s.band AS old_band, s.cohort AS old_cohort,
            s.since AS old_since
        FROM newest n
        JOIN suppliers u ON u.id = n.supplier_id
        LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id
        CROSS JOIN LATERAL (
            SELECT (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until) y
        LEFT JOIN supplier_standings s ON s.supplier_id = n.supplier_id
        WHERE n.seq > coalesce(s.seq, -1)),
    moved AS (
        SELECT * FROM standing
        WHERE (level, risk, band, cohort, new_until, since)
            IS DISTINCT FROM (old_level, old_risk, old_band, old_cohort, old_until, old_since)),
    kept AS (
        INSERT INTO supplier_standings AS s (supplier_id, seq, level, risk, new_until, band, cohort, since, weight)
        SELECT supplier_id, seq, level, risk, new_until, band, cohort, since, weight FROM moved
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

-- Counts whoever was new until `until` or before by their level from then on: time passes for those who do nothing, too.
-- Rows that are being written are left to their writer, or to the next call. Returns how many there were.
CREATE FUNCTION success_end_newness(until TIMESTAMPTZ) RETURNS BIGINT LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
DECLARE
    ended BIGINT;
BEGIN
    WITH over AS (
        SELECT supplier_id FROM supplier_standings WHERE level = 'new' AND new_until <= until FOR UPDATE SKIP LOCKED),
    moved AS (
        UPDATE supplier_standings s SET level = s.risk, since = s.new_until
        FROM over o WHERE s.supplier_id = o.supplier_id
        RETURNING s.supplier_id, s.seq, s.level, s.band, s.cohort, s.new_until),
    kept AS (
        INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
        SELECT m.supplier_id, m.seq, m.new_until, 'new', m.level,
            (SELECT h.score FROM health_history h WHERE h.supplier_id = m.supplier_id AND h.seq <= m.seq
             ORDER BY h.seq DESC LIMIT 1)
        FROM moved m ON CONFLICT DO NOTHING),
    days AS (
        INSERT INTO population_moves AS p (day, previous, level, backend, suppliers)
        SELECT (new_until AT TIME ZONE 'UTC')::date, 'new', level, pg_backend_pid(), count(*) FROM moved GROUP BY 1, 3
        ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers),
    counted AS (
        SELECT cohort, level, band, 1 AS one FROM moved UNION ALL SELECT cohort, 'new', band, -1 FROM moved),
    sums AS (
        INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
        SELECT cohort, level, band, pg_backend_pid(), sum(one) FROM counted GROUP BY 1, 2, 3
        ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers)
    SELECT count(*) INTO ended FROM moved;
    RETURN ended;
END
$$;
REVOKE ALL ON FUNCTION success_end_newness(TIMESTAMPTZ) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_end_newness(TIMESTAMPTZ) TO success_writer;

-- Works everything out anew from the tables, as before; newcomers are counted as such.
CREATE OR REPLACE FUNCTION success_recount() RETURNS VOID LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    LOCK TABLE health_history, success_interventions IN SHARE ROW EXCLUSIVE MODE;
    TRUNCATE level_changes, supplier_standings, population_moves, population_now, message_tallies;
    INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
    SELECT c.supplier_id, c.seq, c.at, c.previous, c.level, c.score
    FROM (SELECT (l.supplier_id, l.seq, l.at, l.score, l.risk_level, l.new_until, lag(l.seq) OVER line,
                  lag(l.score) OVER line, lag(l.risk_level) OVER line, lag(l.level) OVER line)::success_step AS step
          FROM (SELECT a.*, y.new_until, success_counted_as(a.risk_level, a.at, y.new_until) AS level
                FROM health_history a
                LEFT JOIN LATERAL (
                    SELECT (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until
                    FROM customer_health h WHERE h.supplier_id = a.supplier_id) y ON true) l
          WINDOW line AS (PARTITION BY l.supplier_id ORDER BY l.seq)) steps,
        success_level_changes(steps.step) c
    ON CONFLICT DO NOTHING;
    INSERT INTO population_moves (day, previous, level, backend, suppliers)
    SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, 0, count(*)
    FROM level_changes GROUP BY 1, 2, 3;
    INSERT INTO supplier_standings (supplier_id, seq, level, risk, new_until, band, cohort, since, weight)
    SELECT n.supplier_id, n.seq, success_counted_as(n.risk_level, n.at, y.new_until), n.risk_level, y.new_until,
        least(n.score / 5, 19), success_week(coalesce((h.facts ->> 'signed_up_at')::timestamptz, u.signed_up_at)),
        (SELECT max(c.at) FROM level_changes c WHERE c.supplier_id = n.supplier_id),
        CASE WHEN (h.facts ->> 'cancelled')::boolean THEN 0
             ELSE coalesce(h.churn_probability, 0) * success_plan_value(coalesce(h.facts ->> 'plan', u.plan)) END
    FROM (SELECT DISTINCT ON (supplier_id) * FROM health_history ORDER BY supplier_id, seq DESC) n
    JOIN suppliers u ON u.id = n.supplier_id
    LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id
    CROSS JOIN LATERAL (SELECT (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until) y;
    INSERT INTO population_now (cohort, level, band, backend, suppliers)
    SELECT cohort, level, band, 0, count(*) FROM supplier_standings GROUP BY 1, 2, 3;
    INSERT INTO message_tallies
    SELECT (coalesce(sent_at, due_at) AT TIME ZONE 'UTC')::date, coalesce(template_used, trigger_condition),
        intervention_type, status, coalesce(reason, ''), coalesce(experiment, ''), coalesce(variant, ''),
        opened_at IS NOT NULL, clicked_at IS NOT NULL, coalesce(converted, false), unsubscribed_at IS NOT NULL,
        bounced_at IS NOT NULL, complained_at IS NOT NULL, 0, count(*)
    FROM success_interventions GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13;
END
$$;

-- The same for those who are counted already, some at a time, so that nobody who writes waits for more than a moment: each
-- part is a transaction of its own. Those who have long been with us are counted by their level from the start. What comes
-- meanwhile is counted as it comes. 0027 calls it.
CREATE PROCEDURE success_recount_in_parts(most INT DEFAULT 200) LANGUAGE plpgsql AS
$$
DECLARE
    part UUID[];
    last UUID := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        SELECT array_agg(supplier_id) INTO part FROM (
            SELECT supplier_id FROM supplier_standings WHERE supplier_id > last ORDER BY supplier_id LIMIT most) next;
        EXIT WHEN part IS NULL;
        LOCK TABLE health_history IN SHARE ROW EXCLUSIVE MODE;
        WITH gone AS (
            DELETE FROM level_changes WHERE supplier_id = ANY(part) RETURNING at, previous, level)
        INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
        SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, 0, -count(*) FROM gone GROUP BY 1, 2, 3
        ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers;
        WITH lives AS (
            SELECT a.*, y.new_until, success_counted_as(a.risk_level, a.at, y.new_until) AS level
            FROM health_history a
            LEFT JOIN LATERAL (
                SELECT (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until
                FROM customer_health h WHERE h.supplier_id = a.supplier_id) y ON true
            WHERE a.supplier_id = ANY(part)),
        steps AS (
            SELECT (l.supplier_id, l.seq, l.at, l.score, l.risk_level, l.new_until, lag(l.seq) OVER line,
                    lag(l.score) OVER line, lag(l.risk_level) OVER line, lag(l.level) OVER line)::success_step AS step
            FROM lives l WINDOW line AS (PARTITION BY l.supplier_id ORDER BY l.seq)),
        made AS (
            INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
            SELECT c.supplier_id, c.seq, c.at, c.previous, c.level, c.score
            FROM steps, success_level_changes(steps.step) c
            ON CONFLICT DO NOTHING
            RETURNING at, previous, level)
        INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
        SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, 0, count(*) FROM made GROUP BY 1, 2, 3
        ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers;
        WITH fresh AS (
            SELECT n.supplier_id, n.seq, success_counted_as(n.risk_level, n.at, y.new_until) AS level, n.risk_level AS risk,
                y.new_until, least(n.score / 5, 19) AS band,
                (SELECT max(c.at) FROM level_changes c WHERE c.supplier_id = n.supplier_id) AS since
            FROM (SELECT DISTINCT ON (supplier_id) * FROM health_history WHERE supplier_id = ANY(part)
                  ORDER BY supplier_id, seq DESC) n
            LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id
            CROSS JOIN LATERAL (
                SELECT (h.facts ->> 'signed_up_at')::timestamptz + success_new_for() AS new_until) y),
        before AS (
            SELECT s.supplier_id, s.cohort, s.level, s.band FROM supplier_standings s JOIN fresh f USING (supplier_id)),
        kept AS (
            UPDATE supplier_standings s SET seq = f.seq, level = f.level, risk = f.risk, new_until = f.new_until,
                band = f.band, since = coalesce(f.since, s.since)
            FROM fresh f WHERE f.supplier_id = s.supplier_id
            RETURNING s.cohort, s.level, s.band),
        counted AS (
            SELECT cohort, level, band, 1 AS one FROM kept UNION ALL SELECT cohort, level, band, -1 FROM before)
        INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
        SELECT cohort, level, band, 0, sum(one) FROM counted GROUP BY 1, 2, 3 HAVING sum(one) <> 0
        ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers;
        PERFORM success_end_newness(now());
        COMMIT;
        last := part[array_upper(part, 1)];
    END LOOP;
END
$$;
