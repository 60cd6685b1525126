-- Agents' own tables. Every owner has a schema (u_ and the owner's number) and a role that logs in and may do nothing outside
-- of it: an agent's statements can set any setting and take on any role that the session's is a member of, so the walls of
-- the tables above are none for them. insula_keeper owns the schemas and makes the roles; it logs in nowhere.

-- The one table of this schema that insula_app does not see.
CREATE TABLE insula.doors (
    owner_no bigint PRIMARY KEY,
    role     text COLLATE "C" NOT NULL UNIQUE,
    password text NOT NULL
);
ALTER TABLE insula.doors ENABLE ROW LEVEL SECURITY;
ALTER TABLE insula.doors FORCE ROW LEVEL SECURITY;
CREATE POLICY keeper ON insula.doors TO insula_keeper USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON insula.doors TO insula_keeper;
GRANT USAGE, CREATE ON SCHEMA insula TO insula_keeper;
GRANT EXECUTE ON FUNCTION insula.entered() TO insula_keeper;

-- What agents themselves may call.
CREATE SCHEMA insula_agents;
GRANT CREATE, USAGE ON SCHEMA insula_agents TO insula_keeper;
GRANT USAGE ON SCHEMA insula_agents TO insula_agent;

-- Refuses while the database still lets everybody do what agents must not (agents.sql).
CREATE FUNCTION insula.require_agents_walls() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_table_privilege('insula_agent', 'pg_catalog.pg_class', 'SELECT')
        OR has_function_privilege('insula_agent', 'pg_catalog.pg_advisory_lock(bigint)', 'EXECUTE')
        OR has_function_privilege('insula_agent', 'pg_catalog.lo_create(oid)', 'EXECUTE')
        OR has_function_privilege('insula_agent', 'pg_catalog.pg_get_functiondef(oid)', 'EXECUTE')
        OR has_database_privilege('insula_agent', current_database(), 'TEMPORARY')
        OR has_database_privilege('insula_agent', current_database(), 'CREATE')
        OR has_schema_privilege('insula_agent', 'insula', 'USAGE')
        OR (to_regnamespace('public') IS NOT NULL AND has_schema_privilege('insula_agent', 'public', 'USAGE'))
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'agents'' own tables are not walled off in this database',
            HINT = 'run `insula migrate` once as a superuser';
    END IF;
END $$;

CREATE FUNCTION insula.require_entered(of_owner bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF of_owner IS NULL OR of_owner <> ALL (insula.entered()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'this owner was not entered';
    END IF;
END $$;

-- Ends the sessions of an owner's role, and takes everything that it owns, and the role.
CREATE FUNCTION insula.remove_agent(of_owner bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    door_role text;
BEGIN
    SELECT d.role INTO door_role FROM insula.doors d WHERE d.owner_no = of_owner FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a
    WHERE a.usename = door_role AND a.pid <> pg_backend_pid();
    EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', 'u_' || of_owner);
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = door_role) THEN
        EXECUTE format('DROP OWNED BY %I', door_role);
        EXECUTE format('DROP ROLE %I', door_role);
    END IF;
    DELETE FROM insula.doors WHERE owner_no = of_owner;
END $$;

-- What an agent's role has been given, and nothing that it gave itself: a role may change its own settings for good.
CREATE FUNCTION insula.settle_agent(door_role text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted CONSTANT text[] := ARRAY['temp_file_limit=1GB'];
BEGIN
    IF EXISTS (SELECT 1 FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
        WHERE r.rolname = door_role AND s.setconfig <> wanted)
    THEN
        EXECUTE format('ALTER ROLE %I RESET ALL', door_role);
        EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', door_role, current_database());
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
        WHERE r.rolname = door_role AND s.setdatabase = 0)
    THEN
        EXECUTE format('ALTER ROLE %I SET temp_file_limit = %L', door_role, '1GB');
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    NULL; -- Before Postgres 15 only a superuser may set it.
END $$;

CREATE FUNCTION insula.make_agent(of_owner bigint, door_role text, door_password text, most integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Another installation's role of this name can only be one whose database is gone.
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = door_role) THEN
        EXECUTE format('CREATE ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', door_role);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN INHERIT PASSWORD %L CONNECTION LIMIT %s', door_role, door_password, most);
    EXECUTE format('GRANT %I TO insula_keeper', door_role);
    EXECUTE format('GRANT insula_agent TO %I', door_role);
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', 'u_' || of_owner);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', 'u_' || of_owner, door_role);
END $$;

-- How an owner's agents log in. The role and the schema are made when they are first asked for. `renew` gives the role another
-- password: a role may change its own, and nobody shall be shut out by that.
CREATE FUNCTION insula.agent_door(of_owner bigint, most integer, renew boolean, OUT door_role text, OUT door_password text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_open boolean;
BEGIN
    PERFORM insula.require_entered(of_owner), insula.require_agents_walls();
    SELECT d.role, d.password, r.rolcanlogin AND r.rolconnlimit = most INTO door_role, door_password, is_open
    FROM insula.doors d LEFT JOIN pg_roles r ON r.rolname = d.role WHERE d.owner_no = of_owner;
    IF is_open AND NOT renew THEN
        PERFORM insula.settle_agent(door_role);
        RETURN;
    END IF;
    INSERT INTO insula.doors (owner_no, role, password)
    SELECT of_owner, format('insula_u_%s_%s', b.oid, of_owner), 'new' FROM pg_database b
    WHERE b.datname = current_database() ON CONFLICT DO NOTHING;
    SELECT d.role INTO door_role FROM insula.doors d WHERE d.owner_no = of_owner FOR UPDATE;
    -- Its owner was being forgotten when somebody was interrupted.
    IF EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = door_role AND NOT r.rolcanlogin) THEN
        PERFORM insula.remove_agent(of_owner);
        INSERT INTO insula.doors (owner_no, role, password) VALUES (of_owner, door_role, 'new');
    END IF;
    door_password := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
    PERFORM insula.make_agent(of_owner, door_role, door_password, most), insula.settle_agent(door_role);
    UPDATE insula.doors SET password = door_password WHERE owner_no = of_owner;
END $$;

-- Nobody logs in any more. The first half of forgetting: it has to be committed before the second begins.
CREATE FUNCTION insula.close_agent(of_owner bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    door_role text;
BEGIN
    PERFORM insula.require_entered(of_owner);
    SELECT d.role INTO door_role FROM insula.doors d JOIN pg_roles r ON r.rolname = d.role
    WHERE d.owner_no = of_owner FOR UPDATE OF d;
    IF FOUND THEN
        EXECUTE format('ALTER ROLE %I NOLOGIN', door_role);
    END IF;
END $$;

CREATE FUNCTION insula.forget_agent(of_owner bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM insula.require_entered(of_owner), insula.remove_agent(of_owner);
END $$;

-- Ends one session of an owner's agents, whatever it is doing.
CREATE FUNCTION insula.stop_agent(of_owner bigint, of_pid integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM insula.require_entered(of_owner);
    RETURN coalesce((SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a
        JOIN insula.doors d ON d.role = a.usename WHERE d.owner_no = of_owner AND a.pid = of_pid), true);
END $$;

-- How large the caller's own tables are, in bytes, those of the transaction under way included.
CREATE FUNCTION insula_agents.size() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM insula.doors d
    JOIN pg_namespace n ON n.nspname = 'u_' || d.owner_no JOIN pg_class c ON c.relnamespace = n.oid
    WHERE d.role = session_user::text AND c.relkind IN ('r', 'm')
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE (n.nspname = 'insula' AND (p.proname LIKE '%\_agent' OR p.proname = 'agent_door' OR p.proname LIKE 'require\_%'))
        OR n.nspname = 'insula_agents'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('ALTER FUNCTION %s OWNER TO insula_keeper', made);
    END LOOP;
END $$;
SET LOCAL ROLE insula_keeper;
GRANT EXECUTE ON FUNCTION insula.agent_door(bigint, integer, boolean), insula.close_agent(bigint),
    insula.forget_agent(bigint), insula.stop_agent(bigint, integer) TO insula_app;
GRANT EXECUTE ON FUNCTION insula_agents.size() TO insula_agent;
SET LOCAL ROLE insula_owner;
