-- As of when what is stored is, and news for whoever has a page of the dashboard open.

-- The newest `calculated_at` that was ever stored. A row for each of some slots, so that writers don't wait for each other.
CREATE TABLE pipeline_progress (
    slot INT PRIMARY KEY,
    calculated_at TIMESTAMPTZ NOT NULL
);
INSERT INTO pipeline_progress (slot, calculated_at)
SELECT 0, newest FROM (SELECT max(calculated_at) AS newest FROM customer_health) stored WHERE newest IS NOT NULL;

ALTER TABLE pipeline_progress ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON pipeline_progress TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON pipeline_progress FOR SELECT TO success_reader USING (true);
CREATE POLICY api_agents ON pipeline_progress FOR SELECT TO success_api USING ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE ON pipeline_progress TO success_writer;
GRANT SELECT ON pipeline_progress TO success_reader, success_api;

-- What coaches are told (0011) an open page hears too; here is what shows on the dashboard alone. The payload is the
-- supplier's id, as there; Postgres tells the same once a transaction.
CREATE FUNCTION success_tell_dashboard() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('success_dashboard', coalesce(NEW.supplier_id, OLD.supplier_id)::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_dashboard_new AFTER INSERT ON success_interventions
    FOR EACH ROW EXECUTE FUNCTION success_tell_dashboard();
CREATE TRIGGER tell_dashboard AFTER UPDATE ON success_interventions
    FOR EACH ROW WHEN ((OLD.status, OLD.opened_at, OLD.clicked_at, OLD.converted_at, OLD.unsubscribed_at)
        IS DISTINCT FROM (NEW.status, NEW.opened_at, NEW.clicked_at, NEW.converted_at, NEW.unsubscribed_at))
    EXECUTE FUNCTION success_tell_dashboard();
CREATE TRIGGER tell_dashboard AFTER INSERT OR UPDATE OR DELETE ON supplier_holds
    FOR EACH ROW EXECUTE FUNCTION success_tell_dashboard();
CREATE TRIGGER tell_dashboard AFTER INSERT OR UPDATE OR DELETE ON supplier_notes
    FOR EACH ROW EXECUTE FUNCTION success_tell_dashboard();
CREATE FUNCTION success_tell_dashboard_of_them() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('success_dashboard', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_dashboard AFTER UPDATE ON suppliers
    FOR EACH ROW WHEN ((OLD.email, OLD.business_name, OLD.phone, OLD.plan, OLD.email_opt_out)
        IS DISTINCT FROM (NEW.email, NEW.business_name, NEW.phone, NEW.plan, NEW.email_opt_out))
    EXECUTE FUNCTION success_tell_dashboard_of_them();
