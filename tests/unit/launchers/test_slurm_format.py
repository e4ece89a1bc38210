"""Slurm's command lines and the meaning of their output, as of Slurm 22.05."""

import errno
import shlex
import subprocess

import pytest

from supervisor.launchers.agents import slurm_format
from supervisor.launchers.agents.protocol import Place
from supervisor.launchers.agents.slurm_agent import AwayError, call
from supervisor.launchers.agents.slurm_format import Job, Refusal

KEY = "2025-10-31T22-56-34-431Z-9574035c.2"


def order(run_dir: str = "/s/r", **resources: float) -> Place:
    return Place(key=KEY, run_dir=run_dir, attempt=2, resources=resources)


def test_attempt_is_one_job_named_by_its_key_without_requeue() -> None:
    argv = slurm_format.submit(order(slot=1), [])
    assert argv[0] == "sbatch"
    assert f"--job-name={KEY}" in argv
    assert {"--parsable", "--no-requeue", "--export=NONE", "--ntasks=1"} <= {*argv}
    assert not [word for word in argv if "slot" in word or "gres" in word]


def test_resources_become_slurms_options() -> None:
    argv = slurm_format.submit(order(slot=1, cpus=1.5, memory_mb=2048, gpu=2, licence=1), [])
    assert {"--cpus-per-task=2", "--mem=2048M", "--gres=gpu:2,licence:1"} <= {*argv}


def test_operators_options_come_last_and_override_ours() -> None:
    argv = slurm_format.submit(order(), ["--partition=long", "--export=ALL"])
    assert argv[-2:] == ["--partition=long", "--export=ALL"]


def test_percent_sign_in_the_path_is_kept() -> None:
    assert "--output=/a%%j/slurm.2.log" in slurm_format.submit(order("/a%j"), [])


def test_batch_script_execs_the_worker() -> None:
    text = slurm_format.script(order("/it's $HOME"), "/opt/py thon")
    first, last = text.splitlines()[0], text.splitlines()[-1]
    assert first == "#!/bin/sh"
    argv = shlex.split(last)
    assert argv == ["exec", "/opt/py thon", "-I", "-m", "workers", "/it's $HOME", "--claim", "2"]


def test_operators_variables_neither_filter_the_listing_nor_make_sbatch_wait() -> None:
    mine = {"SQUEUE_PARTITION": "x", "SBATCH_WAIT": "1", "SBATCH_ACCOUNT": "a", "SLURM_CONF": "/c"}
    kept = slurm_format.environment({**mine, "SCANCEL_INTERACTIVE": "1", "SBATCH_ARRAY_INX": "1"})
    assert kept == {"SBATCH_ACCOUNT": "a", "SLURM_CONF": "/c"}


def test_listing_is_read_by_name_whatever_else_is_in_it() -> None:
    text = "1|RUNNING|None|a|b\n2|FAILED|NonZeroExitCode|k.1\nnonsense\n"
    text += "3|PENDING|ReqNodeNotAvail, UnavailableNodes:na|k.1\n4|COMPLETED|None|k.1\n"
    jobs = slurm_format.parse_listing(text)
    assert jobs["a|b"] == Job("1", "RUNNING", "None")
    assert jobs["k.1"].id == "3"
    assert jobs["k.1"].hold_reason == "ReqNodeNotAvail, UnavailableNodes:na"


@pytest.mark.parametrize("reason", ["None", "Priority", "Resources"])
def test_job_that_waits_its_turn_has_no_hold_reason(reason: str) -> None:
    assert Job("1", "PENDING", reason).hold_reason is None


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "NEW_WORD"])
def test_unknown_state_is_not_final(state: str) -> None:
    assert not Job("1", state, "None").has_ended


@pytest.mark.parametrize(
    ("text", "job"),
    [("17\n", "17"), ("17;cluster\n", "17"), ("welcome\n17\n", "17"), ("hello 17", None)],
)
def test_job_number_is_read(text: str, job: str | None) -> None:
    assert slurm_format.parse_submitted(text) == job


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        ("Unable to contact slurm controller (connect failure)", Refusal.AWAY),
        ("Batch job submission failed: Socket timed out on send/recv operation", Refusal.AWAY),
        ("Munge encode failed: Failed to connect; Protocol authentication error", Refusal.AWAY),
        ("Job violates accounting/QOS policy (job submit limit, ...)", Refusal.LATER),
        ("invalid partition specified: nope", Refusal.NEVER),
        ("Requested node configuration is not available", Refusal.NEVER),
        ("Invalid generic resource (gres) specification", Refusal.NEVER),
        ("unrecognized option '--bogus'", Refusal.NEVER),
    ],
)
def test_transient_refusals_are_distinguished_from_final_ones(error: str, refusal: Refusal) -> None:
    assert slurm_format.refusal_of(error) is refusal


def test_messages_of_a_failed_command_are_joined_without_repetition() -> None:
    text = "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch failed\n"
    text += "sbatch: error: Batch failed\n\n"
    assert slurm_format.cleaned(text) == "invalid partition specified: nope; Batch failed"


def test_missing_command_is_reported_by_name() -> None:
    with pytest.raises(AwayError, match="squeue-of-nobody is not installed here"):
        call(["squeue-of-nobody"])


def test_missing_command_is_named_if_path_has_an_entry_that_denies_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(subprocess, "run", denied)
    with pytest.raises(AwayError, match="squeue-of-nobody is not installed here"):
        call(["squeue-of-nobody"])
    with pytest.raises(AwayError, match=r"env: Permission denied"):
        call(["env"])
