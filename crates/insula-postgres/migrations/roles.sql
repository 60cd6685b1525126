-- What is not there yet is made; roles belong to the server, so another database's installation may have made them.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['insula_owner', 'insula_engine', 'insula_app'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', wanted,
                    CASE wanted WHEN 'insula_app' THEN 'LOGIN' ELSE 'NOLOGIN' END);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    IF NOT pg_has_role('insula_owner', 'insula_engine', 'MEMBER') THEN
        GRANT insula_engine TO insula_owner;
    END IF;
    IF NOT has_database_privilege('insula_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO insula_owner', current_database());
    END IF;
END $$;
