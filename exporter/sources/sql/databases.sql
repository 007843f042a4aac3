-- pgheadroom, every 60 s: the names and connection limits of databases; below 0 is no limit
-- (-2 marks a half-dropped database since 15.4). 13 to 18.
select oid, datname, datconnlimit from pg_catalog.pg_database
