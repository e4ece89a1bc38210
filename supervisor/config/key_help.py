"""What each key of pipelines and batches means, for editors. Settings carry theirs themselves.

Held by a test: every key of a model of ``plan.schema`` stands here, and no other.
"""

from collections.abc import Mapping
from typing import Final

DESCRIBED: Final[Mapping[str, Mapping[str, str]]] = {
    "ConfigFile": {
        "supervisor": "settings; a flag or SUPERVISOR_<KEY> wins over them",
        "pipelines": "what can be run, by id",
    },
    "BatchFile": {
        "runs": "the runs to make together",
        "pipelines": "pipelines of this batch's own, beside the project's",
    },
    "Pipeline": {
        "title": "for people; default: the id",
        "description": "for people: what it is for",
        "tags": "for people: words to sort it by",
        "env": "variables of every stage, above the supervisor's own",
        "cwd": "where stages run, relative to the root; default: the root",
        "timeout_s": "seconds that the whole run may take; default: no limit",
        "group": "the concurrency group of its runs; [supervisor.groups] has the limits",
        "params": "the parameters that it takes, by name",
        "max_parallel": "so many of its stages at once, at most; default: as many as may run",
        "resources": "what a run takes of the host on which Dask or Slurm places it, by name; "
        "default: one slot of Dask, one task of Slurm",
        "on_success": "a command to start when a run of it has succeeded and is on record",
        "on_failure": "a command to start when a run of it has failed and is on record",
        "on_finish": "a command to start, last, when a run of it has ended in any way",
        "stages": "what is run, in this order; after a failure the rest stays pending",
    },
    "ParamTable": {
        "type": "what its value is: string, integer, number or boolean",
        "choices": "the values that it may have; default: every one of its type",
        "default": "its value where none is given; without one it must be given",
        "description": "for people: what it is for",
    },
    "Stage": {
        "id": "names its files; unique in the pipeline when case is ignored",
        "title": "for people; default: the id",
        "command": "a string runs by /bin/sh -c, a list is a program and its arguments",
        "pipeline": "instead of a command: the id of another pipeline, made as a run of its own",
        "params": "what the sub-pipeline's run gets; {param.NAME} names one of this pipeline's",
        "needs": "the stages that must have ended well before it; default: the one before it",
        "uses": "slots that it holds while it runs; [supervisor.slots] has how many there are",
        "cwd": "where it runs, relative to the root; default: the pipeline's",
        "env": "variables, above the pipeline's",
        "timeout_s": "seconds that one try may take; default: no limit",
        "allow_failure": "a failure is recorded as skipped and the run goes on",
        "optional": "as allow_failure, the word for a sub-pipeline",
        "success_exit_codes": "exit codes that count as success",
        "summary_hint": "the summary of a success",
        "retries": "when a failed try is made again",
    },
    "Retries": {
        "attempts": "tries in all, the first one included",
        "delay_s": "seconds to wait before the second try",
        "factor": "each further wait is so many times longer",
        "max_delay_s": "seconds; no wait is longer",
        "on_exit_codes": "only these exit codes are tried again; default: every failure",
    },
    "BatchRun": {
        "pipeline": "the id of the pipeline to run",
        "task": "the task of its runs; default: the setting default_task",
        "count": "so many runs of it",
        "params": "the values of the pipeline's parameters, by name",
        "priority": "the higher starts first, equal ones as they were accepted",
        "group": "their concurrency group; default: the pipeline's",
    },
}
