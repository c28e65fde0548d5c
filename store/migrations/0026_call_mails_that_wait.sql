-- Emails about calls whose supplier has no address cost nothing while they wait.

-- Set aside, once, by the delivery that found no address; an address that comes takes it back, whoever stores it.
ALTER TABLE transactional_mails ADD COLUMN waits_for_address BOOLEAN NOT NULL DEFAULT false;
DROP INDEX idx_transactional_mails_queued;
CREATE INDEX idx_transactional_mails_queued ON transactional_mails(not_before)
    WHERE status = 'queued' AND NOT waits_for_address;
CREATE INDEX idx_transactional_mails_expire ON transactional_mails(expires_at) WHERE status = 'queued';

CREATE FUNCTION success_address_came() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS
$$
BEGIN
    UPDATE transactional_mails SET waits_for_address = false
    WHERE supplier_id = NEW.id AND status = 'queued' AND waits_for_address;
    RETURN NULL;
END
$$;
CREATE TRIGGER address_came AFTER UPDATE OF email ON suppliers FOR EACH ROW
    WHEN (coalesce(OLD.email, '') = '' AND NEW.email <> '')
    EXECUTE FUNCTION success_address_came();
