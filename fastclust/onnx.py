"""Models as ONNX graphs, by skl2onnx: what its ``to_onnx`` must know of fastclust's classes.

A fitted model of fastclust's has the attributes of scikit-learn's class of the same name, and is
written by the converter of that class.
"""

from __future__ import annotations

from typing import Any

_WRITTEN = ("KMeans", "MiniBatchKMeans", "GaussianMixture", "BayesianGaussianMixture")
_REMEDIES = {
    "BisectingKMeans": "export a KMeans, or pickle what its to_sklearn() gives",
    "ClusterSearch": "export its best_estimator_",
}


def register() -> None:
    """Let skl2onnx write KMeans, MiniBatchKMeans and the two mixtures of fastclust.

    Call it once in a process, before ``skl2onnx.to_onnx`` is given such a model or a pipeline that
    holds one; ``model.to_sklearn()`` can be exported without it.
    :func:`fastclust.patch_sklearn` calls it where skl2onnx is loaded already; where it is loaded
    afterwards, it finds fastclust's classes in scikit-learn's place.

    Raises
    ------
    ImportError
        Without skl2onnx.
    """
    try:
        from skl2onnx import update_registered_converter
        from skl2onnx.common import _registration
    except ImportError as error:
        raise ImportError(
            'exporting to ONNX needs skl2onnx: pip install "fastclust[onnx]"'
        ) from error
    import fastclust

    from . import acceleration

    for name in _WRITTEN:
        alias = f"Sklearn{name}"
        converter = _registration.get_converter(alias)
        for home in (fastclust, acceleration):
            update_registered_converter(
                getattr(home, name),
                alias,
                _registration.get_shape_calculator(alias),
                converter._fct,
                parser=_parse_mixture if "Mixture" in name else None,
                options=converter.get_allowed_options(),
            )
    for kind in (fastclust.BisectingKMeans, acceleration.BisectingKMeans, fastclust.ClusterSearch):
        update_registered_converter(
            kind, f"Fastclust{kind.__name__}", _no_shapes, _no_graph, parser=_refuse
        )


def _parse_mixture(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare what a mixture gives, as skl2onnx does for scikit-learn's own classes alone."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    operator = scope.declare_local_operator(sklearn_operator_name_map[type(model)], model)
    operator.inputs = inputs
    names = ["probabilities"]
    if scope.get_options(model, {"score_samples": False})["score_samples"]:
        names.append("score_samples")
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    for name in names:
        kind = guess_tensor_type(inputs[0].type)
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return operator.outputs


def _refuse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Say what to export in the place of a model that skl2onnx cannot write."""
    name = type(model).__name__
    raise NotImplementedError(f"{name} cannot be written as ONNX: {_REMEDIES[name]}.")


def _no_shapes(operator: Any) -> None:
    """What is never reached, since parsing refuses; skl2onnx wants it to be there."""


def _no_graph(scope: Any, operator: Any, container: Any) -> None:
    """As :func:`_no_shapes`."""
