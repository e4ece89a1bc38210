"""The spec of a run that makes another one again."""

import os
import time
from dataclasses import replace

from workers.records.clock import utc_text
from workers.records.ids import new_run_id
from workers.records.spec import AfterSpec, KeptSpec, RunSpec


def retry_spec(
    old: RunSpec, kept: tuple[KeptSpec, ...], after: tuple[AfterSpec, ...] = ()
) -> RunSpec:
    """What was asked once, asked again: a run of its own, with no parent and no caller.

    Args:
        old: what was asked.
        kept: the stages that are not made.
        after: the runs that it follows, in the place of those that the old one followed.
    """
    now = time.time()
    return replace(
        old,
        run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
        parent_run_id=None,
        retry_of=old.run_id,
        kept=kept,
        batch=None,
        batch_edition=None,
        after=after,
        launcher=None,
        nested_in=None,
        asked_by="retry",
        asked_at=utc_text(now),
        resume_token=os.urandom(16).hex(),
    )
