-- Open pages of the dashboard hear of these, too (0035).
CREATE TRIGGER tell_dashboard AFTER INSERT OR UPDATE OR DELETE ON supplier_owners
    FOR EACH ROW EXECUTE FUNCTION success_tell_dashboard();
CREATE TRIGGER tell_dashboard AFTER INSERT OR UPDATE OR DELETE ON supplier_tags
    FOR EACH ROW EXECUTE FUNCTION success_tell_dashboard();
