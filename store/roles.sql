-- The roles of the store. Roles belong to the whole cluster, so this runs before every migration,
-- makes only what is missing, and survives another database's migration doing the same at the same time.
-- success_owner owns the tables; the services own nothing and take their role with SET ROLE after login.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['success_owner', 'success_writer', 'success_api', 'success_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another migration was faster
            END;
        END IF;
        -- The login user acts as each role and, as a member of the owner, sees every row.
        -- A superuser is a member of everything already.
        IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', wanted, current_user);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO success_owner;
