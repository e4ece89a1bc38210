"""Parameters: declared and typed; all problems are reported at once, without a value."""

from pathlib import Path

import pytest

from supervisor.config.batches import load_batch
from supervisor.config.catalog import Catalog, load_catalog
from supervisor.config.option_values import read_params
from supervisor.config.run_specs import RunOptions, SpecBuilder
from supervisor.config.secrets import secret_problems
from supervisor.config.settings import Settings
from supervisor.errors import ConfigError, UsageError
from workers.records.params import bind_params, subpipeline_params
from workers.records.spec import RunSpec, parse_spec

ASKING = SpecBuilder(settings=Settings(), asked_by="submit")
DEPLOY = """
[pipelines.deploy.params.version]
description = "what to deploy"
[pipelines.deploy.params.count]
type = "integer"
default = 2
[pipelines.deploy.params.ratio]
type = "number"
default = 0.5
[pipelines.deploy.params.dry]
type = "boolean"
default = false
[pipelines.deploy.params.where]
choices = ["test", "live"]
default = "test"
[[pipelines.deploy.stages]]
id = "push"
command = ["push", "v{param.version}", "{param.count}", "{param.version}"]
"""


def catalog(root: Path, text: str) -> Catalog:
    path = root / "s.toml"
    path.write_text(text)
    return load_catalog(str(root), str(path))


def made(root: Path, text: str = DEPLOY, **params: str) -> RunSpec:
    return ASKING.named(catalog(root, text), "deploy", RunOptions(params=params))


def refused(root: Path, **params: str) -> str:
    with pytest.raises(UsageError) as caught:
        made(root, **params)
    return str(caught.value)


def test_values_and_defaults_are_in_the_spec_as_text(tmp_path: Path) -> None:
    spec = made(tmp_path, version="1.2", count="+007", ratio="1e3", dry="true", where="live")
    told = {"version": "1.2", "count": "7", "ratio": "1000.0", "dry": "true", "where": "live"}
    assert dict(spec.params) == told
    defaults = {"version": "1.2", "count": "2", "ratio": "0.5", "dry": "false", "where": "test"}
    assert dict(made(tmp_path, version="1.2").params) == defaults
    assert parse_spec(spec.to_json(), "spec.json") == spec


@pytest.mark.parametrize("value", ["a b", "$(id)", "; rm -rf /", "'\"", "{param.count}", "", "-x"])
def test_value_stays_one_argument(value: str, tmp_path: Path) -> None:
    (stage,) = made(tmp_path, version=value).pipeline.stages
    assert stage.command == ("push", f"v{value}", "2", value)


def test_all_problems_are_reported_without_values(tmp_path: Path) -> None:
    text = refused(tmp_path, versoin="hush1", count="hush2", dry="yes", where="hush3", ratio="nan")
    assert "'versoin' is unknown; did you mean 'version'?" in text
    assert "'version' is missing; it must be a string" in text
    assert "'count' must be an integer" in text
    assert "'dry' must be true or false" in text
    assert "'where' must be one of test, live" in text
    assert "'ratio' must be a finite number" in text
    assert "hush" not in text


@pytest.mark.parametrize("value", ["1.0", "", "0x10", "1_000", "9" * 31, " 1"])
def test_invalid_integers_are_refused(value: str, tmp_path: Path) -> None:
    assert "'count' must be an integer" in refused(tmp_path, version="1", count=value)


def test_value_that_no_command_can_take_is_refused(tmp_path: Path) -> None:
    assert "longer than 65536 bytes" in refused(tmp_path, version="x" * 65_537)
    assert "NUL" in refused(tmp_path, version="a\0b")


def test_param_options_are_names_and_values() -> None:
    assert read_params(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UsageError, match="number 1 must be NAME=VALUE\nparam 'b' is given twice"):
        read_params(["hush", "b=1", "b=2"])


def test_each_pipeline_gets_the_params_that_it_declares(tmp_path: Path) -> None:
    text = DEPLOY + '[pipelines.other]\nstages = [{ id = "s", command = "true" }]\n'
    found = catalog(tmp_path, text)
    names = ("deploy", "other")
    deploy, other = ASKING.all_named(found, names, RunOptions(params={"version": "1"}))
    assert (dict(deploy.params)["version"], other.params) == ("1", ())
    with pytest.raises(UsageError, match="'vresion' is unknown"):
        ASKING.all_named(found, names, RunOptions(params={"version": "1", "vresion": "2"}))


def test_command_takes_no_params() -> None:
    with pytest.raises(UsageError, match="takes no --param"):
        ASKING.command(("true",), RunOptions(params={"a": "1"}))


def test_batch_has_typed_values(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text('[[runs]]\npipeline = "deploy"\nparams = { version = "1", count = 3 }\n')
    batch = load_batch(str(path), root=str(tmp_path), catalog=catalog(tmp_path, DEPLOY))
    (spec,) = ASKING.batch(batch, None)
    assert dict(spec.params)["count"] == "3"
    path.write_text(
        '[[runs]]\npipeline = "deploy"\nparams = { count = "3", dry = 1, vresion = "x" }\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_batch(str(path), root=str(tmp_path), catalog=catalog(tmp_path, DEPLOY))
    told = {p.key_path.rpartition(".")[2]: p.message for p in caught.value.problems}
    assert set(told) == {"count", "dry", "vresion", "version"}
    assert all(p.key_path.startswith("runs[0].params.") for p in caught.value.problems)


SUB = """
[pipelines.deploy]
params = { version = {}, where = { choices = ["test", "live"] }, n = { type = "integer" } }
stages = [{ id = "s", pipeline = "child", params = { %s } }]
[pipelines.child]
params = { tag = {}, where = { choices = ["test", "live", "dev"], default = "dev" }, n = { type = "number", default = 1 } }
stages = [{ id = "c", command = ["echo", "{param.tag}", "{param.where}", "{param.n}"] }]
"""  # noqa: E501


def test_sub_pipeline_gets_the_params_of_its_stage(tmp_path: Path) -> None:
    text = SUB % 'tag = "v{param.version}", where = "{param.where}", n = "{param.n}"'
    spec = made(tmp_path, text, version="{param.n}", where="live", n="7")
    child = spec.pipelines[0]
    params = subpipeline_params(spec.pipeline.stages[0], child)
    assert bind_params(child, params).stages[0].command == ("echo", "v{param.n}", "live", "7")


@pytest.mark.parametrize(
    ("said", "key", "why"),
    [
        ("", "params.tag", "is missing"),
        ('tag = "x", tga = "y"', "params.tga", "did you mean 'tag'"),
        ('tag = "{param.vresion}"', "params", "'vresion' is unknown; did you mean 'version'"),
        ('tag = "x", n = "{param.version}"', "params.n", "param version need not be"),
        ('tag = "x", n = "1{param.n}"', "params.n", "must be a finite number"),
        ('tag = "x", where = "{param.version}"', "params.where", "must be one of"),
        ('tag = "x", where = "prod"', "params.where", "must be one of test, live, dev"),
    ],
)
def test_params_that_a_sub_pipeline_refuses_are_reported(
    said: str, key: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog(tmp_path, SUB % said)
    (problem,) = caught.value.problems
    assert problem.key_path == f"pipelines.deploy.stages[0].{key}"
    assert why in problem.message


def test_param_whose_variable_is_a_secret_is_refused(tmp_path: Path) -> None:
    found = catalog(tmp_path, DEPLOY)
    (problem,) = secret_problems(
        found.pipelines.values(), found.places, ["SUPERVISED_PARAM_VERSION"], {}
    )
    assert problem.key_path == "pipelines.deploy.params.version"
