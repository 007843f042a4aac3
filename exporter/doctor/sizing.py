"""How many connections a deployment asks for, and how large its pools may be; pure arithmetic.

Every figure carries its formula with the numbers filled in, and the page that the formula is from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporter.alerting.notification import Severity
from exporter.doctor.advice import PGBOUNCER, POSTGRES, Advice
from exporter.snapshot.slots import Limits

#: Above this share of the usable slots nothing is left for a deployment that overlaps the last.
TIGHT_RATIO = 0.85
#: What one backend takes of memory, in MB: its own catalog caches and work space, without work_mem
#: (CHAP_Limits of RDS reckons with 9.1 MB: DBInstanceClassMemory ÷ 9531392).
BACKEND_MB = (5, 15)

RESERVED_PAGE = f"{POSTGRES}runtime-config-connection.html#GUC-SUPERUSER-RESERVED-CONNECTIONS"
_MAX_PAGE = f"{POSTGRES}runtime-config-connection.html#GUC-MAX-CONNECTIONS"
_POOL_SIZE_PAGE = f"{PGBOUNCER}#default_pool_size"
_CORES_PAGE = "https://wiki.postgresql.org/wiki/Number_Of_Database_Connections"
_PRISMA_PAGE = (
    "https://www.prisma.io/docs/orm/v6/prisma-client/setup-and-configuration/databases-connections"
)
_LITTLE_PAGE = "https://en.wikipedia.org/wiki/Little%27s_law"
_MEMORY_PAGE = (
    "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html"
    "#RDS_Limits.MaxConnections"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be deployed.

    Args:
        instances: of the application that run at once, function instances among them.
        pool_size: connections that each of them may open.
        replicas: pooler processes in front of the server; 0 for none.
        hold_ms: how long a transaction holds its connection, in milliseconds.
        buffer: connections of each instance's share that are left free.
        cores: of the database server.
        spindles: disks of the database server that seek; 0 where its data is cached.
        cpus: of one instance.
    """

    instances: int
    pool_size: int
    replicas: int = 0
    hold_ms: float | None = None
    buffer: int = 1
    cores: int | None = None
    spindles: int = 0
    cpus: int = 2

    @property
    def connections(self) -> int:
        """All connections that the instances may open together."""
        return self.instances * self.pool_size

    def behind(self, poolers: int) -> Workload:
        """The same behind `poolers` pooler processes, where it says no number itself."""
        return self if self.replicas else replace(self, replicas=poolers)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, how it is made, and where the formula is from."""

    name: str
    value: float
    unit: str
    formula: str
    source: str


def figures(limits: Limits, work: Workload) -> tuple[Figure, ...]:
    """Every figure for `work` in front of a server with `limits`.

    >>> found = figures(Limits(100, 3), Workload(instances=20, pool_size=5))
    >>> [figure.formula for figure in found][:2]
    ['20 instances × 5 = 100 of 97 usable slots', '⌊97 usable ÷ 20 instances⌋ − 1 = 3']
    """
    made = [
        _demand(limits, work),
        _share("pool_size", limits.usable, "usable", work),
        _share("pool_size_textbook", limits.max_connections, "max_connections", work),
        _default_pool_size(limits, work),
        _cores(work),
        *_throughput(limits, work),
        *_memory(limits, work),
        _prisma(work),
    ]
    return tuple(figure for figure in made if figure is not None)


def sizing_advice(limits: Limits, work: Workload) -> tuple[Advice, ...]:
    """What is wrong with `work` in front of a server with `limits`, the worst first."""
    asked, usable = work.connections, limits.usable
    if work.replicas or asked <= TIGHT_RATIO * usable:
        return ()
    fits = _fitting(usable, work)
    remedy = (
        f"give each instance a pool of {fits}"
        if fits
        else f"no pool fits {work.instances} instances: put a pooler in front, or allow fewer"
    )
    too_many = asked > usable
    found = f"{_product(work)} = {asked} connections, for {usable} usable slots"
    return (
        Advice(
            "instances_oversubscribed" if too_many else "instances_tight",
            Severity.CRITICAL if too_many else Severity.WARNING,
            found + ("" if too_many else f": more than {TIGHT_RATIO:.0%}, and deployments overlap"),
            remedy,
            RESERVED_PAGE,
        ),
    )


def _fitting(usable: int, work: Workload) -> int:
    """The largest pool that leaves the buffer, and what a deployment's overlap needs; 0: none."""
    return max(
        0, min(usable // work.instances - work.buffer, int(TIGHT_RATIO * usable) // work.instances)
    )


def client_advice(work: Workload, max_client_conn: int | None) -> Advice | None:
    """Whether the poolers let all clients of `work` in.

    Args:
        work: with `replicas`.
        max_client_conn: of all poolers together, None where it is not known.
    """
    if not work.replicas or not max_client_conn or work.connections <= max_client_conn:
        return None
    each = -(-work.connections // work.replicas)
    return Advice(
        "too_many_clients",
        Severity.CRITICAL,
        f"{_product(work)} = {work.connections} clients, for max_client_conn {max_client_conn} of"
        f" {_poolers(work.replicas)} together",
        f"max_client_conn = {each} or more in each pooler",
        f"{PGBOUNCER}#max_client_conn",
    )


def _product(work: Workload) -> str:
    return f"{work.instances} instances × {work.pool_size}"


def _poolers(number: int) -> str:
    """In words.

    >>> _poolers(1), _poolers(3)
    ('1 pooler process', '3 pooler processes')
    """
    return f"{number} pooler process{'es' if number != 1 else ''}"


def _demand(limits: Limits, work: Workload) -> Figure:
    where = f"to {_poolers(work.replicas)}" if work.replicas else f"of {limits.usable} usable slots"
    formula = f"{_product(work)} = {work.connections} {where}"
    return Figure("connections", work.connections, "connections", formula, RESERVED_PAGE)


def _share(name: str, slots: int, word: str, work: Workload) -> Figure:
    """A pool for each instance, so that all of them fit; below 1 nothing does."""
    size = slots // work.instances - work.buffer
    formula = f"⌊{slots} {word} ÷ {work.instances} instances⌋ − {work.buffer} = {size}"
    if size < 1:
        formula += ": none fits without a pooler"
    return Figure(name, size, "connections", formula, _MAX_PAGE)


def _default_pool_size(limits: Limits, work: Workload) -> Figure:
    poolers = max(1, work.replicas)
    size = (limits.max_connections - limits.reserved) // poolers
    formula = (
        f"({limits.max_connections} max_connections − {limits.reserved} reserved)"
        f" ÷ {_poolers(poolers)} = {size},"
        " shared by all its pools"
    )
    return Figure("default_pool_size", size, "connections", formula, _POOL_SIZE_PAGE)


def _cores(work: Workload) -> Figure | None:
    """What keeps the processors and disks busy; more connections only queue there."""
    if work.cores is None:
        return None
    size = work.cores * 2 + work.spindles
    formula = f"{work.cores} cores × 2 + {work.spindles} spindles = {size} busy at once"
    return Figure("busy_connections", size, "connections", formula, _CORES_PAGE)


def _throughput(limits: Limits, work: Workload) -> list[Figure]:
    """Transactions a second: what is held over how long it is held (Little's law)."""
    if work.hold_ms is None:
        return []
    hold = work.hold_ms
    pool = min(work.connections, limits.usable)
    one, everything = work.pool_size * 1000 / hold, pool * 1000 / hold
    return [
        Figure(
            "throughput_of_an_instance",
            one,
            "transactions/s",
            f"{work.pool_size} connections ÷ {hold:g} ms = {one:,.0f} transactions/s",
            _LITTLE_PAGE,
        ),
        Figure(
            "throughput",
            everything,
            "transactions/s",
            f"{pool} connections ÷ {hold:g} ms = {everything:,.0f} transactions/s at most",
            _LITTLE_PAGE,
        ),
    ]


def _memory(limits: Limits, work: Workload) -> list[Figure]:
    """Of all backends that may be there at once, before work_mem."""
    backends = min(work.connections, limits.max_connections)
    made = []
    for name, each in zip(("memory_least", "memory_most"), BACKEND_MB, strict=True):
        formula = f"{backends} backends × {each} MB = {backends * each:,} MB"
        made.append(Figure(name, backends * each, "MB", formula, _MEMORY_PAGE))
    return made


def _prisma(work: Workload) -> Figure:
    """What an instance opens where nobody says otherwise; from 7 on the driver's own default."""
    each = 2 * work.cpus + 1
    asked = each * work.instances
    formula = (
        f"2 × {work.cpus} CPUs + 1 = {each} each, {asked} for {work.instances} instances"
        " (up to Prisma 6; from 7 the driver's: 10 for pg)"
    )
    return Figure("prisma_default", each, "connections", formula, _PRISMA_PAGE)
