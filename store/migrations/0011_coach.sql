-- What the coach remembers of a supplier, and how it hears at once of what is new.

-- `item` is `tip:<id>`, `milestone:<type>` or `message:<intervention id>`; `what` became of it, when last, how often.
CREATE TABLE coach_memory (
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('shown', 'dismissed', 'clicked', 'celebrated', 'shared')),
    at TIMESTAMPTZ NOT NULL,
    times INT NOT NULL DEFAULT 1,
    PRIMARY KEY (supplier_id, item, what)
);
ALTER TABLE coach_memory ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON coach_memory TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON coach_memory FOR SELECT TO success_reader USING (true);
CREATE POLICY api_all ON coach_memory TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
GRANT SELECT, INSERT, UPDATE, DELETE ON coach_memory TO success_writer;
GRANT SELECT ON coach_memory TO success_reader;
GRANT SELECT, INSERT, UPDATE ON coach_memory TO success_api;

-- The coach has shown a milestone.
GRANT UPDATE (celebrated, celebration_sent_at) ON success_milestones TO success_api;
CREATE POLICY api_celebrate ON success_milestones FOR UPDATE TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));

-- Whoever has a coach open hears of her id when something that it shows has changed, once the change is committed.
-- Rows whose change shows nowhere (most snapshots) tell nothing: the conditions are checked before the function runs.
CREATE FUNCTION success_tell_coach() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('success_coach', NEW.supplier_id::text);
    RETURN NULL;
END
$$;
CREATE FUNCTION success_tell_coach_of_herself() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM pg_notify('success_coach', NEW.id::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_coach AFTER INSERT ON success_milestones
    FOR EACH ROW EXECUTE FUNCTION success_tell_coach();
CREATE TRIGGER tell_coach AFTER UPDATE ON success_interventions
    FOR EACH ROW WHEN (NEW.status = 'sent' AND OLD.status <> 'sent' AND NEW.intervention_type <> 'email')
    EXECUTE FUNCTION success_tell_coach();
CREATE TRIGGER tell_coach AFTER INSERT OR UPDATE ON support_interactions
    FOR EACH ROW EXECUTE FUNCTION success_tell_coach();
CREATE TRIGGER tell_coach_new AFTER INSERT ON customer_health
    FOR EACH ROW EXECUTE FUNCTION success_tell_coach();
CREATE TRIGGER tell_coach AFTER UPDATE ON customer_health
    FOR EACH ROW WHEN ((OLD.health_score, OLD.risk_level) IS DISTINCT FROM (NEW.health_score, NEW.risk_level))
    EXECUTE FUNCTION success_tell_coach();
CREATE TRIGGER tell_coach AFTER UPDATE ON suppliers
    FOR EACH ROW WHEN ((OLD.all_opt_out, OLD.paused_until, OLD.first_name, OLD.timezone)
        IS DISTINCT FROM (NEW.all_opt_out, NEW.paused_until, NEW.first_name, NEW.timezone))
    EXECUTE FUNCTION success_tell_coach_of_herself();
