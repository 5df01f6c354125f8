"""Metrics of a worker for Prometheus."""

from collections.abc import Callable, Iterator

from metasim.v1 import render_pb2 as pb
from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from render_server.counters import STAGES, Counters
from render_server.processes.memory import resident_bytes
from render_server.processes.process_pool import ProcessPool
from render_server.service.service import RenderService

# From the duration of a digit to that of a street, in seconds.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_HELP = {
    "queue": "Time that tasks waited for a process.",
    "build": "Time to build the scenes of tasks.",
    "render": "Time to render the images of tasks.",
    "encode": "Time to encode the answers to tasks.",
    "send": "Time until a message of replies was handed to the network.",
}


class Metrics(Collector):
    """Reads counters and gauges when it is scraped, and keeps histograms of the stages of tasks.

    Args:
        pool: the processes.
        service: the streams.
        pid: of the front.
    """

    def __init__(self, pool: ProcessPool, service: RenderService, pid: int) -> None:
        self.registry = CollectorRegistry()
        self._pool = pool
        self._service = service
        self._pid = pid
        histograms = {
            stage: Histogram(f"metasim_task_{stage}_seconds", _HELP[stage], buckets=_BUCKETS, registry=self.registry)
            for stage in STAGES
        }
        self.registry.register(self)
        observers: dict[str, Callable[[float], None]] = {name: each.observe for name, each in histograms.items()}
        pool.counters.observe = lambda stage, seconds: observers[stage](seconds)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; see `Collector`."""
        pool, service, counters = self._pool, self._service, self._pool.counters
        yield _gauge("metasim_slots", "Tasks that each client may have unanswered at first.", service.slots)
        yield _gauge("metasim_clients", "Streams that are open.", service.clients)
        yield _gauge("metasim_queue_length", "Tasks that were accepted and have not begun.", service.queued)
        yield _gauge("metasim_held_bytes", "Size of unanswered tasks and unsent answers.", service.held_bytes)
        yield _gauge("metasim_processes", "Configured number of engine processes.", pool.count)
        yield _gauge("metasim_processes_busy", "Engine processes that are rendering.", pool.busy)
        memory = GaugeMetricFamily("metasim_memory_bytes", "Resident set of each process.", labels=("process",))
        memory.add_metric(("front",), resident_bytes(self._pid))
        for number, held in enumerate(pool.resident_bytes.values()):
            memory.add_metric((str(number),), held)
        yield memory
        yield _device(pool.description)
        yield from _counts(counters)


def _device(description: pb.DescribeResponse) -> Metric:
    labels = ("engine", "engine_version", "device", "device_name")
    family = GaugeMetricFamily("metasim_device_info", "Engine and device that render; always 1.", labels=labels)
    family.add_metric(tuple(getattr(description, label) for label in labels), 1)
    return family


def _counts(counters: Counters) -> Iterator[Metric]:
    tasks = CounterMetricFamily("metasim_tasks", "Tasks by outcome.", labels=("outcome",))
    tasks.add_metric(("done",), counters.tasks_done)
    for name, code in pb.Code.items():
        if code != pb.CODE_UNSPECIFIED:
            tasks.add_metric((name.removeprefix("CODE_").lower(),), counters.errors[code])
    yield tasks
    yield CounterMetricFamily("metasim_renders", "Images rendered, probes included.", value=counters.renders)
    yield _by_reason(
        "metasim_restarts", "Processes replaced because they crashed, hung or exceeded a limit.", counters.restarts
    )
    yield _by_reason("metasim_recycles", "Processes replaced between tasks.", counters.recycles)
    yield _by_reason("metasim_refused_calls", "Calls refused before they began.", counters.refused_calls)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _by_reason(name: str, text: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=("reason",))
    for reason, count in sorted(counts.items()):
        family.add_metric((reason,), count)
    return family


def serve_metrics(metrics: Metrics, host: str, port: int) -> Callable[[], None]:
    """Serve metrics over HTTP from a thread of its own.

    Returns:
        A function that ends the thread.

    Raises:
        OSError: the port is taken.
    """
    server, thread = start_http_server(port, host, metrics.registry)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
