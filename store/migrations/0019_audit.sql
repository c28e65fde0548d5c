-- The audit log can only be added to, and an actor names only themselves.

-- The writer is not one caller (export, erasure, the command line): it may name whoever acts, and change nothing.
REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM success_writer;
DROP POLICY writer_all ON audit_log;
CREATE POLICY writer_read ON audit_log FOR SELECT TO success_writer USING (true);
CREATE POLICY writer_log ON audit_log FOR INSERT TO success_writer WITH CHECK (true);

DROP POLICY api_log ON audit_log;
CREATE POLICY api_log ON audit_log FOR INSERT TO success_api WITH CHECK (
    actor_role = (SELECT success_claims() ->> 'role')
    AND actor = (SELECT success_claims() ->> 'sub')
    AND ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier())));

-- Whatever privileges somebody may be given: no row changes, and only the owner drops what is past its period.
CREATE FUNCTION success_keep_audit() RETURNS TRIGGER LANGUAGE plpgsql
SET search_path = public, pg_temp AS
$$
BEGIN
    IF TG_OP = 'DELETE' AND current_user = 'success_owner' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log can only be added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_is_kept BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION success_keep_audit();
CREATE TRIGGER audit_log_is_not_emptied BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION success_keep_audit();

-- Under a supplier's claims nothing is told of anybody else either.
DROP POLICY api_add ON outbox;
CREATE POLICY api_add ON outbox FOR INSERT TO success_api WITH CHECK (
    (SELECT success_sees_all()) OR key = (SELECT success_token_supplier())::text);
