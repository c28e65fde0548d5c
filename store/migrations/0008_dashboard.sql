-- The dashboard at a million suppliers: where each stands, how the population moves, what became of messages, kept as
-- it happens by triggers on what the agents write anyway, so that no page counts a large table. docs/dashboard.md says why.

-- What a supplier is worth relative to others, by plan; the order of calls uses it.
CREATE FUNCTION success_plan_value(plan TEXT) RETURNS DOUBLE PRECISION LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE plan WHEN 'starter' THEN 2 WHEN 'professional' THEN 4 WHEN 'scale' THEN 7 WHEN 'enterprise' THEN 10
          ELSE 1 END::double precision $$;

-- Monday of the week of a moment, UTC; '-infinity' where the moment is not known.
CREATE FUNCTION success_week(at TIMESTAMPTZ) RETURNS DATE LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(date_trunc('week', at AT TIME ZONE 'UTC')::date, '-infinity') $$;

-- A row per change of level, the first included (previous is then null): what the lists of movement read.
CREATE TABLE level_changes (
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    previous TEXT,
    level TEXT NOT NULL,
    score INT NOT NULL,
    PRIMARY KEY (supplier_id, seq)
);
CREATE INDEX idx_level_changes_at ON level_changes(at, supplier_id);
CREATE INDEX idx_level_changes_move ON level_changes(previous, level, at, supplier_id);

-- Where each supplier stands, by what lists are filtered and ordered by. Rewritten only when level or band change (a
-- band is five points), so that customer_health, which every event rewrites, needs no further index.
-- `weight` = churn probability x plan value at that moment; 0 for who has cancelled.
CREATE TABLE supplier_standings (
    supplier_id UUID PRIMARY KEY REFERENCES suppliers(id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    level TEXT NOT NULL,
    band INT NOT NULL,
    cohort DATE NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    weight DOUBLE PRECISION NOT NULL
);
CREATE INDEX idx_standings_weight ON supplier_standings(weight, supplier_id);
CREATE INDEX idx_standings_level ON supplier_standings(level, weight, supplier_id);
CREATE INDEX idx_standings_band ON supplier_standings(band, weight, supplier_id);
CREATE INDEX idx_standings_cohort ON supplier_standings(cohort, weight, supplier_id);
CREATE INDEX idx_standings_calls ON supplier_standings(weight, supplier_id) WHERE level <> 'healthy';

-- Tallies. `backend` is the writing process of Postgres: two transactions never add to the same row, so none waits for
-- another; success_fold_tallies() adds the rows up from time to time. '' stands for none.
CREATE TABLE population_moves (
    day DATE NOT NULL,
    previous TEXT NOT NULL,
    level TEXT NOT NULL,
    backend INT NOT NULL,
    suppliers BIGINT NOT NULL,
    PRIMARY KEY (day, previous, level, backend)
);
CREATE TABLE population_now (
    cohort DATE NOT NULL,
    level TEXT NOT NULL,
    band INT NOT NULL,
    backend INT NOT NULL,
    suppliers BIGINT NOT NULL,
    PRIMARY KEY (cohort, level, band, backend)
);
-- `day`: when it was sent, else when it is due, UTC.
CREATE TABLE message_tallies (
    day DATE NOT NULL,
    template TEXT NOT NULL,
    channel TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    experiment TEXT NOT NULL,
    variant TEXT NOT NULL,
    opened BOOLEAN NOT NULL,
    clicked BOOLEAN NOT NULL,
    converted BOOLEAN NOT NULL,
    unsubscribed BOOLEAN NOT NULL,
    bounced BOOLEAN NOT NULL,
    complained BOOLEAN NOT NULL,
    backend INT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (day, template, channel, status, reason, experiment, variant, opened, clicked, converted, unsubscribed,
                 bounced, complained, backend)
);

-- What agents note of a supplier; it goes with her.
CREATE TABLE supplier_notes (
    id UUID PRIMARY KEY,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    at TIMESTAMPTZ NOT NULL,
    noted_by TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE INDEX idx_supplier_notes_supplier ON supplier_notes(supplier_id, at);

-- Dead letters that an agent has mended and published again; `stamp`, their append time, tells a topic made anew.
CREATE TABLE dead_letters_published (
    partition INT NOT NULL,
    position BIGINT NOT NULL,
    stamp TIMESTAMPTZ NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    published_by TEXT NOT NULL,
    PRIMARY KEY (partition, position, stamp)
);

-- health_history -> level_changes, supplier_standings, population_* ------------------------------------------------

CREATE FUNCTION success_note_changes() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    WITH steps AS (
        SELECT a.supplier_id, a.seq, a.at, a.score, a.risk_level AS level,
            coalesce(lag(a.risk_level) OVER (PARTITION BY a.supplier_id ORDER BY a.seq), s.level) AS previous
        FROM added a LEFT JOIN supplier_standings s ON s.supplier_id = a.supplier_id
        WHERE a.seq > coalesce(s.seq, -1)),
    changed AS (SELECT * FROM steps WHERE previous IS DISTINCT FROM level),
    kept AS (
        INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
        SELECT supplier_id, seq, at, previous, level, score FROM changed
        ON CONFLICT DO NOTHING)
    INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
    SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, pg_backend_pid(), count(*)
    FROM changed GROUP BY 1, 2, 3
    ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers;

    WITH newest AS (
        SELECT DISTINCT ON (supplier_id) supplier_id, seq, risk_level AS level, least(score / 5, 19) AS band, at
        FROM added ORDER BY supplier_id, seq DESC),
    standing AS (
        SELECT n.supplier_id, n.seq, n.level, n.band,
            success_week(coalesce((h.facts ->> 'signed_up_at')::timestamptz, u.signed_up_at)) AS cohort,
            coalesce((SELECT c.at FROM level_changes c WHERE c.supplier_id = n.supplier_id
                      ORDER BY c.seq DESC LIMIT 1), n.at) AS since,
            CASE WHEN (h.facts ->> 'cancelled')::boolean THEN 0
                 ELSE coalesce(h.churn_probability, 0) * success_plan_value(coalesce(h.facts ->> 'plan', u.plan)) END
                AS weight,
            s.level AS old_level, s.band AS old_band, s.cohort AS old_cohort
        FROM newest n
        JOIN suppliers u ON u.id = n.supplier_id
        LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id
        LEFT JOIN supplier_standings s ON s.supplier_id = n.supplier_id
        WHERE n.seq > coalesce(s.seq, -1)),
    moved AS (
        SELECT * FROM standing WHERE (level, band, cohort) IS DISTINCT FROM (old_level, old_band, old_cohort)),
    kept AS (
        INSERT INTO supplier_standings AS s (supplier_id, seq, level, band, cohort, since, weight)
        SELECT supplier_id, seq, level, band, cohort, since, weight FROM moved
        ON CONFLICT (supplier_id) DO UPDATE SET seq = excluded.seq, level = excluded.level, band = excluded.band,
            cohort = excluded.cohort, since = excluded.since, weight = excluded.weight),
    counted AS (
        SELECT cohort, level, band, 1 AS one FROM moved
        UNION ALL SELECT old_cohort, old_level, old_band, -1 FROM moved WHERE old_level IS NOT NULL)
    INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
    SELECT cohort, level, band, pg_backend_pid(), sum(one) FROM counted GROUP BY 1, 2, 3 HAVING sum(one) <> 0
    ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers;
    RETURN NULL;
END
$$;
CREATE TRIGGER health_history_added AFTER INSERT ON health_history REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION success_note_changes();

-- An erased supplier leaves the population on the day of her erasure.
CREATE FUNCTION success_note_departures() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
    SELECT (now() AT TIME ZONE 'UTC')::date, level, '', pg_backend_pid(), count(*) FROM gone GROUP BY 2
    ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers;
    INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
    SELECT cohort, level, band, pg_backend_pid(), -count(*) FROM gone GROUP BY 1, 2, 3
    ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers;
    RETURN NULL;
END
$$;
CREATE TRIGGER supplier_standings_gone AFTER DELETE ON supplier_standings REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION success_note_departures();

-- success_interventions -> message_tallies ---------------------------------------------------------------------------

CREATE FUNCTION success_note_messages() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO message_tallies AS t
        SELECT (coalesce(sent_at, due_at) AT TIME ZONE 'UTC')::date, coalesce(template_used, trigger_condition),
            intervention_type, status, coalesce(reason, ''), coalesce(experiment, ''), coalesce(variant, ''),
            opened_at IS NOT NULL, clicked_at IS NOT NULL, coalesce(converted, false), unsubscribed_at IS NOT NULL,
            bounced_at IS NOT NULL, complained_at IS NOT NULL, pg_backend_pid(), count(*)
        FROM added GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
        ON CONFLICT (day, template, channel, status, reason, experiment, variant, opened, clicked, converted,
                     unsubscribed, bounced, complained, backend)
            DO UPDATE SET messages = t.messages + excluded.messages;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO message_tallies AS t
        SELECT (coalesce(sent_at, due_at) AT TIME ZONE 'UTC')::date, coalesce(template_used, trigger_condition),
            intervention_type, status, coalesce(reason, ''), coalesce(experiment, ''), coalesce(variant, ''),
            opened_at IS NOT NULL, clicked_at IS NOT NULL, coalesce(converted, false), unsubscribed_at IS NOT NULL,
            bounced_at IS NOT NULL, complained_at IS NOT NULL, pg_backend_pid(), -count(*)
        FROM gone GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
        ON CONFLICT (day, template, channel, status, reason, experiment, variant, opened, clicked, converted,
                     unsubscribed, bounced, complained, backend)
            DO UPDATE SET messages = t.messages + excluded.messages;
    ELSE
        INSERT INTO message_tallies AS t
        SELECT (coalesce(sent_at, due_at) AT TIME ZONE 'UTC')::date, coalesce(template_used, trigger_condition),
            intervention_type, status, coalesce(reason, ''), coalesce(experiment, ''), coalesce(variant, ''),
            opened_at IS NOT NULL, clicked_at IS NOT NULL, coalesce(converted, false), unsubscribed_at IS NOT NULL,
            bounced_at IS NOT NULL, complained_at IS NOT NULL, pg_backend_pid(), sum(sign)
        FROM (SELECT 1 AS sign, a.* FROM added a UNION ALL SELECT -1, g.* FROM gone g) both_states
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 HAVING sum(sign) <> 0
        ON CONFLICT (day, template, channel, status, reason, experiment, variant, opened, clicked, converted,
                     unsubscribed, bounced, complained, backend)
            DO UPDATE SET messages = t.messages + excluded.messages;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER interventions_added AFTER INSERT ON success_interventions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION success_note_messages();
CREATE TRIGGER interventions_changed AFTER UPDATE ON success_interventions
    REFERENCING OLD TABLE AS gone NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION success_note_messages();
CREATE TRIGGER interventions_gone AFTER DELETE ON success_interventions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION success_note_messages();

-- Care of the tallies -------------------------------------------------------------------------------------------------

-- Adds up what the processes of Postgres wrote, under backend 0; returns how many rows went. Safe at any time: a row
-- that is being added to meanwhile is made anew by its writer.
CREATE FUNCTION success_fold_tallies() RETURNS BIGINT LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
DECLARE
    folded BIGINT := 0;
    went BIGINT;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('success_fold_tallies')) THEN
        RETURN 0;
    END IF;
    WITH old AS (DELETE FROM population_moves WHERE backend <> 0 RETURNING *),
    summed AS (
        INSERT INTO population_moves AS m (day, previous, level, backend, suppliers)
        SELECT day, previous, level, 0, sum(suppliers) FROM old GROUP BY 1, 2, 3
        ON CONFLICT (day, previous, level, backend) DO UPDATE SET suppliers = m.suppliers + excluded.suppliers)
    SELECT count(*) INTO went FROM old;
    folded := folded + went;
    WITH old AS (DELETE FROM population_now WHERE backend <> 0 RETURNING *),
    summed AS (
        INSERT INTO population_now AS p (cohort, level, band, backend, suppliers)
        SELECT cohort, level, band, 0, sum(suppliers) FROM old GROUP BY 1, 2, 3
        ON CONFLICT (cohort, level, band, backend) DO UPDATE SET suppliers = p.suppliers + excluded.suppliers)
    SELECT count(*) INTO went FROM old;
    folded := folded + went;
    WITH old AS (DELETE FROM message_tallies WHERE backend <> 0 RETURNING *),
    summed AS (
        INSERT INTO message_tallies AS t
        SELECT day, template, channel, status, reason, experiment, variant, opened, clicked, converted, unsubscribed,
            bounced, complained, 0, sum(messages)
        FROM old GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
        ON CONFLICT (day, template, channel, status, reason, experiment, variant, opened, clicked, converted,
                     unsubscribed, bounced, complained, backend)
            DO UPDATE SET messages = t.messages + excluded.messages)
    SELECT count(*) INTO went FROM old;
    RETURN folded + went;
END
$$;
REVOKE ALL ON FUNCTION success_fold_tallies() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_fold_tallies() TO success_writer;

-- Works everything out anew from the tables: once now, and by hand should anybody ever doubt it.
CREATE FUNCTION success_recount() RETURNS VOID LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    LOCK TABLE health_history, success_interventions IN SHARE ROW EXCLUSIVE MODE;
    TRUNCATE level_changes, supplier_standings, population_moves, population_now, message_tallies;
    INSERT INTO level_changes (supplier_id, seq, at, previous, level, score)
    SELECT supplier_id, seq, at, previous, risk_level, score
    FROM (SELECT h.*, lag(risk_level) OVER (PARTITION BY supplier_id ORDER BY seq) AS previous
          FROM health_history h) steps
    WHERE previous IS DISTINCT FROM risk_level
    ON CONFLICT DO NOTHING;
    INSERT INTO population_moves (day, previous, level, backend, suppliers)
    SELECT (at AT TIME ZONE 'UTC')::date, coalesce(previous, ''), level, 0, count(*)
    FROM level_changes GROUP BY 1, 2, 3;
    INSERT INTO supplier_standings (supplier_id, seq, level, band, cohort, since, weight)
    SELECT n.supplier_id, n.seq, n.risk_level, least(n.score / 5, 19),
        success_week(coalesce((h.facts ->> 'signed_up_at')::timestamptz, u.signed_up_at)),
        (SELECT max(c.at) FROM level_changes c WHERE c.supplier_id = n.supplier_id),
        CASE WHEN (h.facts ->> 'cancelled')::boolean THEN 0
             ELSE coalesce(h.churn_probability, 0) * success_plan_value(coalesce(h.facts ->> 'plan', u.plan)) END
    FROM (SELECT DISTINCT ON (supplier_id) * FROM health_history ORDER BY supplier_id, seq DESC) n
    JOIN suppliers u ON u.id = n.supplier_id
    LEFT JOIN customer_health h ON h.supplier_id = n.supplier_id;
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
REVOKE ALL ON FUNCTION success_recount() FROM PUBLIC;
SELECT success_recount();

-- Lists --------------------------------------------------------------------------------------------------------------

CREATE INDEX idx_interventions_status_due ON success_interventions(status, due_at, id);
CREATE INDEX idx_interventions_template_due ON success_interventions(template_used, due_at, id);
CREATE INDEX idx_interventions_reason_due ON success_interventions(reason, due_at, id) WHERE reason IS NOT NULL;
CREATE INDEX idx_interventions_experiment_due ON success_interventions(experiment, due_at) WHERE experiment IS NOT NULL;
CREATE INDEX idx_calls_booked ON support_interactions(scheduled_at) WHERE status = 'scheduled';
CREATE INDEX idx_calls_wanted ON support_interactions(created_at) WHERE status = 'scheduled' AND scheduled_at IS NULL;

-- Search. Row-level security would make Postgres look at every row before a text search (its operators are not
-- leak-proof), so the search is a function that asks for the role itself.
CREATE FUNCTION success_words(VARIADIC parts TEXT[]) RETURNS TSVECTOR LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT to_tsvector('simple'::regconfig,
    regexp_replace(lower(coalesce(parts[1], '') || ' ' || coalesce(parts[2], '') || ' ' || coalesce(parts[3], '')),
                   '[^[:alnum:]]+', ' ', 'g')) $$;
CREATE INDEX idx_suppliers_words ON suppliers USING gin (success_words(business_name, first_name, email));
CREATE INDEX idx_suppliers_business_prefix ON suppliers(lower(business_name) text_pattern_ops);
CREATE INDEX idx_suppliers_email_prefix ON suppliers(lower(email) text_pattern_ops);

-- At most `most` suppliers whose id, name or address begins with `term`, then those who have all its words.
CREATE FUNCTION success_find_suppliers(term TEXT, most INT) RETURNS TABLE (supplier_id UUID, place INT)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET gin_fuzzy_search_limit = 5000 AS
$$
#variable_conflict use_column
DECLARE
    wanted TEXT := lower(trim(term));
    beyond TEXT := lower(trim(term)) || chr(1114111);
    words TEXT := trim(regexp_replace(lower(term), '[^[:alnum:]]+', ' ', 'g'));
BEGIN
    IF NOT success_sees_all() OR length(words) < 2 THEN
        RETURN;
    END IF;
    IF wanted ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        RETURN QUERY SELECT id, 0 FROM suppliers WHERE id = wanted::uuid;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT found.id, min(found.place) FROM (
        (SELECT id, 1 AS place FROM suppliers
         WHERE lower(email) ~>=~ wanted AND lower(email) ~<~ beyond ORDER BY lower(email) USING ~<~ LIMIT most)
        UNION ALL
        (SELECT id, 2 FROM suppliers
         WHERE lower(business_name) ~>=~ wanted AND lower(business_name) ~<~ beyond
         ORDER BY lower(business_name) USING ~<~ LIMIT most)
        UNION ALL
        (SELECT id, 3 FROM suppliers
         WHERE success_words(business_name, first_name, email)
             @@ to_tsquery('simple', replace(words, ' ', ':* & ') || ':*') LIMIT most)) found
    GROUP BY found.id ORDER BY 2, 1 LIMIT most;
END
$$;
REVOKE ALL ON FUNCTION success_find_suppliers(TEXT, INT) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_find_suppliers(TEXT, INT) TO success_writer, success_api, success_reader;

-- Who may ------------------------------------------------------------------------------------------------------------

-- Agents see it all; a supplier sees nothing of it (of her own levels she has health_history).
DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['level_changes', 'supplier_standings', 'population_moves', 'population_now',
                                 'message_tallies', 'supplier_notes', 'dead_letters_published'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY writer_all ON %I TO success_writer USING (true) WITH CHECK (true)', owned);
        EXECUTE format('CREATE POLICY reader_all ON %I FOR SELECT TO success_reader USING (true)', owned);
        EXECUTE format('CREATE POLICY api_agents ON %I TO success_api '
                       'USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()))', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO success_writer', owned);
        EXECUTE format('GRANT SELECT ON %I TO success_reader, success_api', owned);
    END LOOP;
END
$$;
GRANT INSERT ON supplier_notes, dead_letters_published TO success_api;
