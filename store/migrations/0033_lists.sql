-- Lists that work: what they are sorted and filtered by, tags, saved views, and a search that forgives accents and typing errors.

-- Without accents and case, the same on every Postgres: `unaccent` would be an extension, and is not immutable.
CREATE FUNCTION success_fold(said TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT lower(translate(replace(replace(replace(
    regexp_replace(normalize(said, NFKD), '[\u0300-\u036F]', '', 'g'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'øØłŁđĐ', 'oolldd')) $$;

-- What lists sort and filter by, beside level, band, week and weight; kept by the triggers below.
ALTER TABLE supplier_standings
    ADD COLUMN name TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN plan TEXT COLLATE "C",
    ADD COLUMN trade TEXT COLLATE "C";

CREATE FUNCTION success_describe_standing() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    SELECT success_fold(coalesce(nullif(trim(u.business_name), ''), u.first_name, '')),
        coalesce(h.facts ->> 'plan', u.plan), u.vendor_type
    INTO NEW.name, NEW.plan, NEW.trade
    FROM suppliers u LEFT JOIN customer_health h ON h.supplier_id = u.id WHERE u.id = NEW.supplier_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER standing_described BEFORE INSERT ON supplier_standings
    FOR EACH ROW EXECUTE FUNCTION success_describe_standing();
-- An update that moves nothing asks for it (below); those of every snapshot, which move something, are spared it.
CREATE TRIGGER standing_described_again BEFORE UPDATE ON supplier_standings
    FOR EACH ROW WHEN (OLD IS NOT DISTINCT FROM NEW) EXECUTE FUNCTION success_describe_standing();

-- A new profile or plan is seen in lists at once.
CREATE FUNCTION success_describe_again() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS
$$
BEGIN
    UPDATE supplier_standings SET seq = seq
    WHERE supplier_id = (CASE TG_TABLE_NAME WHEN 'suppliers' THEN to_jsonb(NEW) ->> 'id'
                         ELSE to_jsonb(NEW) ->> 'supplier_id' END)::uuid;
    RETURN NULL;
END
$$;
CREATE TRIGGER supplier_described AFTER UPDATE OF business_name, first_name, vendor_type, plan ON suppliers
    FOR EACH ROW WHEN ((OLD.business_name, OLD.first_name, OLD.vendor_type, OLD.plan)
        IS DISTINCT FROM (NEW.business_name, NEW.first_name, NEW.vendor_type, NEW.plan))
    EXECUTE FUNCTION success_describe_again();
CREATE TRIGGER plan_described AFTER UPDATE OF facts ON customer_health
    FOR EACH ROW WHEN (OLD.facts ->> 'plan' IS DISTINCT FROM NEW.facts ->> 'plan')
    EXECUTE FUNCTION success_describe_again();

-- The same for those who are there already, some at a time, each part a transaction of its own. 0036 calls it.
CREATE PROCEDURE success_describe_standings(most INT DEFAULT 500) LANGUAGE plpgsql AS
$$
DECLARE
    part UUID[];
    last UUID := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        SELECT array_agg(supplier_id) INTO part FROM (
            SELECT supplier_id FROM supplier_standings WHERE supplier_id > last ORDER BY supplier_id LIMIT most) next;
        EXIT WHEN part IS NULL;
        UPDATE supplier_standings SET seq = seq WHERE supplier_id = ANY(part);
        last := part[array_upper(part, 1)];
        COMMIT;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE success_describe_standings(INT) FROM PUBLIC;

-- Tags and views -------------------------------------------------------------------------------------------------------

-- Short words of the agents' own; they go with the supplier.
CREATE TABLE supplier_tags (
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    tag TEXT COLLATE "C" NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    tagged_by TEXT NOT NULL,
    PRIMARY KEY (supplier_id, tag)
);
CREATE INDEX idx_supplier_tags_tag ON supplier_tags(tag, supplier_id);
ALTER TABLE supplier_tags ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON supplier_tags TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON supplier_tags FOR SELECT TO success_reader USING (true);
CREATE POLICY api_agents ON supplier_tags TO success_api
    USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE, DELETE ON supplier_tags TO success_writer;
GRANT SELECT ON supplier_tags TO success_reader;
GRANT SELECT, INSERT, DELETE ON supplier_tags TO success_api;

-- A list as an agent wants to find it again: filters, order and columns, never what was searched for.
CREATE TABLE list_views (
    id UUID PRIMARY KEY,
    agent TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    shared BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    UNIQUE (agent, name)
);
CREATE INDEX idx_list_views_shared ON list_views(name) WHERE shared;
ALTER TABLE list_views ENABLE ROW LEVEL SECURITY;
CREATE POLICY api_read ON list_views FOR SELECT TO success_api
    USING ((SELECT success_claims() ->> 'role') = 'agent' AND (shared OR agent = (SELECT success_claims() ->> 'sub')));
CREATE POLICY api_own ON list_views TO success_api
    USING ((SELECT success_claims() ->> 'role') = 'agent' AND agent = (SELECT success_claims() ->> 'sub'))
    WITH CHECK ((SELECT success_claims() ->> 'role') = 'agent' AND agent = (SELECT success_claims() ->> 'sub'));
GRANT SELECT, INSERT, UPDATE, DELETE ON list_views TO success_api;

-- Search ---------------------------------------------------------------------------------------------------------------

CREATE FUNCTION success_said_of(business_name TEXT, first_name TEXT, email TEXT) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT regexp_replace(public.success_fold(coalesce(business_name, '') || ' ' || coalesce(first_name, '') || ' '
                                      || coalesce(email, '')), '[^[:alnum:]]+', ' ', 'g') $$;

-- At most `most` suppliers whose id (six digits of it are enough), address or name begins with `term`, then those who have
-- all its words; if there are none (`place` 4), the likest of some hundred with words like them, where Postgres has pg_trgm.
CREATE OR REPLACE FUNCTION success_find_suppliers(term TEXT, most INT) RETURNS TABLE (supplier_id UUID, place INT)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET gin_fuzzy_search_limit = 5000 AS
$$
#variable_conflict use_column
DECLARE
    wanted TEXT := lower(trim(term));
    named TEXT := left(success_fold(trim(term)), 200);
    words TEXT := trim(left(success_said_of(term, NULL, NULL), 200));
    digits TEXT := substring(replace(wanted, '-', '') FROM '^[0-9a-f]{6,32}$');
    near TEXT;
    likeness TEXT;
BEGIN
    IF NOT success_sees_all() OR length(words) < 2 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT found.id, min(found.place) FROM (
        (SELECT id, 0 AS place FROM suppliers
         WHERE id BETWEEN rpad(digits, 32, '0')::uuid AND rpad(digits, 32, 'f')::uuid LIMIT most)
        UNION ALL
        (SELECT id, 1 FROM suppliers
         WHERE lower(email) ~>=~ wanted AND lower(email) ~<~ (wanted || chr(1114111))
         ORDER BY lower(email) USING ~<~ LIMIT most)
        UNION ALL
        (SELECT id, 2 FROM suppliers
         WHERE success_fold(business_name) ~>=~ named AND success_fold(business_name) ~<~ (named || chr(1114111))
         ORDER BY success_fold(business_name) USING ~<~ LIMIT most)
        UNION ALL
        (SELECT id, 3 FROM suppliers
         WHERE to_tsvector('simple'::regconfig, success_said_of(business_name, first_name, email))
             @@ to_tsquery('simple', replace(words, ' ', ':* & ') || ':*') LIMIT most)) found
    GROUP BY found.id ORDER BY 2, 1 LIMIT most;
    IF FOUND OR to_regprocedure('public.word_similarity(text, text)') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(format('success_said_of(business_name, first_name, email) %%> %L', word), ' AND '),
        string_agg(format('word_similarity(%L, success_said_of(business_name, first_name, email))', word), ' + ')
    INTO near, likeness
    FROM (SELECT word FROM unnest(string_to_array(words, ' ')) AS word WHERE length(word) > 2 LIMIT 6) long_ones;
    IF near IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('pg_trgm.word_similarity_threshold', '0.4', true);
    RETURN QUERY EXECUTE format(
        'SELECT id, 4 FROM (SELECT * FROM suppliers WHERE %s LIMIT 500) found ORDER BY %s DESC, id LIMIT %s',
        near, likeness, most);
END
$$;
