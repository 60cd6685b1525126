-- What is not there yet is made; roles belong to the server, so another database's installation may have made them.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['insula_owner', 'insula_engine', 'insula_app', 'insula_keeper', 'insula_agent'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I %s %s NOSUPERUSER NOCREATEDB NOBYPASSRLS', wanted,
                    CASE wanted WHEN 'insula_app' THEN 'LOGIN' ELSE 'NOLOGIN' END,
                    CASE wanted WHEN 'insula_keeper' THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    -- The owner of the tables may give things to these two, and has nothing of theirs itself: policies that let them through
    -- would let it through as well.
    BEGIN
        IF (SELECT rolinherit FROM pg_roles WHERE rolname = 'insula_owner') THEN
            ALTER ROLE insula_owner NOINHERIT;
        END IF;
    EXCEPTION WHEN internal_error THEN NULL;
    END;
    FOREACH wanted IN ARRAY ARRAY['insula_engine', 'insula_keeper'] LOOP
        BEGIN
            IF NOT pg_has_role('insula_owner', wanted, 'MEMBER') THEN
                EXECUTE format('GRANT %I TO insula_owner %s', wanted,
                    CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'WITH INHERIT FALSE' END);
            END IF;
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END LOOP;
    BEGIN
        -- From Postgres 16 on, who may make roles may not give away those that others have made.
        IF NOT pg_has_role('insula_keeper', 'insula_agent', 'MEMBER WITH ADMIN OPTION') THEN
            GRANT insula_agent TO insula_keeper WITH ADMIN OPTION;
        END IF;
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
    IF NOT has_database_privilege('insula_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO insula_owner', current_database());
    END IF;
END $$;
