-- pgheadroom, while a backend waits for a lock, every 5 s at most: who waits for whom, and what the
-- ones waited for are doing.
--
-- pg_blocking_pids takes the lock manager's locks for a moment, so it is asked about those that wait
-- and nobody else, and of a crowd about the 100 that have waited the longest. The function, not the
-- view, as in activity.sql. A pid of 0 is a prepared transaction, which is no backend. 13 to 18.
with act as materialized (
       select a.pid, a.datid, a.usesysid, a.application_name, a.client_addr, a.state, a.backend_type,
              a.xact_start, a.state_change, a.wait_event_type
         from pg_stat_get_activity(null) as a),
     waiting as materialized (
       select w.pid, pg_blocking_pids(w.pid) as blocked_by
         from (select pid from act where wait_event_type = 'Lock' order by state_change limit 100) as w),
     named as (
       select pid from waiting where blocked_by <> '{}'
        union
       select unnest(blocked_by) from waiting)
select n.pid,
       a.datid,
       a.usesysid,
       a.application_name,
       case when %(addresses)s then host(a.client_addr) end,
       case when a.backend_type = 'client backend' then a.state else a.backend_type end,
       date_part('epoch', clock_timestamp() - a.xact_start),
       date_part('epoch', clock_timestamp() - a.state_change),
       coalesce(w.blocked_by, '{}')
  from named as n
  left join act as a using (pid)
  left join waiting as w using (pid)
