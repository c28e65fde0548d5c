-- Who may see and write which rows. The API puts the token's claims into `request.jwt.claims` (Supabase's way)
-- for one transaction; without claims it sees nothing.

CREATE FUNCTION success_claims() RETURNS JSONB LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;

-- Agents and the product's own services see every supplier.
CREATE FUNCTION success_sees_all() RETURNS BOOLEAN LANGUAGE sql STABLE AS
$$ SELECT coalesce(success_claims() ->> 'role' IN ('agent', 'service'), false) $$;

-- The supplier whose token this is; null for everyone else.
CREATE FUNCTION success_token_supplier() RETURNS UUID LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN success_claims() ->> 'role' = 'supplier' THEN (success_claims() ->> 'sub')::uuid END $$;

GRANT USAGE ON SCHEMA public TO success_writer, success_api, success_reader;

-- The subselects make Postgres work the claims out once a statement, not once a row.
DO $$
DECLARE
    owned text;
    supplier text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['suppliers', 'customer_health', 'health_history', 'success_milestones',
                                 'success_interventions', 'support_interactions', 'audit_log'] LOOP
        supplier := CASE owned WHEN 'suppliers' THEN 'id' ELSE 'supplier_id' END;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY writer_all ON %I TO success_writer USING (true) WITH CHECK (true)', owned);
        EXECUTE format('CREATE POLICY reader_all ON %I FOR SELECT TO success_reader USING (true)', owned);
        EXECUTE format('CREATE POLICY api_read ON %I FOR SELECT TO success_api '
                       'USING ((SELECT success_sees_all()) OR %I = (SELECT success_token_supplier()))',
                       owned, supplier);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO success_writer', owned);
        EXECUTE format('GRANT SELECT ON %I TO success_reader, success_api', owned);
    END LOOP;
END
$$;

-- Calls are booked and changed through the API, and what it does is logged.
GRANT INSERT, UPDATE ON support_interactions TO success_api;
CREATE POLICY api_book ON support_interactions FOR INSERT TO success_api
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
CREATE POLICY api_change ON support_interactions FOR UPDATE TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
GRANT INSERT ON audit_log TO success_api;
CREATE POLICY api_log ON audit_log FOR INSERT TO success_api WITH CHECK (true);

-- Nobody's rows: the writer's alone, but the API may add what it has to publish.
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE erased_suppliers ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON outbox TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY writer_all ON erased_suppliers TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY api_add ON outbox FOR INSERT TO success_api WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, erased_suppliers TO success_writer;
GRANT INSERT ON outbox TO success_api;
GRANT USAGE ON SEQUENCE outbox_id_seq, audit_log_id_seq TO success_writer, success_api;
