-- The roles of a cluster, for whoever does not let `insula migrate` make them, and the passwords that two of them log in with:
--
--   INSULA_OWNER_PASSWORD=… INSULA_APP_PASSWORD=… psql --set ON_ERROR_STOP=1 --file deploy/cluster/roles.sql \
--     --file crates/insula-postgres/migrations/agents.sql postgres://postgres@HOST/DATABASE
--
-- As a superuser, in a database that Insula has for itself. It may be run again: then it sets the passwords. Afterwards
-- `insula migrate` logs in as insula_owner, and processes as insula_app. Neither goes past row-level security, and a process
-- refuses to start as a role that does. The second file closes to agents' statements what a Postgres leaves open to
-- everybody; without it agents have no tables of their own. Needs psql 15.

\getenv owner_password INSULA_OWNER_PASSWORD
\getenv app_password INSULA_APP_PASSWORD

-- insula_engine owns the functions that work across users, insula_keeper the schemas of agents, whose roles are members of
-- insula_agent. None of the three logs in.
SELECT format('CREATE ROLE %I', wanted) FROM unnest(ARRAY['insula_owner', 'insula_engine', 'insula_app', 'insula_keeper',
    'insula_agent']) AS wanted WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) \gexec

ALTER ROLE insula_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE insula_app LOGIN PASSWORD :'app_password';
ALTER ROLE insula_keeper CREATEROLE;

-- It has nothing of theirs itself: policies that let them through would let it through as well.
ALTER ROLE insula_owner NOINHERIT;
GRANT insula_engine, insula_keeper TO insula_owner;
GRANT insula_agent TO insula_keeper WITH ADMIN OPTION;
SELECT format('GRANT CREATE, CONNECT ON DATABASE %I TO insula_owner', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO insula_app', current_database()) \gexec
