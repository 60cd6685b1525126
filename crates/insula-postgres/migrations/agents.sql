-- What every role of a Postgres may do unless somebody takes it away, and agents must not: read the catalogues, which hold
-- the names and definitions of everybody's tables; take locks that the whole database knows by number; write large objects,
-- which belong to no schema; make temporary tables. It belongs to the database and not to its schema, so it is done again
-- for a copy, and only a superuser can do it. Without it no agent is let in (insula.require_agents_walls).
DO $$
DECLARE
    found record;
    platform CONSTANT text := 'insula_app, insula_owner, insula_engine, insula_keeper, pg_monitor';
BEGIN
    IF NOT (SELECT pg_has_role(current_user, datdba, 'MEMBER') FROM pg_database WHERE datname = current_database()) THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO insula_keeper', current_database());
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO insula_app, insula_owner, insula_agent, pg_monitor', current_database());
    IF to_regnamespace('public') IS NOT NULL THEN
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE NOTICE 'agents'' own tables stay closed until a superuser has run `insula migrate`';
        RETURN;
    END IF;

    -- Views of information_schema show what their reader owns or was granted; these are left to agents.
    FOR found IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'v') AND (n.nspname = 'pg_catalog' OR n.nspname = 'information_schema' AND c.relname NOT IN
            ('tables', 'columns', 'table_constraints', 'key_column_usage', 'sequences', 'schemata'))
        AND has_any_column_privilege('public', c.oid, 'SELECT')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO %s', found.name, platform);
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', found.name);
    END LOOP;

    -- Locks, large objects, notifications, definitions by number, sizes and counts by number, the server's activity.
    FOR found IN SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
        AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
        AND (p.proname ~ '^(lo_|pg_advisory_|pg_try_advisory_|pg_stat_|pg_get_|pg_describe_|pg_identify_|pg_xact_|pg_mcv_|pg_logical_emit)'
            OR p.proname IN ('loread', 'lowrite', 'pg_notify', 'pg_lock_status', 'pg_prepared_xact', 'pg_relation_size',
                'pg_table_size', 'pg_indexes_size', 'pg_total_relation_size', 'pg_database_size', 'pg_tablespace_size',
                'pg_tablespace_databases', 'pg_relation_filenode', 'pg_relation_filepath', 'pg_filenode_relation',
                'pg_blocking_pids', 'pg_safe_snapshot_blocking_pids', 'pg_isolation_test_session_is_blocked',
                'pg_partition_tree', 'pg_partition_ancestors', 'pg_partition_root', 'pg_notification_queue_usage',
                'pg_export_snapshot', 'database_to_xml', 'schema_to_xml', 'pg_cancel_backend', 'pg_terminate_backend',
                'pg_show_all_file_settings', 'pg_hba_file_rules', 'pg_event_trigger_ddl_commands'))
        AND p.proname NOT IN ('pg_get_expr', 'pg_get_serial_sequence', 'pg_get_keywords', 'pg_get_userbyid')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', found.name, platform);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', found.name);
    END LOOP;
END $$;

-- A parameter belongs to the server, so another database's installation may have granted it, or may be at it now.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000
        AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT has_parameter_privilege('insula_keeper', 'temp_file_limit', 'SET')
    THEN
        EXECUTE 'GRANT SET ON PARAMETER temp_file_limit TO insula_keeper';
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'temporary files of agents stay unlimited: %', SQLERRM;
END $$;
