-- pgheadroom, every 60 s: the names and connection limits of roles; below 0 is no limit, and
-- superusers are exempt from theirs; last the limit as it is written. pg_roles, because pg_authid is closed to ordinary roles. 13 to 18.
select oid, rolname, case when rolsuper then -1 else rolconnlimit end, rolconnlimit from pg_catalog.pg_roles
