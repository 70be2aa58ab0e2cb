"""What the benchmarks count and how they compare; their figures are not tests."""

import json
import math

import jax
import pytest

from benchmarks import __main__ as runner
from benchmarks._common import alternate, figure
from benchmarks._workload import Training, matmul_flops

pytestmark = pytest.mark.fast


def products(jaxpr):
    """Floating-point operations of all `dot_general` of a jaxpr, those of inner ones too."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[i] for i in contracted)
        total += sum(products(inner) for inner in inner_jaxprs(equation.params))
    return total


def inner_jaxprs(params):
    """Jaxprs among the parameters of an equation, open or closed, alone or in a tuple (branches)."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            item = getattr(item, "jaxpr", item)
            if hasattr(item, "eqns"):
                yield item


@pytest.mark.first
@pytest.mark.parametrize("camera", ["orthographic", "perspective"])
def test_operations_counted_by_formula_are_those_of_the_gradient(camera):
    training = Training(camera, frames=40, points=11, sizes=(96, 48, 24, 12), batch=5)
    batch = jax.tree.map(lambda x: x[:5], training.data)
    hyper = training.hyper | {"progress": 0.5}
    gradient = jax.grad(lambda p: training.fit.objective(p, {}, batch, training.key, hyper)[0])
    traced = products(jax.make_jaxpr(gradient)(training.state().params).jaxpr)
    counted = 5 * matmul_flops((96, 48, 24, 12), 3 if camera == "perspective" else 2, 11)
    assert counted <= traced < 1.01 * counted  # besides: the shape turned by the camera, 3x3 a frame


def test_each_is_called_once_a_round_and_once_to_warm_up():
    calls = []
    times = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert "".join(calls) == "abababab"
    assert {name: len(t) for name, t in times.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("value", "better", "before", "worse"),
    [(1.0, "higher", 1.2, False), (1.0, "higher", 1.3, True), (1.0, "lower", 0.7, True),
     (1.0, "lower", 0.9, False), (1.0, "lower", 5.0, False), (1.0, "lower", None, False)],
)  # fmt: skip
def test_a_figure_is_worse_beyond_its_tolerance(value, better, before, worse):
    old = None if before is None else figure(before, "s", better)
    said, found = runner.verdict(figure(value, "s", better, 1.25), old)
    assert found is worse
    assert ("WORSE" in said) is worse


@pytest.mark.parametrize(
    ("value", "better", "said"),
    [(0.4, "higher", "MISSES"), (0.6, "higher", "meets"), (0.4, "lower", "meets")],
)
def test_targets_are_said(value, better, said):
    assert said in runner.verdict(figure(value, "", better, None, 0.5), None)[0]


def record(value, **changes):
    made = {
        "benchmark": "toy",
        "device": "Some GPU 100",
        "platform": "gpu",
        "cpu_cores": 2,
        "date": "today",
        "quick": False,
    }
    return made | {"figures": {"ratio": figure(value, "x", "higher", 1.25)}} | changes


def test_the_runner_compares_with_the_committed_record_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "BASELINE", tmp_path / "results")
    current = record(2.0)
    monkeypatch.setattr(runner, "run", lambda name, quick: current)
    out = ["toy", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(runner, "NAMES", ("toy",))
    assert runner.main([*out, "--update"]) == 0
    assert json.loads((tmp_path / "results" / "toy-some-gpu-100.json").read_text()) == current
    assert not (tmp_path / "out").exists()
    current = record(1.0)
    assert runner.main(out) == 1
    assert "WORSE x 2.00" in capsys.readouterr().out
    current = record(1.0, quick=True)  # other sizes: nothing to compare
    assert runner.main(out) == 0
    assert (
        json.loads((tmp_path / "results" / "toy-some-gpu-100.json").read_text())["figures"]["ratio"]["value"]
        == 2.0
    )
    current = None
    assert runner.main(out) == 1
    assert "toy failed" in capsys.readouterr().err


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        runner.main(["nothing"])
    assert caught.value.code == 2
    assert "training_step" in capsys.readouterr().err
