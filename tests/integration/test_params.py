"""Parameters reach commands as variables and arguments; wrong ones are refused first."""

import json
import os
from pathlib import Path

from tests.root import Root

PIPELINES = r"""
[pipelines.deploy.params.version]
[pipelines.deploy.params.count]
type = "integer"
default = 2
[[pipelines.deploy.stages]]
id = "words"
command = ["printf", "%s\\n", "{param.version}", "n={param.count}"]
[[pipelines.deploy.stages]]
id = "shell"
command = 'printf "%s\n" "$SUPERVISED_PARAM_VERSION" "$SUPERVISED_PARAM_COUNT"'
[[pipelines.deploy.stages]]
id = "sub"
pipeline = "child"
params = { tag = "v{param.version}" }
[pipelines.child.params.tag]
[[pipelines.child.stages]]
id = "say"
command = ["printf", "%s", "{param.tag}"]
"""
NASTY = """a b"; rm -rf ~; $(id) `id` '\n{param.count}"""


def log(root: Root, manifest: dict[str, object], name: str) -> str:
    return (root.path / str(manifest["artifact_root"]) / "commands" / name).read_text()


def test_a_parameter_arrives_unchanged_in_arguments_variables_and_sub_pipelines(root: Root) -> None:
    root.configure(PIPELINES)
    done = root.call("run", "deploy", "--param", f"version={NASTY}", "--param", "count=5")
    assert done.code == 0, done.err
    child, parent = sorted(root.manifests(), key=lambda m: m["parent_run_id"] or "", reverse=True)
    assert log(root, parent, "01-words.stdout.log") == f"{NASTY}\nn=5\n"
    assert log(root, parent, "02-shell.stdout.log") == f"{NASTY}\n5\n"
    assert log(root, child, "01-say.stdout.log") == f"v{NASTY}"
    assert parent["extensions"]["params"] == {"version": NASTY, "count": "5"}
    assert child["extensions"]["params"] == {"tag": f"v{NASTY}"}
    assert 'params    version=a b"; rm' in root.call("show", parent["run_id"]).out
    root.check_settled(count=2)


def test_every_verb_refuses_wrong_params_before_creating_anything(root: Root) -> None:
    root.configure(PIPELINES)
    for verb in (["submit"], ["run"], ["start", "--once"], ["plan"]):
        done = root.call(*verb, "deploy", "--param", "vresion=1", "--param", "count=many")
        assert done.code == 2, verb
        assert "did you mean 'version'?" in done.err
        assert "'count' must be an integer" in done.err
    assert root.call("start", "--once", "--param", "version=1").code == 2
    assert root.call("submit", "--param", "a=1", "--", "true").code == 2
    assert not os.path.lexists(root.layout.runs)


def test_start_and_batches_set_params_and_plan_shows_them(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "child", "--param", "tag=one").code == 0
    root.write("b.toml", '[[runs]]\npipeline = "child"\nparams = { tag = "two" }\n')
    assert root.call("start", "--once", "--batch", "b.toml").code == 0
    assert [m["extensions"]["params"]["tag"] for m in root.manifests()] == ["one", "two"]
    plan = root.call("plan", "deploy").out
    assert "--param version=...  string, required" in plan
    assert "--param count=...  integer, default '2'" in plan
    assert "n={param.count}" in plan
    assert "n=9" in root.call("plan", "deploy", "--param", "version=1", "--param", "count=9").out
    specs = [json.loads(p.read_text()) for p in Path(root.layout.runs).rglob("spec.json")]
    assert {spec["params"]["tag"] for spec in specs} == {"one", "two"}


def test_a_secret_in_a_param_is_refused_before_it_is_recorded(root: Root) -> None:
    root.configure(PIPELINES, settings='secrets = ["TOKEN"]\n')
    env = {"TOKEN": "hush-hush-hush"}
    done = root.call("submit", "deploy", "--param", "version=x-hush-hush-hush", env=env)
    assert (done.code, "the secret TOKEN" in done.err, "hush" in done.err) == (2, True, False)
    root.write("b.toml", '[[runs]]\npipeline = "child"\nparams = { tag = "hush-hush-hush" }\n')
    done = root.call("start", "--once", "--batch", "b.toml", env=env)
    assert (done.code, "runs[0].params" in done.err, "hush" in done.err) == (78, True, False)
    assert not os.path.lexists(root.layout.runs)
