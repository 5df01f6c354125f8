"""The number of samples that a task asks for."""

from metasim.v1 import render_pb2 as pb

from render_server.limits import LimitExceeded, Limits


def check_total_samples(task: pb.RenderTask, limits: Limits) -> int:
    """Return the number of samples of all renders of a task.

    Raises:
        LimitExceeded: it exceeds `limits.total_samples`, counted as if every probe took the whole frame. Probes of a
            region take a small part of that.
    """
    settings, probes = task.settings, task.probes
    pixels = settings.width_px * settings.height_px
    renders = len(task.columns) * (1 if probes.difference == pb.DIFFERENCE_FORWARD else 2)
    renders += 2 * sum(column.audit for column in task.columns)
    samples = pixels * (settings.samples + renders * (probes.samples or settings.samples))
    if samples > limits.total_samples:
        raise LimitExceeded(
            "settings.samples",
            f"{settings.samples} ({samples:.3g} in total, of {1 + renders} renders of {pixels} pixels)",
            f"this worker takes at most {limits.total_samples:.3g} in total; ask for fewer columns, pixels or samples",
        )
    return samples
