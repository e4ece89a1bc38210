from hypothesis import given
from hypothesis import strategies as st

from tests.examples import stage
from workers.records.spec import PipelineSpec, StageSpec
from workers.stages.graph import Graph


def pipeline(*stages: StageSpec, limit: int | None = None) -> PipelineSpec:
    return PipelineSpec(id="p", title="P", stages=stages, max_parallel=limit)


def one(stage_id: str, *needs: str) -> StageSpec:
    return stage(stage_id, command=("true",), needs=needs)


def test_without_needs_each_stage_waits_for_the_one_before_it() -> None:
    graph = Graph(pipeline(stage("a", command=("true",)), stage("b", command=("true",))))
    ready = graph.next()
    assert ready is not None
    assert ready[1].id == "a"
    graph.start("a")
    assert graph.next() is None
    graph.end("a", "skipped")
    ready = graph.next()
    assert ready is not None
    assert ready[1].id == "b"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[PipelineSpec, dict[str, str]]:
    """A pipeline whose needs go backwards in some order, and how each of its stages will end."""
    ids = [f"s{n}" for n in range(draw(st.integers(1, 8)))]
    order = draw(st.permutations(ids))
    stages = [
        one(name, *draw(st.sets(st.sampled_from(order[:place])) if place else st.just(set())))
        for place, name in enumerate(order)
    ]
    limit = draw(st.none() | st.integers(1, 3))
    ends = {name: draw(st.sampled_from(["succeeded", "failed", "skipped"])) for name in ids}
    return pipeline(*draw(st.permutations(stages)), limit=limit), ends


@given(graphs(), st.randoms(use_true_random=False))
def test_every_stage_runs_after_its_needs_or_has_an_unmet_need(
    example: tuple[PipelineSpec, dict[str, str]], chance: object
) -> None:
    spec, ends = example
    graph, on, ended = Graph(spec), list[str](), dict[str, str]()
    needs = {s.id: s.needs or () for s in spec.stages}
    while True:
        while (ready := graph.next()) is not None:
            name = ready[1].id
            assert all(ended.get(need) in ("succeeded", "skipped") for need in needs[name])
            graph.start(name)
            on.append(name)
            assert spec.max_parallel is None or len(on) <= spec.max_parallel
        if not on:
            break
        name = on.pop(chance.randrange(len(on)))  # type: ignore[attr-defined]
        ended[name] = ends[name]
        graph.end(name, ends[name])
    unmet = dict(graph.unmet())
    assert unmet.keys() == {s.id for s in spec.stages} - ended.keys()
    for name, need in unmet.items():
        assert need in needs[name]
        assert ended.get(need, "failed") == "failed"
