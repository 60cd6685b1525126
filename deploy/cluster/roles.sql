-- The roles of a cluster, for whoever does not let `insula migrate` make them, and the passwords that two of them log in with:
--
--   INSULA_OWNER_PASSWORD=… INSULA_APP_PASSWORD=… psql --set ON_ERROR_STOP=1 --file roles.sql postgres://postgres@HOST/DATABASE
--
-- As a superuser, or as a role that may make roles, in the database that Insula gets. It may be run again: then it sets the
-- passwords. Nobody but `insula migrate` logs in as insula_owner, and processes log in as insula_app. Neither goes past
-- row-level security, and a process refuses to start as a role that does. Needs psql 15.

\getenv owner_password INSULA_OWNER_PASSWORD
\getenv app_password INSULA_APP_PASSWORD

-- Owns the functions that work across users, and logs in nowhere.
SELECT 'CREATE ROLE insula_engine' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'insula_engine') \gexec
SELECT 'CREATE ROLE insula_owner' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'insula_owner') \gexec
SELECT 'CREATE ROLE insula_app' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'insula_app') \gexec

ALTER ROLE insula_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE insula_app LOGIN PASSWORD :'app_password';

GRANT insula_engine TO insula_owner;
SELECT format('GRANT CREATE, CONNECT ON DATABASE %I TO insula_owner', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO insula_app', current_database()) \gexec
