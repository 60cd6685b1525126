-- Row-level security, the second wall: a transaction says at its beginning whose rows it is about, by number, and a statement
-- that forgets to say whose rows it means meets no others. A transaction that has said nothing meets none.
--
-- insula_owner owns the tables and migrates, and is behind the wall itself. insula_app is what processes log in as.
-- insula_engine owns the few functions that work across owners and logs in nowhere.

CREATE FUNCTION insula.entered() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT coalesce(nullif(current_setting('insula.owners', true), ''), '{}')::bigint[] $$;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['owners', 'lines', 'served', 'threads', 'runs', 'log', 'payloads', 'payload_uses',
        'questions', 'ahead', 'schedules', 'accounts', 'reservations', 'state', 'quota', 'keys', 'audit', 'plans',
        'webhooks', 'usage']
    LOOP
        EXECUTE format('ALTER TABLE insula.%I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE insula.%I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY entered ON insula.%I
            USING (owner_no = ANY ((SELECT insula.entered())::bigint[]))
            WITH CHECK (owner_no = ANY ((SELECT insula.entered())::bigint[]))', owned);
        EXECUTE format('CREATE POLICY engine ON insula.%I TO insula_engine USING (true) WITH CHECK (true)', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON insula.%I TO insula_app, insula_engine', owned);
    END LOOP;
END $$;

-- What is written once is written once.
REVOKE UPDATE, DELETE ON insula.audit FROM insula_app;
REVOKE INSERT, UPDATE, DELETE ON insula.owners FROM insula_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON insula.workers TO insula_app, insula_engine;
GRANT USAGE ON SCHEMA insula TO insula_app, insula_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA insula TO insula_app, insula_engine;

-- The numbers of owners, in the order in which they are asked for; NULL for one who has none.
CREATE FUNCTION insula.numbers_of(tenants text[], users text[]) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT array_agg(o.owner_no ORDER BY w.n)
    FROM unnest(tenants, users) WITH ORDINALITY AS w(tenant_id, user_id, n)
    LEFT JOIN insula.owners o ON o.tenant_id = w.tenant_id COLLATE "C" AND o.user_id = w.user_id COLLATE "C"
$$;

-- The same, and those who have none get one now.
CREATE FUNCTION insula.number_all(tenants text[], users text[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
BEGIN
    WITH made AS (
        INSERT INTO insula.owners (tenant_id, user_id)
        SELECT DISTINCT w.tenant_id COLLATE "C", w.user_id COLLATE "C"
        FROM unnest(tenants, users) AS w(tenant_id, user_id)
        ORDER BY 1, 2
        ON CONFLICT DO NOTHING
        RETURNING owner_no)
    INSERT INTO insula.lines (owner_no) SELECT owner_no FROM made ON CONFLICT DO NOTHING;
    RETURN insula.numbers_of(tenants, users);
END $$;

-- Handing out runs: whose time has come, owners in turn. One claim at a time in the whole installation, so that no two of
-- them count the same places of an owner; its commit does not wait for the disk, so the next one does not either.
CREATE FUNCTION insula.claim(
    by text, at bigint, until bigint, most integer, per_owner bigint, last_owner bigint, last_served integer,
    OUT claimed_owners bigint[], OUT claimed_runs bigint[], OUT turn_owner bigint, OUT turn_served integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
DECLARE
    after_owner bigint := last_owner - 1;
    is_around boolean := false;
    found_owner bigint;
    found_run bigint;
    found_in_turn boolean;
    found_token bigint;
    found_weight integer;
    held_places jsonb := '{}';
    held bigint;
    first_owners bigint[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(7310593858020254331);
    claimed_owners := '{}';
    claimed_runs := '{}';
    turn_owner := last_owner;
    turn_served := last_served;

    UPDATE insula.runs r SET place = 1 FROM (
        SELECT owner_no, run_no FROM insula.runs WHERE place = 2 AND due_at <= at
        ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED) due
    WHERE r.owner_no = due.owner_no AND r.run_no = due.run_no;

    UPDATE insula.runs r SET place = 1, due_at = at, worker = NULL, lease_until = NULL FROM (
        SELECT h.owner_no, h.run_no FROM insula.runs h WHERE h.place = 3 AND h.lease_until <= at
        AND NOT EXISTS (SELECT 1 FROM insula.workers w WHERE w.worker = h.worker AND w.lease_until > at)
        LIMIT 1000 FOR UPDATE OF h SKIP LOCKED) lost
    WHERE r.owner_no = lost.owner_no AND r.run_no = lost.run_no;

    WHILE cardinality(claimed_runs) < most LOOP
        SELECT r.owner_no, r.run_no, r.in_turn, r.token INTO found_owner, found_run, found_in_turn, found_token
        FROM insula.runs r WHERE r.place = 1 AND r.owner_no > after_owner
        ORDER BY r.owner_no, r.priority DESC, r.due_at, r.run_no LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF NOT FOUND OR (is_around AND found_owner > last_owner) THEN
            EXIT WHEN is_around OR FOUND;
            after_owner := 0;
            is_around := true;
            CONTINUE;
        END IF;
        after_owner := found_owner;
        SELECT weight INTO found_weight FROM insula.lines WHERE owner_no = found_owner;
        -- The last owner's turn is over, unless there is nobody else.
        CONTINUE WHEN found_owner = last_owner AND NOT is_around AND last_served >= coalesce(found_weight, 1);
        held := (held_places ->> found_owner::text)::bigint;
        IF held IS NULL THEN
            SELECT count(*) INTO held FROM (SELECT 1 FROM insula.runs
                WHERE owner_no = found_owner AND in_turn AND place = 3 LIMIT per_owner) AS taken;
        END IF;
        IF held >= per_owner THEN
            held_places := held_places || jsonb_build_object(found_owner::text, held);
            CONTINUE;
        END IF;
        held_places := held_places || jsonb_build_object(found_owner::text, held + found_in_turn::integer);
        UPDATE insula.runs SET place = 3, due_at = NULL, token = token + 1, worker = by, lease_until = until
        WHERE owner_no = found_owner AND run_no = found_run;
        IF found_token = 0 AND found_in_turn THEN
            first_owners := first_owners || found_owner;
        END IF;
        claimed_owners := claimed_owners || found_owner;
        claimed_runs := claimed_runs || found_run;
        turn_served := CASE WHEN found_owner = last_owner AND NOT is_around THEN last_served + 1 ELSE 1 END;
        turn_owner := found_owner;
        last_owner := turn_owner;
        last_served := turn_served;
        after_owner := last_owner - 1;
        is_around := false;
    END LOOP;

    INSERT INTO insula.served AS s (owner_no, claimed)
    SELECT owner_no, count(*) FROM unnest(first_owners) AS f(owner_no) GROUP BY owner_no ORDER BY owner_no
    ON CONFLICT (owner_no) DO UPDATE SET claimed = s.claimed + excluded.claimed;
END $$;

-- The names of owners, for those who are handed their runs.
CREATE FUNCTION insula.names_of(numbers bigint[]) RETURNS TABLE (owner_no bigint, tenant_id text, user_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$ SELECT o.owner_no, o.tenant_id, o.user_id FROM insula.owners o WHERE o.owner_no = ANY (numbers) $$;

-- Of whose runs a worker has news.
CREATE FUNCTION insula.owners_with_news(of_worker text) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT r.owner_no), '{}') FROM insula.runs r
    WHERE r.place = 3 AND (r.cancel_by IS NOT NULL OR r.answered > 0) AND r.worker = of_worker
$$;

CREATE FUNCTION insula.owners_with_due_schedules(at bigint, most bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT d.owner_no), '{}') FROM
        (SELECT s.owner_no FROM insula.schedules s WHERE s.next_at <= at ORDER BY s.next_at LIMIT most) d
$$;

CREATE FUNCTION insula.owners_with_due_calls(at bigint, most bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT d.owner_no), '{}') FROM
        (SELECT w.owner_no FROM insula.webhooks w WHERE w.state = 'due' AND w.next_at <= at
         ORDER BY w.next_at LIMIT most) d
$$;

-- Whose key it is.
CREATE FUNCTION insula.owner_of_key(of_key text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$ SELECT k.owner_no FROM insula.keys k WHERE k.key_id = of_key COLLATE "C" $$;

-- Whose keys stand below a number, as many as fill a page.
CREATE FUNCTION insula.owners_with_keys(below bigint, most bigint) RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT coalesce(array_agg(DISTINCT k.owner_no), '{}') FROM
        (SELECT owner_no FROM insula.keys WHERE key_no < below ORDER BY key_no DESC LIMIT most) k
$$;

CREATE FUNCTION insula.owners_with_plans() RETURNS bigint[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$ SELECT coalesce(array_agg(p.owner_no), '{}') FROM insula.plans p $$;

-- Whose audit logs there are, sorted, those behind a name.
CREATE FUNCTION insula.audited(after_tenant text, after_user text, most bigint)
RETURNS TABLE (tenant_id text, user_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT o.tenant_id, o.user_id FROM insula.owners o
    WHERE (o.tenant_id, o.user_id) > (after_tenant COLLATE "C", after_user COLLATE "C")
    AND EXISTS (SELECT 1 FROM insula.audit a WHERE a.owner_no = o.owner_no)
    ORDER BY o.tenant_id, o.user_id LIMIT most
$$;

-- How much there is of what, of all users together.
CREATE FUNCTION insula.counts(
    at bigint, OUT open bigint, OUT users bigint, OUT ready bigint, OUT ready_since bigint, OUT held bigint,
    OUT asleep bigint, OUT due bigint, OUT first_due bigint, OUT waiting bigint, OUT calls_due bigint, OUT calls_dead bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT (SELECT count(*) FROM insula.runs WHERE place IS NOT NULL),
        (SELECT count(DISTINCT owner_no) FROM insula.runs WHERE place IS NOT NULL),
        (SELECT count(*) FROM insula.runs WHERE place = 1),
        (SELECT min(due_at) FROM insula.runs WHERE place = 1),
        (SELECT count(*) FROM insula.runs WHERE place = 3),
        s.*,
        (SELECT count(*) FROM insula.webhooks WHERE state = 'due'),
        (SELECT count(*) FROM insula.webhooks WHERE state = 'dead')
    FROM (SELECT count(*), count(*) FILTER (WHERE due_at <= at), min(due_at),
            count(*) FILTER (WHERE status = 'waiting' AND (due_at IS NULL OR due_at > at))
        FROM insula.runs WHERE place = 2) s
$$;

CREATE FUNCTION insula.nodes(at bigint) RETURNS TABLE (worker text, runs bigint, lease_until bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT n.worker, sum(n.runs)::bigint, max(n.lease_until) FROM
        (SELECT r.worker, 1 AS runs, r.lease_until FROM insula.runs r WHERE r.place = 3
         UNION ALL SELECT w.worker, 0, w.lease_until FROM insula.workers w) n
    GROUP BY n.worker HAVING sum(n.runs) > 0 OR max(n.lease_until) > at ORDER BY n.worker
$$;

-- Some threads that are over since before a time: without open runs, without younger ends, without forks.
CREATE FUNCTION insula.threads_over(before bigint, most bigint) RETURNS TABLE (owner_no bigint, thread_no bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = insula, pg_temp
AS $$
    SELECT t.owner_no, t.thread_no FROM insula.threads t WHERE t.created_at < before
    AND NOT EXISTS (SELECT 1 FROM insula.runs r WHERE r.thread_no = t.thread_no
        AND (r.place IS NOT NULL OR r.ended_at >= before))
    AND NOT EXISTS (SELECT 1 FROM insula.threads f WHERE f.base_no = t.thread_no AND f.base_no <> 0)
    LIMIT most
$$;

DO $$
DECLARE
    made regprocedure;
BEGIN
    FOR made IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'insula'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO insula_app, insula_engine', made);
    END LOOP;
    FOR made IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'insula' AND p.prosecdef
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO insula_engine', made);
    END LOOP;
END $$;

-- The channel of news between processes. Its name is told to nobody else.
CREATE TABLE insula.channel (name text NOT NULL);
INSERT INTO insula.channel SELECT 'insula_' || replace(gen_random_uuid()::text, '-', '');
GRANT SELECT ON insula.channel TO insula_app;
