-- Who may do what with the books of execd, on PostgreSQL 14 or newer. Can be run any number of times.
--
--   execd_owner    owns the tables and changes their shape: `execd db upgrade`, and nothing else
--   execd          the daemon: adds to the journal and cannot change it; keeps the tables that are drawn from it
--   execd_reader   reads: reports, questions, backups of the tables
--
-- The database belongs to execd alone. As a superuser of the server:
--
--   createdb execd
--   psql -d execd -f deploy/postgres/roles.sql
--   psql -d execd -c '\password execd_owner' -c '\password execd' -c '\password execd_reader'
--
-- As execd_owner `execd db upgrade` makes the tables. Then, and after each later upgrade, once more:
--
--   psql -d execd -f deploy/postgres/roles.sql
--
-- because rights to single tables can only be given where there are tables. Until then the daemon may read them and add
-- rows, and refuses to start where it needs more. No password is in this file or ever printed by it.

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
BEGIN;

-- Roles ---------------------------------------------------------------------------------------------------------------

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['execd_owner', 'execd', 'execd_reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE execd_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE execd NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE execd_reader NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- The database and its schema: nobody else comes in, only the owner makes anything ---------------------------------------

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC, execd_owner, execd, execd_reader;
GRANT CONNECT ON DATABASE :"DBNAME" TO execd_owner, execd, execd_reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC, execd_owner, execd, execd_reader;
GRANT USAGE, CREATE ON SCHEMA public TO execd_owner;
GRANT USAGE ON SCHEMA public TO execd, execd_reader;

-- Tables of later revisions: they are read, and rows are added; to change rows is granted below, table by table ---------

ALTER DEFAULT PRIVILEGES FOR ROLE execd_owner IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO execd;
ALTER DEFAULT PRIVILEGES FOR ROLE execd_owner IN SCHEMA public GRANT SELECT ON TABLES TO execd_reader;

-- Tables that are there: exactly this, whatever was granted before ------------------------------------------------------

SELECT format('ALTER TABLE public.%I OWNER TO execd_owner', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'execd_owner'
\gexec

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, execd, execd_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO execd, execd_reader;

SELECT format('GRANT INSERT ON public.%I TO execd', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
\gexec

-- Rows that take a newer state. The journal is not among them, and must never be.
SELECT format('GRANT UPDATE ON public.%I TO execd', tablename)
FROM pg_tables
WHERE schemaname = 'public'
  AND tablename IN ('signals', 'parents', 'orders', 'executions', 'positions', 'cost_reports', 'stops', 'meta')
\gexec

-- Old snapshots are forgotten.
SELECT format('GRANT DELETE ON public.%I TO execd', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tablename = 'snapshots'
\gexec

COMMIT;
