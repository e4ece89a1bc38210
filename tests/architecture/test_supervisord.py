"""Our import package and PyPI's supervisord of the same name do not disturb each other."""

import importlib.metadata
from pathlib import Path

from supervisor.version import VERSION

ROOT = Path(__file__).parents[2]
THEIRS = set(
    """childutils compat confecho datatypes dispatchers events http http_client loggers medusa
    options pidproxy poller process rpcinterface scripts skel socket_manager states
    supervisorctl supervisord templating tests ui web xmlrpc""".split()  # noqa: SIM905 - a list of 27
)


def test_no_module_of_ours_takes_a_name_of_theirs() -> None:
    ours = {path.stem for path in (ROOT / "supervisor").iterdir() if path.stem != "__init__"}
    assert not ours & THEIRS


def test_our_package_file_is_a_docstring_and_one_line() -> None:
    lines = (ROOT / "supervisor" / "__init__.py").read_text().splitlines()
    code = [line for line in lines if line and not line.startswith('"""')]
    assert code == ['__path__ = __import__("pkgutil").extend_path(__path__, __name__)']


def test_the_version_is_the_distributions() -> None:
    assert importlib.metadata.version("pipeline-supervisor") == VERSION
