"""How things stand: status, health, workers, connections, and the place where metrics are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from tlsproxy.control.documents import ConnectionsDocument, HealthDocument, StatusDocument, WorkersDocument
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.observe.processes import started_at
from tlsproxy.observe.status import WorkerStatus

__all__ = ["OPERATIONS"]


async def _status(ask: Ask) -> Response:
    return JSONResponse(ask.backing.telling.status())


async def _health(ask: Ask) -> Response:
    health = ask.backing.telling.health()
    return JSONResponse(health.to_json(), status_code=200 if health.ready else 503)


async def _live(_ask: Ask) -> Response:
    return JSONResponse({"live": True})


async def _metrics(ask: Ask) -> Response:
    page, kind = await ask.backing.telling.metrics(ask.connection.headers.get("accept", ""))
    return Response(page, headers={"content-type": kind})


async def _workers(ask: Ask) -> Response:
    return JSONResponse({"workers": [_shown(one) for one in ask.backing.telling.worker_statuses()]})


async def _connections(ask: Ask) -> Response:
    workers = ask.backing.telling.worker_statuses()
    by_generation: Counter[int] = Counter()
    for worker in workers:
        by_generation.update(dict(worker.generations))
    # a worker's two figures are of the same moment; what is in no generation is still in its handshake
    total = sum(worker.connections for worker in workers)
    return JSONResponse(
        {
            "open": total,
            "greeting": max(total - by_generation.total(), 0),
            "generations": _by_generation(by_generation),
        }
    )


def _by_generation(counts: Mapping[int, int]) -> list[dict[str, int]]:
    return [{"generation": number, "connections": counts[number]} for number in sorted(counts, reverse=True)]


def _shown(worker: WorkerStatus) -> dict[str, object]:
    return {
        "pid": worker.pid,
        "seat": worker.seat,
        "epoch": worker.epoch,
        "stage": worker.stage,
        "generation": worker.generation,
        "connections": worker.connections,
        "generations": _by_generation(dict(worker.generations)),
        "since": since.isoformat() if (since := started_at(worker.pid)) is not None else None,
    }


_HEALTH = (
    Answer("Some certificate is served for every name, and a worker accepts.", HealthDocument),
    Answer("Clients are not served now.", HealthDocument, status=503),
)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/status",
        "getStatus",
        "Tell the whole state: what is served, to whom, until when, by which workers.",
        _status,
        (Answer("The status.", StatusDocument),),
    ),
    Operation(
        "GET",
        "/v1/health",
        "getHealth",
        "Say how the proxy is: ready or not, on which rung of the ladder, and what isn't as it should be.",
        _health,
        _HEALTH,
    ),
    Operation("GET", "/v1/health/ready", "getReady", "The same as /v1/health, for probes.", _health, _HEALTH),
    Operation(
        "GET",
        "/v1/health/live",
        "getLive",
        "Say that the supervisor's event loop turns, whatever else is wrong.",
        _live,
        (Answer("It does.", dict[str, bool]),),
    ),
    Operation(
        "GET",
        "/v1/metrics",
        "getMetrics",
        "Give all metrics, for Prometheus (docs/metrics.md).",
        _metrics,
        (
            Answer("Prometheus' text format.", media="text/plain"),
            Answer("OpenMetrics, where it is asked for.", media="application/openmetrics-text"),
        ),
    ),
    Operation(
        "GET",
        "/v1/workers",
        "listWorkers",
        "List the worker processes, those that only finish what is open too.",
        _workers,
        (Answer("The workers.", WorkersDocument),),
    ),
    Operation(
        "GET",
        "/v1/connections",
        "countConnections",
        "Count open connections by the generation that they were made with.",
        _connections,
        (Answer("The counts, as of each worker's last heartbeat.", ConnectionsDocument),),
    ),
)
