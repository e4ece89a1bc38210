"""``supervisor metrics``."""

import sys

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.root_metrics import RootMetricsReader
from supervisor.report.text.output import print_json


@click.command("metrics")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Print metrics for Prometheus.

    Number and duration of runs by task and pipeline, running and queued runs, heartbeats, locks,
    snapshots and guardrails, in the Prometheus text format or as JSON. With the setting
    metrics_textfile, a running supervisor writes the same to a file for a collector.

    Example: supervisor metrics --json
    """
    metrics = RootMetricsReader(layout_of(root, config, writes=False)).read()
    if as_json:
        print_json("metrics-report", metrics.to_json())
        return 0
    from supervisor.report.export.prometheus import prometheus_text  # prometheus_client: 60 ms

    sys.stdout.write(prometheus_text(metrics))
    sys.stdout.flush()
    return 0
