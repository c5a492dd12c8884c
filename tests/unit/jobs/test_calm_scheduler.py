"""How often Snakemake's scheduler looks for jobs to start."""

import threading
import time
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from adamolmo.jobs import calm_scheduler

SOON_S = 0.05


@pytest.fixture
def calm(monkeypatch):
    """Undone afterwards."""
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", JobScheduler._schedule_reevalutation)
    calm_scheduler.calm_scheduler()


class Looks:
    """Counts how often a scheduler is woken up."""

    def __init__(self):
        self.count, self.woken = 0, threading.Event()

    def release(self):
        self.count += 1
        self.woken.set()


def ordered(looks: Looks, times: int, scheduler: SimpleNamespace) -> int:
    """So many looks are asked for at once: how many there are."""
    before = looks.count
    looks.woken.clear()
    for _ in range(times):
        JobScheduler._schedule_reevalutation(scheduler, SOON_S)
    assert looks.woken.wait(timeout=30)
    time.sleep(2 * SOON_S)
    return looks.count - before


def test_looks_that_are_ordered_together_are_one(calm):
    looks = Looks()
    scheduler = SimpleNamespace(_open_jobs=looks)
    assert ordered(looks, 40, scheduler) == 1
    assert ordered(looks, 1, scheduler) == 1  # it goes on


def test_snakemake_itself_looks_as_often_as_it_is_asked():
    """When this fails, a new Snakemake no longer needs `calm_scheduler`."""
    looks = Looks()
    assert ordered(looks, 40, SimpleNamespace(_open_jobs=looks)) > 1
