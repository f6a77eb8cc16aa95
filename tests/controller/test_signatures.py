"""Input columns, from what MLflow itself writes of a signature."""

import json

import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array

from controller.workspace.signatures import input_columns
from policies.admission import Column, input_change


def written(*inputs: ColSpec | TensorSpec) -> dict[str, object]:
    params = ParamSchema([ParamSpec("k", DataType.long, 4)])
    signature = ModelSignature(Schema(list(inputs)), Schema([ColSpec("string")]), params)
    described: dict[str, object] = signature.to_dict()
    return described


def test_columns_keep_their_names_types_and_whether_they_may_be_left_out() -> None:
    described = written(ColSpec("string", "query"), ColSpec("long", "k", required=False))
    assert input_columns(described) == (
        Column(name="query", type="string"),
        Column(name="k", type="long", required=False),
    )


def test_a_type_within_a_type_is_part_of_it() -> None:
    longs = input_columns(written(ColSpec(Array(DataType.long), "ids")))
    texts = input_columns(written(ColSpec(Array(DataType.string), "ids")))
    assert longs is not None
    assert texts is not None
    assert input_change(longs, longs) is None
    assert "ids is" in (input_change(longs, texts) or "")


def test_tensors_differ_by_shape_and_type() -> None:
    one = input_columns(written(TensorSpec(np.dtype("float32"), (-1, 3))))
    other = input_columns(written(TensorSpec(np.dtype("float32"), (-1, 4))))
    assert one is not None
    assert other is not None
    assert one[0].name == ""
    assert input_change(one, other) is not None


def test_a_file_without_a_signature_has_none() -> None:
    assert input_columns({}) is None


def test_a_signature_without_inputs_names_no_column() -> None:
    assert input_columns({"outputs": json.dumps([{"type": "string"}])}) == ()


@pytest.mark.parametrize(
    "inputs",
    ["{", '{"a": 1}', "[1]", "[" * 100_000, [{"name": "q", "type": "string"}], 5, {}, [], 0, ""],
    ids=lambda one: repr(one)[:20],
)
def test_a_signature_that_mlflow_would_not_write_is_an_error(inputs: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever says so
        input_columns({"inputs": inputs})
