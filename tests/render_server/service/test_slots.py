"""More slots for those whose tasks take no time."""

from render_server.service.slots import SlotCount


def after(service_s: float, answers: int = 100, *, processes: int = 2) -> int:
    slots = SlotCount(3 * processes, processes)
    for _ in range(answers):
        slots.observe(service_s)
    return slots.count


def test_slots_hold_16_ms_of_work_for_each_process() -> None:
    assert after(0.0001) == 64
    assert after(0.0006) == 32
    assert after(0.001) == 32
    assert after(0.003) == 8
    assert after(0.006) == 6
    assert after(10.0) == 6


def test_slots_stay_as_they_were_until_a_few_tasks_are_done() -> None:
    assert after(0.0001, 7) == 6
    assert after(0.0001, 8) == 64


def test_slots_shrink_with_the_first_long_tasks() -> None:
    slots = SlotCount(3, 1)
    for _ in range(100):
        slots.observe(0.0001)
    assert slots.count == 32
    slots.observe(0.1)
    assert slots.count == 3
