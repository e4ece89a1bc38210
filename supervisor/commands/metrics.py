"""``supervisor metrics``: figures of a root, for Prometheus or as JSON."""

import sys

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.root_metrics import RootMetricsReader, now_epoch_s
from supervisor.report.text.output import print_json


@click.command("metrics", short_help="Print figures for Prometheus.")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Print figures of the root in Prometheus's text format, or as JSON.

    Counts and durations of runs by task and pipeline, what is under way and waits, beats, locks,
    owed snapshots and guardrails. The setting metrics_textfile makes a living supervisor write the
    same to a file for a collector.

    Example: supervisor metrics --json
    """
    figures = RootMetricsReader(layout_of(root, config, writes=False)).read()
    if as_json:
        print_json("metrics-report", figures.to_json(now_epoch_s()))
        return 0
    from supervisor.report.export.prometheus import prometheus_text  # prometheus_client: 60 ms

    sys.stdout.write(prometheus_text(figures))
    sys.stdout.flush()
    return 0
